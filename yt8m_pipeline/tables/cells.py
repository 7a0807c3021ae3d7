"""Conversion of the cells of input tables: from a column as its file holds it to Arrow, bad cells marked."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import BoolArray, mask
from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.tables.formats import Values

STRINGS = pa.list_(pa.string())
LABEL_FIELDS = pa.struct(
    [
        ("entity_id", pa.string()),
        ("score", pa.float64()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
    ]
)
"""What a label in the column `labels` may say: an annotation but for its video."""
FAULT_FIELDS = pa.struct([("reason", pa.string()), ("detail", pa.string())])
LABELS = pa.list_(pa.struct([*LABEL_FIELDS, *FAULT_FIELDS]))
"""The column `labels` once read. A label that no annotation may be has a reason, and is rejected with the annotations.
"""

SPACES = " \t\n\r\f\v"
"""The characters that are cut off around numbers and the items of lists."""

MAX_EXACT = 2**53
"""Below this number each whole number has a floating-point number of its own (IEEE 754, 53 bits of significand)."""

POINT_ZERO = r"^(-?[0-9]+)\.0+$"
"""A whole number as pandas writes it where its column has gaps."""

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
        return _cast_plainly(source, target), np.zeros(len(source), np.bool_)
    text = pc.utf8_trim(source.cast(pa.string()), SPACES)
    filled = pc.if_else(pc.equal(text, ""), None, text)
    if target == STRINGS:
        return _trimmed(pc.split_pattern(filled, ";")), np.zeros(len(source), np.bool_)
    numeral = pc.match_substring_regex(filled, NUMBER)
    numerals = pc.if_else(numeral, filled, None)
    return _whole_numbers(numerals) if target == pa.int64() else numerals.cast(target), mask(pc.invert(numeral))


def _cast_plainly(source: pa.Array, target: pa.DataType) -> pa.Array:
    if target == STRINGS:
        return _trimmed(source.cast(target))
    if target == pa.string() and _is_fractional(source.type):
        return _whole(source).cast(target)
    return source.cast(target)


def _whole(numbers: pa.Array | pa.Scalar) -> pa.Array | pa.Scalar:
    """Converts floating-point numbers to whole ones, NaN to null; raises for fractions and for what has lost digits."""
    if pa.types.is_decimal(numbers.type):
        return numbers.cast(pa.int64())
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    if pc.any(pc.greater_equal(pc.abs(numbers), float(MAX_EXACT))).as_py():
        raise pa.ArrowInvalid("digits of a whole number are lost")
    return numbers.cast(pa.int64())


def _whole_numbers(numerals: pa.Array) -> pa.Array:
    """Converts texts to whole numbers, also `1000.0` and `1e3`; raises for fractions."""
    is_plain = pc.match_substring_regex(numerals, INTEGER)
    plain = pc.if_else(is_plain, numerals, None).cast(pa.int64())
    return pc.coalesce(plain, pc.if_else(is_plain, None, numerals).cast(pa.float64()).cast(pa.int64()))


def tidied_ids(ids: pa.StringArray) -> pa.StringArray:
    """Cuts off what no id means: spaces around it, and `.0` after a whole number.

    pandas keeps whole numbers of a column with gaps as fractions, and writes 12 as 12.0: in one part of a table, or in
    one of two tables, and not in the other.

    >>> tidied_ids(pa.array([" a1 ", "12.0", "1.5"])).to_pylist()
    ['a1', '12', '1.5']
    """
    return pc.replace_substring_regex(pc.utf8_trim(ids, SPACES), POINT_ZERO, r"\1")


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
    if target == pa.string() and float in types:
        return pa.array([_whole(pa.scalar(value)).as_py() if type(value) is float else value for value in values])
    return pa.array(values)


class Nested(NamedTuple):
    """The column `labels` of some videos, as one row for each label.

    Attributes:
        counts: How many labels each video has: int64, (videos,).
        bad: Whether the cell of each video is no list: bool, (videos,).
        columns: The columns of the labels, as the file holds them, each (labels,).
        bad_items: Whether each label is no `{entity_id, …}`: bool, (labels,).
    """

    counts: Int64Array
    bad: BoolArray
    columns: Mapping[str, Values]
    bad_items: BoolArray


def unnest(cells: Values) -> Nested:
    """Divides lists of labels into the columns of annotations. A list that is null is empty."""
    if isinstance(cells, list):
        return _unnest_objects(cells)
    counts = np.asarray(pc.fill_null(pc.list_value_length(cells), 0), np.int64) if _is_list(cells.type) else None
    if counts is None:
        return Nested(np.zeros(len(cells), np.int64), mask(cells.is_valid()), {}, np.zeros(0, np.bool_))
    items = pc.list_flatten(cells)
    fields = [item.name for item in items.type] if pa.types.is_struct(items.type) else []
    columns = {name: pc.struct_field(items, name) for name in LABEL_FIELDS.names if name in fields}
    return Nested(counts, np.zeros(len(cells), np.bool_), columns, np.zeros(len(items), np.bool_))


def _unnest_objects(cells: list[Any]) -> Nested:
    lists = [cell if isinstance(cell, list) else [] for cell in cells]
    items = [item for cell in lists for item in cell]
    objects = [item if isinstance(item, dict) else {} for item in items]
    return Nested(
        np.array([len(cell) for cell in lists], np.int64),
        np.array([not isinstance(cell, list | None) for cell in cells], np.bool_),
        {name: [item.get(name) for item in objects] for name in LABEL_FIELDS.names},
        np.array([not isinstance(item, dict | None) for item in items], np.bool_),
    )


def is_castable(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether a column of one type may become a column of the other. No truth value is a number or a text."""
    if pa.types.is_null(source):
        return True
    if pa.types.is_dictionary(source):
        return is_castable(source.value_type, target)
    if target == LABELS:
        return _is_list(source) and _is_label(source.value_type)
    if target == STRINGS:
        return _is_text(source) or (_is_list(source) and _is_item(source.value_type))
    return _is_text(source) or pa.types.is_integer(source) or _is_fractional(source)


def _is_item(source: pa.DataType) -> bool:
    """Whether the items of a list may be texts. No fraction is one."""
    return not _is_fractional(source) and is_castable(source, pa.string())


def _is_fractional(source: pa.DataType) -> bool:
    return bool(pa.types.is_floating(source) or pa.types.is_decimal(source))


def _is_label(source: pa.DataType) -> bool:
    if pa.types.is_null(source):
        return True
    fields = {item.name: item.type for item in source} if pa.types.is_struct(source) else {}
    return "entity_id" in fields and all(
        is_castable(fields[item.name], item.type) for item in LABEL_FIELDS if item.name in fields
    )


def _is_text(source: pa.DataType) -> bool:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_type(source) for is_type in (*texts, pa.types.is_binary, pa.types.is_large_binary))


def _is_list(source: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_type(source) for is_type in lists)
