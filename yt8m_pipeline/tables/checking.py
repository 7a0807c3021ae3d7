"""The columns of a table: their conversion, and what is wrong with each cell that is not accepted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import BoolArray, mask
from yt8m_pipeline.accounting.reasons import DropReason
from yt8m_pipeline.tables.cells import LABELS, convert, tidied_ids, unnest
from yt8m_pipeline.tables.formats import Values

SHOWN_CHARACTERS = 60
"""The number of characters of a bad cell that a message shows."""

ID = "an id"
"""What a value of a column of ids must be. Spaces around ids, and `.0` after whole numbers, are cut off."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an input table.

    Attributes:
        name: Its name in the file.
        type: Its Arrow type once read.
        expected: What a value must be, for messages.
        required: Whether the file must have it, with no cell empty but lists. In other columns a missing text becomes
            "", a missing list [] and a missing number null.
        minimum: The smallest number allowed. Numbers must be finite in any case.
        above: The column whose number must be smaller. Both have a number, or neither.
        max_items: The length of the longest list allowed.
        items: The columns of the objects that a list of labels holds.
    """

    name: str
    type: pa.DataType
    expected: str
    required: bool = False
    minimum: float | None = None
    above: str | None = None
    max_items: int | None = None
    items: tuple["Column", ...] = ()


class Fault(NamedTuple):
    """Why a row is rejected, and one line about it for people."""

    reason: DropReason
    detail: str


Where: TypeAlias = Callable[[int, str], str]
"""Names the place of a cell, by the index of its row and its column."""

Arrays: TypeAlias = dict[str, pa.Array]


def convert_columns(
    columns: Sequence[Column], raw: Mapping[str, Values], number_of_rows: int, where: Where
) -> tuple[Arrays, dict[int, Fault]]:
    """Converts columns and finds the first fault of each row.

    Args:
        columns: The columns.
        raw: Their cells as the file holds them, each (rows,). Those of a column that is not there are empty.
        number_of_rows: The number of rows.
        where: Names the place of a cell.

    Returns:
        The converted columns by name, each (rows,); what is wrong with the rows that have a fault, by their index.
    """
    arrays: Arrays = {}
    faults: dict[int, Fault] = {}
    for column in columns:
        cells = raw.get(column.name, pa.nulls(number_of_rows))
        arrays[column.name], unconvertible = _convert(cells, column, where)
        for reason, faulty in _find_faults(arrays, unconvertible, column).items():
            for row in set(map(int, np.flatnonzero(faulty))) - faults.keys():
                faults[row] = Fault(reason, _detail(reason, where(row, column.name), cells[row], column))
    return arrays, faults


def _convert(cells: Values, column: Column, where: Where) -> tuple[pa.Array, BoolArray]:
    if column.items:
        return _convert_labels(cells, column, where)
    converted, unconvertible = convert(cells, column.type)
    return tidied_ids(filled(converted)) if column.expected == ID else filled(converted), unconvertible


def _convert_labels(cells: Values, column: Column, where: Where) -> tuple[pa.Array, BoolArray]:
    """Converts lists of labels as an annotations table is, and gives each label that has a fault its reason."""
    nested = unnest(cells)
    ends, owners = np.cumsum(nested.counts), np.repeat(np.arange(len(cells)), nested.counts)

    def where_nested(index: int, name: str) -> str:
        owner = owners[index]
        return f"{where(int(owner), column.name)}, label {index - ends[owner] + nested.counts[owner] + 1}, {name}"

    arrays, faults = convert_columns(column.items, nested.columns, len(owners), where_nested)
    for index in map(int, np.flatnonzero(nested.bad_items)):
        place = where_nested(index, column.items[0].name)
        faults[index] = Fault(
            DropReason.WRONG_TYPE, _said(DropReason.WRONG_TYPE, place, "it is no object that has one")
        )
    said = [faults.get(index) for index in range(len(owners))]
    reasons = pa.array([fault and fault.reason.value for fault in said], pa.string())
    details = pa.array([fault and fault.detail for fault in said], pa.string())
    parts = [*arrays.values(), reasons, details]
    labels = pa.StructArray.from_arrays(parts, fields=list(LABELS.value_type))
    return pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), labels), nested.bad


def _find_faults(arrays: Arrays, unconvertible: BoolArray, column: Column) -> dict[DropReason, BoolArray]:
    """The faults of a column, which may depend on the columns before it: bool, (rows,) for each reason."""
    values = arrays[column.name]
    missing = _is_missing(values) if column.required else np.zeros(len(values), np.bool_)
    if column.above:
        missing |= mask(pc.xor(values.is_null(), arrays[column.above].is_null()))
    return {
        DropReason.WRONG_TYPE: unconvertible,
        DropReason.MISSING_VALUE: missing & ~unconvertible,
        DropReason.OUT_OF_RANGE: _is_out_of_range(arrays, column),
    }


def _is_missing(values: pa.Array) -> BoolArray:
    """Whether each cell is null, or "" in a column of texts: bool, (rows,). No list is missing: null is []."""
    if pa.types.is_list(values.type):
        return np.zeros(len(values), np.bool_)
    return mask(pc.equal(values, "") if values.type == pa.string() else values.is_null())


def _is_out_of_range(arrays: Arrays, column: Column) -> BoolArray:
    values = arrays[column.name]
    beyond = np.zeros(len(values), np.bool_)
    if pa.types.is_floating(values.type):
        beyond |= mask(pc.invert(pc.is_finite(values)))
    if column.minimum is not None:
        beyond |= mask(pc.less(values, pa.scalar(column.minimum, values.type)))
    if column.above:
        beyond |= mask(pc.less_equal(values, arrays[column.above]))
    if column.max_items is not None:
        beyond |= mask(pc.greater(pc.list_value_length(values), column.max_items))
    return beyond


def filled(values: pa.Array) -> pa.Array:
    """Makes missing texts "" and missing lists []; missing numbers stay null."""
    if pa.types.is_list(values.type):
        ends = np.cumsum(pc.list_value_length(values).fill_null(0))
        return pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), pc.list_flatten(values))
    return values.fill_null("") if values.type == pa.string() else values


_CELL_FAULTS = {
    DropReason.WRONG_TYPE: ("A cell has the wrong type", "correct the value or remove the row"),
    DropReason.MISSING_VALUE: ("A cell is empty", "fill it in or remove the row"),
    DropReason.OUT_OF_RANGE: ("A cell is out of range", "correct the value or remove the row"),
}


def _detail(reason: DropReason, place: str, cell: object, column: Column) -> str:
    text = repr(cell.as_py() if isinstance(cell, pa.Scalar) else cell)
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    return _said(reason, place, f"{shown} is not {column.expected}")


def _said(reason: DropReason, place: str, why: str) -> str:
    what, fix = _CELL_FAULTS[reason]
    return f"{what}; where: {place}; why: {why}; fix: {fix}"
