"""Reading of the four input tables: from CSV, JSONL or Parquet to Arrow batches, with a reason for each bad row.

README.md beside this file shows the tables.
"""

import csv
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline import files
from yt8m_pipeline.accounting.outcome import PROVENANCE, REJECTS, BoolArray, Outcome, mask
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.tables.cells import LABELS, STRINGS, convert, is_castable
from yt8m_pipeline.tables.formats import RawBatch, Values, format_of

SHOWN_CHARACTERS = 60
"""The number of characters of a bad cell that a message shows."""


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
        max_items: The length of the longest list allowed.
    """

    name: str
    type: pa.DataType
    expected: str
    required: bool = False
    minimum: float | None = None
    max_items: int | None = None


TABLES: Mapping[str, tuple[Column, ...]] = {
    "entities": (
        Column("entity_id", pa.string(), "an id", required=True),
        Column("name", pa.string(), "text"),
        Column("types", STRINGS, "a list of texts", required=True),
        Column("description", pa.string(), "text"),
        Column("wiki_url", pa.string(), "text"),
        Column("verticals", STRINGS, "a list of at most 3 texts", max_items=3),
    ),
    "ratings": (
        Column("entity_id", pa.string(), "an id", required=True),
        Column("rater_id", pa.string(), "an id", required=True),
        Column("score", pa.float64(), "a finite number", required=True),
    ),
    "videos": (
        Column("video_id", pa.string(), "an id", required=True),
        Column("uri", pa.string(), "a path or URI", required=True),
        Column("duration_seconds", pa.float64(), "a finite number of seconds ≥ 0", required=True, minimum=0),
        Column("view_count", pa.int64(), "a whole number ≥ 0", required=True, minimum=0),
        Column("group_id", pa.string(), "an id"),
        Column("given_partition", pa.string(), "text"),
        Column("labels", LABELS, "a list of {entity_id, score}"),
        Column("kept_columns", STRINGS, "a list of texts"),
    ),
    "new_videos": (
        Column("video_id", pa.string(), "an id", required=True),
        Column("uri", pa.string(), "a path or URI", required=True),
        Column("duration_seconds", pa.float64(), "a finite number of seconds ≥ 0", minimum=0),
        Column("view_count", pa.int64(), "a whole number ≥ 0", minimum=0),
        Column("group_id", pa.string(), "an id"),
        Column("labels", LABELS, "a list of {entity_id, score}"),
    ),
    "annotations": (
        Column("video_id", pa.string(), "an id", required=True),
        Column("entity_id", pa.string(), "an id", required=True),
        Column("score", pa.float64(), "a finite number"),
    ),
}
"""The input tables by name. The first column of each holds the id that its rejects show.

`new_videos` is the videos table of `yt8m extract`, of which only two columns are needed.

No file has `given_partition` and `kept_columns` by these names: the columns of a user's own that `TableFiles` names
become them.
"""

OF_ONES_OWN = ("given_partition", "kept_columns")
"""The columns that the config names."""


def schema(table: str) -> pa.Schema:
    """The schema of the good rows of a table: its columns, then their provenance."""
    return pa.schema([pa.field(column.name, column.type) for column in TABLES[table]] + list(PROVENANCE))


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one input table.

    Attributes:
        table: The table's name.
        root: The folder that the names are relative to, local or gs://.
        files: The names, sorted. Provenance holds these names, so that it does not depend on where the tables are.
        partition_column: The column of a videos table that becomes `given_partition`; "" for none.
        keep_columns: The columns of a videos table whose texts become the items of `kept_columns`.
    """

    table: str
    root: str
    files: tuple[str, ...]
    partition_column: str = ""
    keep_columns: tuple[str, ...] = ()

    def path(self, name: str) -> str:
        return files.join(self.root, name)

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The names of the columns that the config names."""
        return tuple(filter(None, [self.partition_column, *self.keep_columns]))


def find_files(root: str, pattern: str, table: str) -> TableFiles:
    """Finds the files of a table.

    Args:
        root: The folder that a relative pattern is relative to; local or gs://.
        pattern: A path, or one with `*`, `?` and `[…]`, none of which crosses a slash.
        table: The table's name.

    Raises:
        UsageError: There is no such file, or the place cannot be looked at.
    """
    if "://" in pattern or pattern.startswith("/"):
        parts = pattern.split("/")
        fixed = min(_fixed_parts(parts), len(parts) - 1)
        root, pattern = "/".join(parts[:fixed]) or "/", "/".join(parts[fixed:])
    try:
        names = [pattern] if files.exists(files.join(root, pattern)) else _glob(root, pattern)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(files.join(root, pattern), table, error) from None
    if not names:
        where, fix = files.join(root, pattern), f"correct tables.{table} or tables.root in the config"
        raise UsageError(what=f"The {table} table is missing", where=where, why="no file matches", fix=fix)
    return TableFiles(table, root, tuple(sorted(names)))


def _glob(root: str, pattern: str) -> list[str]:
    """Lists the names of the files under the root that match."""
    parts = pattern.split("/")
    fixed = _fixed_parts(parts)
    folder = files.join(root, *parts[:fixed])
    if fixed == len(parts):
        return []
    names = files.list_states(folder) if fixed == len(parts) - 1 else files.list_files(folder)
    found = [name.split("/") for name in names]
    return ["/".join(parts[:fixed] + name) for name in found if _matches(name, parts[fixed:])]


def _fixed_parts(parts: Sequence[str]) -> int:
    """Counts the parts of a path before the first one with a wildcard."""
    return next((index for index, part in enumerate(parts) if set(part) & set("*?[")), len(parts))


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def check_schema(path: str, table: str, also_required: Collection[str] = ()) -> None:
    """Checks a file of a table by its header or metadata, without reading its rows.

    Args:
        path: The file, local or gs://.
        table: The name of the table.
        also_required: Optional columns that this build needs, such as `labels`.

    Raises:
        UsageError: The file is unreadable, of an unknown format or empty; a column is missing, misspelt, given
            twice, or of a type that cannot be converted.
    """
    read_header = format_of(path, table).header
    try:
        with files.open_read(path) as stream:
            header = read_header(stream)
    except (OSError, ValueError, pa.ArrowException, csv.Error) as error:
        raise _unreadable(path, table, error) from None
    if not header.has_rows:
        raise UsageError(
            what=f"The {table} table is empty", where=path, why="it has no data rows", fix="give a file with rows"
        )
    names = [name for name, _ in header.columns]
    _check_names(path, table, names, also_required)
    _check_types(path, table, dict(header.columns))


def _check_names(path: str, table: str, names: Sequence[str], also_required: Collection[str]) -> None:
    known = [column.name for column in TABLES[table]]
    required = {column.name for column in TABLES[table] if column.required} | set(also_required)
    unknown = [name for name in names if name not in known]
    near = {name: difflib.get_close_matches(name, unknown, n=1, cutoff=0.75) for name in known if name not in names}
    missing = [name for name in near if name in required or near[name]]
    if missing:
        raise UsageError(
            what=f"The {table} table lacks {_listed('column', missing)}",
            where=path,
            why=f"its columns are {', '.join(names)}",
            fix="; ".join(f"rename {near[name][0]} to {name}" if near[name] else f"add {name}" for name in missing),
        )
    twice = [name for name in known if names.count(name) > 1]
    if twice:
        raise UsageError(
            what=f"The {table} table has {_listed('column', twice)} twice",
            where=path,
            why="which one counts is unclear",
            fix="rename one",
        )


def _check_types(path: str, table: str, types: Mapping[str, pa.DataType]) -> None:
    columns = [column for column in TABLES[table] if column.name in types]
    wrong = [column for column in columns if not is_castable(types[column.name], column.type)]
    if wrong:
        raise UsageError(
            what=f"The {table} table has the wrong type in {_listed('column', [column.name for column in wrong])}",
            where=path,
            why="; ".join(f"{column.name} is {types[column.name]}, not {column.expected}" for column in wrong),
            fix="convert the column" if types[wrong[0].name] != pa.string() else "give the table as JSONL or Parquet",
        )


def _listed(noun: str, names: Sequence[str]) -> str:
    return f"{noun}{'s' * (len(names) > 1)} {', '.join(names)}"


def _unreadable(path: str, table: str, error: Exception) -> UsageError:
    return UsageError(
        what=f"The {table} table cannot be read",
        where=path,
        why=" ".join(str(error).split()),
        fix="check the path, rights and format",
    )


class Piece(NamedTuple):
    """What one worker reads of a table: a file, or one row group of a Parquet file.

    Attributes:
        file: The file's name.
        row_group: The row group's number; None for the whole file.
    """

    file: str
    row_group: int | None


def pieces_of(source: TableFiles, name: str) -> list[Piece]:
    """Divides one file of a table, so that a large one keeps many workers busy.

    Raises:
        UsageError: The file has an unknown ending.
        DataError: The file cannot be read, or is damaged.
    """
    count = format_of(source.path(name), source.table).row_groups
    with _reading(source, name) as stream:
        return [Piece(name, group) for group in range(count(stream))] or [Piece(name, None)]


def read_batches(source: TableFiles, name: str, row_group: int | None = None) -> Iterator[Outcome]:
    """Reads one file of a table, or one of its row groups, in batches of at most 65,536 rows.

    Yields:
        The good rows, in `schema(source.table)`, and the rejects: a cell of the wrong type, missing or out of range,
        or a line that cannot be parsed, costs that row only.

    Raises:
        UsageError: The file has an unknown ending.
        DataError: The file cannot be read, or is damaged.
    """
    read_rows = format_of(source.path(name), source.table).batches
    wanted = [column.name for column in TABLES[source.table]]
    with _reading(source, name) as stream:
        for batch in read_rows(stream, list(dict.fromkeys([*wanted, *source.own_columns])), row_group):
            yield _checked(_with_own_columns(batch, source), name, source.table)


def _with_own_columns(batch: RawBatch, source: TableFiles) -> RawBatch:
    """The rows in which the columns that the config names have our names."""
    columns: dict[str, Values] = {name: values for name, values in batch.columns.items() if name not in OF_ONES_OWN}
    if source.partition_column in batch.columns:
        columns["given_partition"] = batch.columns[source.partition_column]
    if source.keep_columns:
        texts = [_texts(batch.columns.get(name), len(batch.rows)) for name in source.keep_columns]
        columns["kept_columns"] = pa.array(list(map(list, zip(*texts, strict=True))), STRINGS)
    return replace(batch, columns=columns)


def _texts(values: Values | None, number_of_rows: int) -> list[str]:
    """The cells of a column that is no table's, as texts; a missing one is ""."""
    if values is None:
        return [""] * number_of_rows
    cells = values.to_pylist() if isinstance(values, pa.Array) else values
    return ["" if cell is None else str(cell) for cell in cells]


@contextmanager
def _reading(source: TableFiles, name: str) -> Iterator[IO[bytes]]:
    path = source.path(name)
    try:
        with files.open_read(path) as stream:
            yield stream
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            what=f"The {source.table} table cannot be read to its end",
            where=path,
            why=" ".join(str(error).split()),
            fix="replace the damaged file, or check the connection",
        ) from error


def _checked(batch: RawBatch, file: str, table: str) -> Outcome:
    """Converts and checks the cells of a batch."""
    number_of_rows = len(batch.rows)
    columns: list[pa.Array] = []
    faults: dict[int, tuple[DropReason, Column]] = {}
    for column in TABLES[table]:
        converted, unconvertible = convert(batch.columns.get(column.name, pa.nulls(number_of_rows)), column.type)
        columns.append(_filled(converted))
        for reason, faulty in _find_faults(converted, unconvertible, column).items():
            faults |= {int(row): (reason, column) for row in np.flatnonzero(faulty) if int(row) not in faults}
    good = np.ones(number_of_rows, np.bool_)
    good[list(faults)] = False
    provenance = [pa.repeat(file, number_of_rows), pa.array(batch.rows)]
    kept = pa.table(columns + provenance, schema=schema(table)).filter(pa.array(good))
    return Outcome(Stage.READ, table, kept, _rejected(batch, faults, columns[0], file=file, table=table))


def _find_faults(converted: pa.Array, unconvertible: BoolArray, column: Column) -> dict[DropReason, BoolArray]:
    missing = _is_missing(converted) if column.required else np.zeros(len(converted), np.bool_)
    return {
        DropReason.WRONG_TYPE: unconvertible,
        DropReason.MISSING_VALUE: missing & ~unconvertible,
        DropReason.OUT_OF_RANGE: _is_out_of_range(converted, column),
    }


def _is_missing(values: pa.Array) -> BoolArray:
    """Whether each cell is null, or "" in a column of texts: bool, (rows,). No list is missing: null is []."""
    if pa.types.is_list(values.type):
        return np.zeros(len(values), np.bool_)
    return mask(pc.equal(_filled(values), "") if values.type == pa.string() else values.is_null())


def _is_out_of_range(values: pa.Array, column: Column) -> BoolArray:
    beyond = np.zeros(len(values), np.bool_)
    if pa.types.is_floating(values.type):
        beyond |= mask(pc.invert(pc.is_finite(values)))
    if column.minimum is not None:
        beyond |= mask(pc.less(values, pa.scalar(column.minimum, values.type)))
    if column.max_items is not None:
        beyond |= mask(pc.greater(pc.list_value_length(values), column.max_items))
    return beyond


def _filled(values: pa.Array) -> pa.Array:
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


def _rejected(
    batch: RawBatch, faults: Mapping[int, tuple[DropReason, Column]], ids: pa.Array, *, file: str, table: str
) -> pa.Table:
    cells = [
        {
            "id": ids[index].as_py() or None,
            "reason": reason.value,
            "detail": _cell_detail(batch, index, reason, column, file),
            "row": int(batch.rows[index]),
        }
        for index, (reason, column) in sorted(faults.items())
    ]
    lines = [
        {"reason": DropReason.WRONG_TYPE.value, "detail": _line_detail(row, why, file), "row": row}
        for row, why in batch.malformed.items()
    ]
    common = {"stage": Stage.READ.value, "table": table, "file": file}
    return pa.Table.from_pylist([common | reject for reject in [*cells, *lines]], schema=REJECTS)


def _cell_detail(batch: RawBatch, index: int, reason: DropReason, column: Column, file: str) -> str:
    what, fix = _CELL_FAULTS[reason]
    shown = _shown(batch.columns.get(column.name), index)
    where = f"{file}, row {batch.rows[index]}, column {column.name}"
    return f"{what}; where: {where}; why: {shown} is not {column.expected}; fix: {fix}"


def _line_detail(row: int, why: str, file: str) -> str:
    return f"A row cannot be parsed; where: {file}, row {row}; why: {why}; fix: correct or remove the line"


def _shown(values: Values | None, index: int) -> str:
    value = None if values is None else values[index]
    text = repr(value.as_py() if isinstance(value, pa.Scalar) else value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
