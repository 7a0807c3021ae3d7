"""Frozen dataclasses out of JSON, and back: every value is checked against the type of its field.

A field without a default must be there; one with a default may lack, and is not written while it is None. What a
dataclass does not know is kept in its field `more`, if it has one, and is written back: nothing is lost of a file that
a later version of the same format wrote.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Convert: TypeAlias = Callable[[Any], Any]

MORE = "more"
"""The name of the field that keeps what a dataclass does not know."""
JSON_NAME = "json"
"""The key of a field's metadata that says what the field is called in JSON, if that is not its own name."""


class WrongJson(ValueError):
    """A value of a JSON file is not what it must be; the text begins with its path in the file."""

    def __init__(self, why: str, path: str = "") -> None:
        super().__init__(f"{path or 'the file'}: {why}")
        self.why, self.path = why, path

    def within(self, step: str) -> "WrongJson":
        """The error, as seen from the value that has this one as its member (`name`) or item (`[3]`)."""
        dot = "." if self.path and not self.path.startswith("[") else ""
        return WrongJson(self.why, f"{step}{dot}{self.path}")


def from_json(kind: type[T], value: Any) -> T:
    """Makes a value of a type out of what `json.loads` gave.

    Args:
        kind: A dataclass, a StrEnum, bool, int, float, str, `tuple[X, ...]`, a Mapping, `X | None`, or Any.
        value: The parsed JSON.

    Raises:
        WrongJson: the value, or one in it, is not of its type.
    """
    return cast(T, _converter(cast(Any, kind))(value))


def json_object(value: Any) -> dict[str, Any]:
    """The value, if it is a JSON object.

    Raises:
        WrongJson: it is something else.
    """
    return cast(dict[str, Any], _require(value, dict, "an object"))


def to_json(value: Any) -> Any:
    """What `json.dumps` writes: the inverse of `from_json`."""
    if is_dataclass(value) and not isinstance(value, type):
        known = {field: getattr(value, field.name) for field in fields(value) if field.name != MORE}
        written = [field for field, found in known.items() if found is not None or field.default is not None]
        return {**getattr(value, MORE, {}), **{_name(field): to_json(known[field]) for field in written}}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


@cache
def _converter(kind: Any) -> Convert:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        convert = _converter(arguments[0])
        return lambda value: None if value is None else convert(value)
    if origin is tuple:
        return _tuple_of(_converter(arguments[0]))
    if origin is Mapping:
        return _mapping_of(*map(_converter, arguments))
    if is_dataclass(kind):
        return _instance_of(kind)
    if kind is Any:
        return lambda value: value
    return _choice_of(kind) if issubclass(kind, StrEnum) else _SIMPLE[kind]


def _tuple_of(convert: Convert) -> Convert:
    def items(value: Any) -> tuple[Any, ...]:
        found = enumerate(_require(value, list, "a list"))
        return tuple(_at(f"[{position}]", convert, item) for position, item in found)

    return items


def _mapping_of(convert_key: Convert, convert: Convert) -> Convert:
    def mapping(value: Any) -> dict[Any, Any]:
        return {_at(key, convert_key, key): _at(key, convert, item) for key, item in json_object(value).items()}

    return mapping


def _instance_of(kind: Any) -> Convert:
    hints, own = get_type_hints(kind), fields(kind)
    members = [(field.name, _name(field), _converter(hints[field.name])) for field in own if field.name != MORE]
    needed = {_name(field) for field in own if field.default is MISSING and field.default_factory is MISSING}
    known = {name for _, name, _ in members}

    def instance(value: Any) -> Any:
        values = json_object(value)
        if not needed <= values.keys():
            raise WrongJson(f"it lacks {', '.join(sorted(needed - values.keys()))}")
        found = {attribute: _at(name, convert, values[name]) for attribute, name, convert in members if name in values}
        if MORE in hints:
            found[MORE] = {name: item for name, item in values.items() if name not in known}
        return _made(kind, found)

    return instance


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    try:
        return kind(**values)
    except WrongJson:
        raise
    except ValueError as error:
        raise WrongJson(str(error)) from None


def _choice_of(kind: type[StrEnum]) -> Convert:
    choices = {member.value: member for member in kind}

    def choice(value: Any) -> StrEnum:
        text = _text(value)
        if text not in choices:
            raise WrongJson(f"{text[:40]!r} is none of {', '.join(choices)}")
        return choices[text]

    return choice


def _at(step: str, convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except WrongJson as error:
        raise error.within(step) from None


def _require(value: Any, kind: Any, name: str) -> Any:
    """The value, if it is of a JSON type; true and false are no numbers."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise WrongJson(f"{str(value)[:40]!r} is not {name}")
    return value


def _text(value: Any) -> str:
    return cast(str, _require(value, str, "a text"))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongJson(f"{str(value)[:40]!r} is not true or false")
    return value


def _number(value: Any) -> float:
    try:
        return float(_require(value, (int, float), "a number"))
    except OverflowError:
        raise WrongJson("the number is too large") from None


_SIMPLE: Mapping[Any, Convert] = {
    str: _text,
    bool: _boolean,
    int: lambda value: _require(value, int, "a whole number"),
    float: _number,
}


def _name(field: Field[Any]) -> str:
    return str(field.metadata.get(JSON_NAME, field.name))
