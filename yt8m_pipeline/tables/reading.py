"""Reading of the four input tables: from CSV, JSONL or Parquet to Arrow batches, with a reason for each bad row.

README.md beside this file shows the tables.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from fractions import Fraction
from math import ceil
from typing import IO, NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline import files
from yt8m_pipeline.accounting.outcome import PROVENANCE, REJECTS, Outcome
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.config import Tables
from yt8m_pipeline.errors import CONTINUED, DataError, UsageError
from yt8m_pipeline.tables.cells import LABELS, STRINGS
from yt8m_pipeline.tables.checking import ID, Arrays, Column, Fault, Where, convert_columns, filled
from yt8m_pipeline.tables.formats import RawBatch, Values, format_of
from yt8m_pipeline.tables.text import AUTO

SHOWN_ROWS = 3
"""The number of malformed rows that the refusal of a table shows."""

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""The value in the name of a folder whose rows have none."""

ANNOTATIONS = (
    Column("video_id", pa.string(), ID, required=True),
    Column("entity_id", pa.string(), ID, required=True),
    Column("score", pa.float64(), "a finite number"),
    Column("start_seconds", pa.float64(), "a finite number of seconds ≥ 0", minimum=0),
    Column("end_seconds", pa.float64(), "a finite number of seconds above start_seconds", above="start_seconds"),
)

TABLES: Mapping[str, tuple[Column, ...]] = {
    "entities": (
        Column("entity_id", pa.string(), ID, required=True),
        Column("name", pa.string(), "text"),
        Column("types", STRINGS, "a list of texts"),
        Column("description", pa.string(), "text"),
        Column("wiki_url", pa.string(), "text"),
        Column("verticals", STRINGS, "a list of at most 3 texts", max_items=3),
    ),
    "ratings": (
        Column("entity_id", pa.string(), ID, required=True),
        Column("rater_id", pa.string(), ID, required=True),
        Column("score", pa.float64(), "a finite number", required=True),
    ),
    "videos": (
        Column("video_id", pa.string(), ID, required=True),
        Column("uri", pa.string(), "a path or URI", required=True),
        Column("duration_seconds", pa.float64(), "a finite number of seconds ≥ 0", minimum=0),
        Column("view_count", pa.int64(), "a whole number ≥ 0", minimum=0),
        Column("group_id", pa.string(), ID),
        Column("labels", LABELS, "a list of {entity_id, score}", items=ANNOTATIONS[1:]),
    ),
    "annotations": ANNOTATIONS,
}
"""The input tables by name, with the columns that their files may have. The first one of each holds the id that its
rejects show."""

GIVEN_PARTITION = pa.field("given_partition", pa.string())
KEPT_COLUMNS = pa.field("kept_columns", STRINGS)
"""The columns of the videos table that no file has by these names: they are made of those that the config names."""


def schema(table: str) -> pa.Schema:
    """The schema of the good rows of a table: its columns, those of one's own, and their provenance."""
    columns = [pa.field(column.name, column.type) for column in TABLES[table]]
    of_ones_own = [GIVEN_PARTITION, KEPT_COLUMNS] if table == "videos" else []
    return pa.schema([*columns, *of_ones_own, *PROVENANCE])


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one input table.

    Attributes:
        table: The table's name.
        root: The folder that the names are relative to, local or gs://.
        files: The names, sorted. Provenance holds these names, so that it does not depend on where the tables are.
        partition_column: The column of a videos table that becomes `given_partition`; "" for none.
        keep_columns: The columns of a videos table whose texts become the items of `kept_columns`.
        ignored: The columns that are not read although the table may have them: `labels` beside an annotations table.
        encoding: The encoding of texts, or `AUTO`.
        max_malformed_fraction: The share of the rows of a file that may be malformed, rounded up to whole rows.
    """

    table: str
    root: str
    files: tuple[str, ...]
    partition_column: str = ""
    keep_columns: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    encoding: str = AUTO
    max_malformed_fraction: float = 1.0

    def path(self, name: str) -> str:
        return files.join(self.root, name)

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The names of the columns that the config names."""
        return tuple(filter(None, [self.partition_column, *self.keep_columns]))

    @property
    def columns(self) -> list[Column]:
        """The columns of the table that are read."""
        return [column for column in TABLES[self.table] if column.name not in self.ignored]


def as_configured(source: TableFiles, tables: Tables) -> TableFiles:
    """The files of a table, which are read as the config says."""
    source = replace(source, encoding=tables.encoding, max_malformed_fraction=tables.max_malformed_fraction)
    if source.table != "videos":
        return source
    return replace(source, keep_columns=tables.keep_columns, ignored=("labels",) if tables.annotations else ())


def find_files(root: str, pattern: str, table: str) -> TableFiles:
    """Finds the files of a table.

    Args:
        root: The folder that a relative pattern is relative to; local or gs://.
        pattern: A path, or one with `*`, `?` and `[…]`, none of which crosses a slash. Of a folder it is all the files
            below it but those with a name that begins with `_` or `.`, as Spark names what is no part of a table.
        table: The table's name.

    Raises:
        UsageError: There is no such file, or the place cannot be looked at.
    """
    pattern = pattern.rstrip("/")
    if "://" in pattern or pattern.startswith("/"):
        parts = pattern.split("/")
        fixed = min(_fixed_parts(parts), len(parts) - 1)
        root, pattern = "/".join(parts[:fixed]) or "/", "/".join(parts[fixed:])
    try:
        names = [pattern] if files.exists(files.join(root, pattern)) else _glob(root, pattern) or _parts(root, pattern)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(files.join(root, pattern), table, error) from None
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


def _parts(root: str, folder: str) -> list[str]:
    """Lists the parts of a table that is a folder."""
    names = [name.split("/") for name in files.list_files(files.join(root, folder))]
    return ["/".join([folder, *name]) for name in names if name[-1] and not any(map(_is_hidden, name))]


def _is_hidden(part: str) -> bool:
    return part.startswith(("_", "."))


def _fixed_parts(parts: Sequence[str]) -> int:
    """Counts the parts of a path before the first one with a wildcard."""
    return next((index for index, part in enumerate(parts) if set(part) & set("*?[")), len(parts))


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def unreadable(path: str, table: str, error: Exception) -> UsageError:
    """The error of a file or a folder of a table that cannot be looked at."""
    return UsageError(
        what=f"The {table} table cannot be read",
        where=path,
        why=" ".join(str(error).split()),
        fix="check the path, rights and format",
    )


def folder_columns(name: str) -> dict[str, str]:
    """The columns that the names of the folders of a file give, as Spark and Hive divide a table by a column.

    >>> folder_columns("videos/split=train/part-00000.csv")
    {'split': 'train'}
    """
    pairs = [part.partition("=") for part in name.split("/")[:-1] if "=" in part]
    return {column: "" if value == NO_VALUE else unquote(value) for column, _, value in pairs}


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
        or a line that cannot be parsed, costs that row only. A nested label that is none stays, with its reason.

    Raises:
        UsageError: The file has an unknown ending.
        DataError: The file cannot be read, or is damaged, or has too many malformed rows.
    """
    read_rows = format_of(source.path(name), source.table, source.encoding).batches
    wanted = [*(column.name for column in source.columns), *source.own_columns]
    with _reading(source, name) as stream:
        batches = read_rows(stream, list(dict.fromkeys(wanted)), row_group)
        outcomes = (_checked(_with_folder_columns(batch, name), name, source) for batch in batches)
        yield from _refusing(outcomes, source, name)


def _with_folder_columns(batch: RawBatch, name: str) -> RawBatch:
    given = {column: pa.repeat(value, len(batch.rows)) for column, value in folder_columns(name).items()}
    return replace(batch, columns={**batch.columns, **given})


def _refusing(outcomes: Iterable[Outcome], source: TableFiles, name: str) -> Iterator[Outcome]:
    """The same outcomes, and a DataError after them where too many rows are malformed: such a file is misunderstood.

    What is malformed are the rows with `wrong_type`: lines that cannot be divided, and texts where numbers are meant.
    """
    rows, malformed, first = 0, 0, list[str]()
    for outcome in outcomes:
        yield outcome
        found = outcome.rejects.filter(pc.equal(outcome.rejects["reason"], DropReason.WRONG_TYPE.value))
        rows, malformed = rows + outcome.count.rows_in, malformed + found.num_rows
        first += found["detail"].slice(0, SHOWN_ROWS - len(first)).to_pylist()
    allowed = ceil(Fraction(str(source.max_malformed_fraction)) * rows)
    if malformed > allowed:
        raise DataError(
            what=f"{malformed} of {rows} rows of the {source.table} table are malformed",
            where=source.path(name),
            why=f"tables.max_malformed_fraction {source.max_malformed_fraction:g} allows {allowed} of them; the first:"
            f"{CONTINUED}{CONTINUED.join(first)}",
            fix="correct the rows, or name the encoding of the file (tables.encoding), or raise "
            "tables.max_malformed_fraction",
        )


@contextmanager
def _reading(source: TableFiles, name: str) -> Iterator[IO[bytes]]:
    path = source.path(name)
    try:
        with files.open_read(path) as stream:
            yield stream
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise DataError(
            what=f"The {source.table} table cannot be read to its end",
            where=path,
            why=" ".join(str(error).split()),
            fix="replace the damaged file, or check the connection",
        ) from error


def _checked(batch: RawBatch, file: str, source: TableFiles) -> Outcome:
    """Converts and checks the cells of a batch."""

    def where(index: int, column: str) -> str:
        return f"{file}, row {batch.rows[index]}, column {column}"

    table, number_of_rows = source.table, len(batch.rows)
    arrays, faults = convert_columns(source.columns, batch.columns, number_of_rows, where)
    of_ones_own, own_faults = _convert_own_columns(batch, source, where)
    faults = own_faults | faults
    good = np.ones(number_of_rows, np.bool_)
    good[list(faults)] = False
    unread = {item.name: filled(pa.nulls(number_of_rows, item.type)) for item in schema(table)}
    provenance = {"_file": pa.repeat(file, number_of_rows), "_row": pa.array(batch.rows)}
    kept = pa.table({**unread, **arrays, **of_ones_own, **provenance}, schema=schema(table)).filter(pa.array(good))
    ids = arrays[source.columns[0].name]
    return Outcome(Stage.READ, table, kept, _rejected(batch, faults, ids, file=file, table=table))


def _convert_own_columns(batch: RawBatch, source: TableFiles, where: Where) -> tuple[Arrays, dict[int, Fault]]:
    """Converts the columns that the config names; their cells may be of any type, but for the given partition."""
    arrays: Arrays = {}
    faults: dict[int, Fault] = {}
    if source.partition_column:
        column = Column(source.partition_column, GIVEN_PARTITION.type, ID)
        given, faults = convert_columns([column], batch.columns, len(batch.rows), where)
        arrays[GIVEN_PARTITION.name] = given[column.name]
    if source.keep_columns:
        columns = [Column(name, pa.string(), "text") for name in source.keep_columns]
        texts = {name: _texts(batch.columns.get(name), len(batch.rows)) for name in source.keep_columns}
        kept, kept_faults = convert_columns(columns, texts, len(batch.rows), where)
        lists = zip(*(kept[name].to_pylist() for name in source.keep_columns), strict=True)
        arrays[KEPT_COLUMNS.name] = pa.array(map(list, lists), STRINGS, size=len(batch.rows))
        faults = kept_faults | faults
    return arrays, faults


def _texts(values: Values | None, number_of_rows: int) -> list[str]:
    """The cells of a column that is no table's, as texts; a missing one is ""."""
    if values is None:
        return [""] * number_of_rows
    cells = values.to_pylist() if isinstance(values, pa.Array) else values
    return ["" if cell is None else str(cell) for cell in cells]


def _rejected(batch: RawBatch, faults: Mapping[int, Fault], ids: pa.Array, *, file: str, table: str) -> pa.Table:
    cells = [
        {"id": ids[index].as_py() or None, "reason": fault.reason.value, "detail": fault.detail, "row": row}
        for index, fault in sorted(faults.items())
        for row in [int(batch.rows[index])]
    ]
    lines = [
        {"reason": DropReason.WRONG_TYPE.value, "detail": _line_detail(row, why, file), "row": row}
        for row, why in batch.malformed.items()
    ]
    common = {"stage": Stage.READ.value, "table": table, "file": file}
    return pa.Table.from_pylist([common | reject for reject in [*cells, *lines]], schema=REJECTS)


def _line_detail(row: int, why: str, file: str) -> str:
    return f"A row cannot be parsed; where: {file}, row {row}; why: {why}; fix: correct or remove the line"
