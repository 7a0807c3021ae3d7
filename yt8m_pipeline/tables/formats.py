"""The formats of input tables (CSV, JSONL, Parquet): a header, and batches of rows as the file holds them."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase, TextIOWrapper
from itertools import chain, islice
from typing import IO, Any, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.errors import UsageError

T = TypeVar("T")

BATCH_ROWS = 65_536
"""The number of rows that are converted at once: some MB of ids, enough to make the cost of a call small."""
BUFFER_BYTES = 4 << 20
"""The number of bytes that one request to a bucket reads ahead."""
SAMPLED_LINES = 100
"""The number of lines of a JSONL file whose keys are taken for its columns."""

Values: TypeAlias = list[Any] | pa.Array
"""One column of a batch as its file holds it: (rows,). Lists are sliced and measured as Arrow arrays are."""


class Header(NamedTuple):
    """What a file says of itself: the type of each column (null where it is unknown), and whether it has any row."""

    columns: Sequence[tuple[str, pa.DataType]]
    has_rows: bool


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Rows as a file holds them.

    Attributes:
        rows: The number of each row in the file, from 1: int64, (rows,).
        columns: The columns of the table that the file has.
        malformed: The reason for each row that could not be divided into columns, by its number.
    """

    rows: Int64Array
    columns: Mapping[str, Values]
    malformed: Mapping[int, str] = field(default_factory=dict)


class Format(NamedTuple):
    """The ways to read files of one format.

    Attributes:
        header: Reads what the file says of itself.
        batches: Reads batches of the wanted columns: of all rows, or of one row group.
        row_groups: Counts the parts that can be read for themselves; a text has none.
    """

    header: Callable[[IO[bytes]], Header]
    batches: Callable[[IO[bytes], Sequence[str], int | None], Iterator[RawBatch]]
    row_groups: Callable[[IO[bytes]], int] = lambda _: 0


class Malformed(NamedTuple):
    """A row that cannot be divided into columns."""

    why: str


def format_of(path: str, table: str) -> Format:
    """Chooses the format of a table's file by the ending of its name.

    Raises:
        UsageError: if there is no such format.
    """
    ending = path.rpartition(".")[2].lower()
    if ending not in _FORMATS:
        raise UsageError(
            what=f"The {table} table has an unknown format",
            where=path,
            why=f"it ends in .{ending}",
            fix="use .csv, .jsonl or .parquet",
        )
    return _FORMATS[ending]


def _csv_header(stream: IO[bytes]) -> Header:
    names, rows = _read_csv(stream)
    return Header([(name, pa.string()) for name in names], next(rows, None) is not None)


def _csv_batches(stream: IO[bytes], wanted: Sequence[str], _: int | None) -> Iterator[RawBatch]:
    names, rows = _read_csv(stream)
    indices = {name: names.index(name) for name in wanted if name in names}

    def columns(records: Sequence[list[str]]) -> dict[str, Values]:
        by_column = list(zip(*records, strict=True)) or [()] * len(names)
        return {name: list(by_column[index]) for name, index in indices.items()}

    return _batched(rows, columns)


def _read_csv(stream: IO[bytes]) -> tuple[list[str], Iterator[list[str] | Malformed]]:
    """Reads the column names and the data rows. Bytes that are not UTF-8 become surrogates, which no cast accepts."""
    text = TextIOWrapper(_buffered(stream), "utf-8-sig", "surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    names = [name.strip() for name in next(reader, [])]
    return names, _csv_rows(reader, len(names))


def _csv_rows(reader: Any, width: int) -> Iterator[list[str] | Malformed]:
    while True:
        first_line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield Malformed(f"lines {first_line} to {reader.line_num}: {error}")
            continue
        if fields is None:
            return
        if fields:
            yield fields if len(fields) == width else Malformed(f"{len(fields)} fields, the header has {width}")


def _json_header(stream: IO[bytes]) -> Header:
    sample = list(islice(_read_json(stream), SAMPLED_LINES))
    records = [record for record in sample if isinstance(record, dict)]
    if sample and not records:
        raise ValueError(f"none of its first {len(sample)} lines holds a JSON object")
    return Header([(name, pa.null()) for name in dict.fromkeys(chain.from_iterable(records))], bool(sample))


def _json_batches(stream: IO[bytes], wanted: Sequence[str], _: int | None) -> Iterator[RawBatch]:
    def columns(records: Sequence[dict[str, Any]]) -> dict[str, Values]:
        return {name: [record.get(name) for record in records] for name in wanted}

    return _batched(_read_json(stream), columns)


def _read_json(stream: IO[bytes]) -> Iterator[dict[str, Any] | Malformed]:
    return (_parse_json(line) for line in _buffered(stream) if line.strip())


def _parse_json(line: bytes) -> dict[str, Any] | Malformed:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Malformed(f"not JSON: {error}")
    return record if isinstance(record, dict) else Malformed(f"not a JSON object but a {type(record).__name__}")


def _parquet_header(stream: IO[bytes]) -> Header:
    file = pq.ParquetFile(stream)
    return Header([(item.name, item.type) for item in file.schema_arrow], file.metadata.num_rows > 0)


def _parquet_batches(stream: IO[bytes], wanted: Sequence[str], row_group: int | None) -> Iterator[RawBatch]:
    file = pq.ParquetFile(stream)
    names = [name for name in file.schema_arrow.names if name in wanted]
    groups = range(file.num_row_groups) if row_group is None else [row_group]
    first_row = 1 + sum(file.metadata.row_group(group).num_rows for group in range(row_group or 0))
    for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=names):
        rows = np.arange(first_row, first_row + batch.num_rows)
        yield RawBatch(rows, {name: batch.column(name) for name in names})
        first_row += batch.num_rows


def _parquet_row_groups(stream: IO[bytes]) -> int:
    return int(pq.ParquetFile(stream).num_row_groups)


def _batched(
    records: Iterable[T | Malformed], columns: Callable[[Sequence[T]], Mapping[str, Values]]
) -> Iterator[RawBatch]:
    iterator, first_row = iter(records), 1
    while chunk := list(islice(iterator, BATCH_ROWS)):
        malformed = {row: record.why for row, record in enumerate(chunk) if isinstance(record, Malformed)}
        rows = np.delete(np.arange(len(chunk)), list(malformed)) + first_row
        good = [record for record in chunk if not isinstance(record, Malformed)]
        yield RawBatch(rows, columns(good), {row + first_row: why for row, why in malformed.items()})
        first_row += len(chunk)


def _buffered(stream: IO[bytes]) -> BufferedReader:
    return BufferedReader(cast(RawIOBase, stream), BUFFER_BYTES)


_JSON_LINES = Format(_json_header, _json_batches)

_FORMATS: Mapping[str, Format] = {
    "csv": Format(_csv_header, _csv_batches),
    "json": _JSON_LINES,
    "jsonl": _JSON_LINES,
    "ndjson": _JSON_LINES,
    "parquet": Format(_parquet_header, _parquet_batches, _parquet_row_groups),
}
