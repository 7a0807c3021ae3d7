"""Conversion of the cells of input tables: from a column as its file holds it to Arrow, bad cells marked."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import BoolArray, mask
from yt8m_pipeline.tables.formats import Values

STRINGS = pa.list_(pa.string())
LABELS = pa.list_(pa.struct([("entity_id", pa.string()), ("score", pa.float64())]))

SPACES = " \t\n\r\f\v"
"""The characters that are cut off around numbers and the items of lists."""

INTEGER = r"^-?[0-9]+$"
NUMBER = r"(?i)^-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$|^-?(nan|inf|infinity)$"


def convert(values: Values, target: pa.DataType) -> tuple[pa.Array, BoolArray]:
    """Converts a column to a type.

    The whole column is cast at once. Where that fails, each half is cast alone, and so on to single cells. So k bad
    cells among n cost about k·log2(n) casts, and every cell is converted by the rules of the whole column.

    Returns:
        The cells in the target type, null where they are bad: (rows,). Whether each is bad: bool, (rows,).
    """
    try:
        return _cast(values, target)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        if len(values) == 1:
            return pa.nulls(1, target), np.ones(1, np.bool_)
    middle = len(values) // 2
    halves = [convert(half, target) for half in (values[:middle], values[middle:])]
    return pa.concat_arrays([half for half, _ in halves]), np.concatenate([bad for _, bad in halves])


def _cast(values: Values, target: pa.DataType) -> tuple[pa.Array, BoolArray]:
    """Converts as `convert` does, but raises for bad cells, except texts that are not numbers, which it marks."""
    source = _as_array(values, target) if isinstance(values, list) else values
    if pa.types.is_dictionary(source.type):
        source = source.dictionary_decode()
    if not is_castable(source.type, target):
        raise pa.ArrowTypeError(f"{source.type} is not {target}")
    if not _is_text(source.type) or target == pa.string():
        cast = source.cast(target)
        return _trimmed(cast) if target == STRINGS else cast, np.zeros(len(source), np.bool_)
    text = pc.utf8_trim(source.cast(pa.string()), SPACES)
    filled = pc.if_else(pc.equal(text, ""), None, text)
    if target == STRINGS:
        return _trimmed(pc.split_pattern(filled, ";")), np.zeros(len(source), np.bool_)
    numeral = pc.match_substring_regex(filled, INTEGER if target == pa.int64() else NUMBER)
    return pc.if_else(numeral, filled, None).cast(target), mask(pc.invert(numeral))


def _trimmed(lists: pa.ListArray) -> pa.ListArray:
    """Cuts the spaces off the items of each list, and leaves out those that are empty: list<string>, (rows,)."""
    items, rows = pc.utf8_trim(pc.list_flatten(lists), SPACES), pc.list_parent_indices(lists)
    filled = pc.fill_null(pc.not_equal(items, ""), False)
    counts = np.bincount(np.asarray(rows.filter(filled)), minlength=len(lists))
    offsets = pa.array(np.append(0, np.cumsum(counts)), pa.int32())
    return pa.ListArray.from_arrays(offsets, items.filter(filled), mask=lists.is_null())


def _as_array(values: list[Any], target: pa.DataType) -> pa.Array:
    if bool in (types := set(map(type, values))) and len(types) > 1:
        raise pa.ArrowTypeError("among fractions, a truth value would be taken for a number")
    return pa.array(values, LABELS if target == LABELS else None)


def is_castable(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether a column of one type may become a column of the other. No truth value is a number, no fraction an id."""
    if pa.types.is_null(source):
        return True
    if pa.types.is_dictionary(source):
        return is_castable(source.value_type, target)
    if target == LABELS:
        return _is_list(source) and _is_label(source.value_type)
    if target == STRINGS:
        return _is_text(source) or (_is_list(source) and is_castable(source.value_type, pa.string()))
    is_number = pa.types.is_floating(source) or pa.types.is_decimal(source)
    return _is_text(source) or pa.types.is_integer(source) or (is_number and target != pa.string())


def _is_label(source: pa.DataType) -> bool:
    if pa.types.is_null(source):
        return True
    fields = {item.name: item.type for item in source} if pa.types.is_struct(source) else {}
    return "entity_id" in fields and all(
        is_castable(fields[item.name], item.type) for item in LABELS.value_type if item.name in fields
    )


def _is_text(source: pa.DataType) -> bool:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_type(source) for is_type in (*texts, pa.types.is_binary, pa.types.is_large_binary))


def _is_list(source: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_type(source) for is_type in lists)
