"""The formats of input tables (CSV, JSONL, Parquet): a header, and batches of rows as the file holds them."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase, TextIOWrapper
from itertools import chain, islice, pairwise
from typing import IO, Any, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yt8m_pipeline.accounting.outcome import BoolArray
from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.parsing import parse_json

T = TypeVar("T")

BATCH_ROWS = 65_536
"""The number of rows that are converted at once: some MB of ids, enough to make the cost of a call small."""
BATCH_BYTES = 64 << 20
"""A batch ends early when its rows have this many bytes of text, so that long rows take no more memory than short ones.
"""
MAX_ROW_BYTES = 1 << 20
"""A row is a reject if it is longer: no row of ids, labels and a description comes near. A file that is
one line of gigabytes, by accident or on purpose, would otherwise be read into memory as a whole."""
TOO_LONG = f"it has more than {MAX_ROW_BYTES:,} bytes"
MAX_CHUNK_BYTES = 1 << 30
"""A column of a Parquet row group is read as a whole, and has at most this many bytes: ids of millions of rows."""
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


def _read_csv(stream: IO[bytes]) -> tuple[list[str], Iterator[tuple[list[str] | Malformed, int]]]:
    """Reads the column names and the data rows. Bytes that are not UTF-8 become surrogates, which no cast accepts."""
    text = TextIOWrapper(_buffered(stream), "utf-8-sig", "surrogateescape", newline="")
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True)
    names = [name.strip() for name in next(reader, [])]
    return names, _csv_rows(reader, lines, len(names))


class _Lines:
    """The lines of a text, of which it never holds more than the most that a row may have.

    Attributes:
        number: The number of the last line.
        row_length: How long the row is that the last lines belong to. Who begins another row sets it to 0.
    """

    def __init__(self, text: TextIOWrapper) -> None:
        self._text, self.number, self.row_length = text, 0, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Returns the next line.

        Raises:
            csv.Error: if it makes its row too long; the line is skipped.
        """
        line = self._text.readline(MAX_ROW_BYTES + 1)
        if not line:
            raise StopIteration
        self.number, self.row_length = self.number + 1, self.row_length + len(line)
        if self.row_length > MAX_ROW_BYTES:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(MAX_ROW_BYTES)
            raise csv.Error(TOO_LONG)
        return line


def _csv_rows(reader: Iterator[list[str]], lines: _Lines, width: int) -> Iterator[tuple[list[str] | Malformed, int]]:
    """The rows, each with its length."""
    while True:
        first_line, lines.row_length = lines.number + 1, 0
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield Malformed(f"lines {first_line} to {lines.number}: {error}"), 0
            continue
        if fields is None:
            return
        if fields:
            is_whole = len(fields) == width
            row = fields if is_whole else Malformed(f"{len(fields)} fields, the header has {width}")
            yield row, lines.row_length


def _json_header(stream: IO[bytes]) -> Header:
    sample = [_names(record) for record, _ in islice(_read_json(stream), SAMPLED_LINES)]
    records = [names for names in sample if names is not None]
    if sample and not records:
        raise ValueError(f"none of its first {len(sample)} lines holds a JSON object")
    return Header([(name, pa.null()) for name in dict.fromkeys(chain.from_iterable(records))], bool(sample))


def _names(record: dict[str, Any] | Malformed) -> list[str] | None:
    return list(record) if isinstance(record, dict) else None


def _json_batches(stream: IO[bytes], wanted: Sequence[str], _: int | None) -> Iterator[RawBatch]:
    def columns(records: Sequence[dict[str, Any]]) -> dict[str, Values]:
        return {name: [record.get(name) for record in records] for name in wanted}

    return _batched(_reduced(_read_json(stream), wanted), columns)


def _reduced(
    records: Iterable[tuple[dict[str, Any] | Malformed, int]], wanted: Sequence[str]
) -> Iterator[tuple[dict[str, Any] | Malformed, int]]:
    """The records without what nobody wants of them: as Python's objects it takes many times the memory of its text."""
    for record, length in records:
        if isinstance(record, dict):
            yield {name: record[name] for name in wanted if name in record}, length
        else:
            yield record, length


def _read_json(stream: IO[bytes]) -> Iterator[tuple[dict[str, Any] | Malformed, int]]:
    """The records, each with its length."""
    buffered = _buffered(stream)
    while line := buffered.readline(MAX_ROW_BYTES + 1):
        if len(line) > MAX_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = buffered.readline(MAX_ROW_BYTES)
            yield Malformed(TOO_LONG), 0
        elif line.strip():
            yield _parse_json(line), len(line)


def _parse_json(line: bytes) -> dict[str, Any] | Malformed:
    try:
        record = parse_json(line)
    except ValueError as error:
        return Malformed(f"not JSON: {error}")
    return record if isinstance(record, dict) else Malformed(f"not a JSON object but a {type(record).__name__}")


def _parquet_header(stream: IO[bytes]) -> Header:
    file = pq.ParquetFile(stream)
    return Header([(item.name, item.type) for item in file.schema_arrow], file.metadata.num_rows > 0)


def _parquet_batches(stream: IO[bytes], wanted: Sequence[str], row_group: int | None) -> Iterator[RawBatch]:
    """Batches of rows. Texts are read as dictionaries: a file of a megabyte may repeat a long one a million times."""
    plain = pq.ParquetFile(stream)
    types, metadata = plain.schema_arrow, plain.metadata
    file = pq.ParquetFile(stream, metadata=metadata, read_dictionary=_text_paths(plain.schema))
    names = [name for name in types.names if name in wanted]
    groups = range(metadata.num_row_groups) if row_group is None else [row_group]
    _require_columns_of_bounded_size(metadata, names, groups)
    first_row = 1 + sum(metadata.row_group(group).num_rows for group in range(row_group or 0))
    for group in groups:  # one by one: Arrow joins no nested dictionaries of several
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names):
            for start, part, is_too_long in _parts_of_bounded_size(batch):
                yield _parquet_batch(part, is_too_long, first_row + start, types)
            first_row += batch.num_rows


def _text_paths(schema: pq.ParquetSchema) -> list[str]:
    columns = map(schema.column, range(len(schema)))
    return [item.path for item in columns if (item.physical_type, item.converted_type) == ("BYTE_ARRAY", "UTF8")]


def _require_columns_of_bounded_size(metadata: pq.FileMetaData, names: Sequence[str], groups: Iterable[int]) -> None:
    for group in map(metadata.row_group, groups):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.partition(".")[0] in names and chunk.total_uncompressed_size > MAX_CHUNK_BYTES:
                raise ValueError(
                    f"{chunk.path_in_schema} has {chunk.total_uncompressed_size:,} bytes in a row group, more than "
                    f"{MAX_CHUNK_BYTES:,}: smaller row groups can be read"
                )


def _parts_of_bounded_size(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch, BoolArray]]:
    """Slices of a batch, with little more than BATCH_BYTES of text in the rows that are not too long.

    Yields:
        The start of each slice, the slice, and which of its rows are too long: bool, (rows,).
    """
    sizes = _text_bytes(batch)
    is_too_long = sizes > MAX_ROW_BYTES
    numbers = np.cumsum(np.where(is_too_long, 0, sizes)) // BATCH_BYTES
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), batch.num_rows]
    for start, stop in pairwise(starts):
        yield start, batch.slice(start, stop - start), is_too_long[start:stop]


def _parquet_batch(batch: pa.RecordBatch, is_too_long: BoolArray, first_row: int, types: pa.Schema) -> RawBatch:
    rows = np.arange(first_row, first_row + batch.num_rows)
    good = batch.filter(pa.array(~is_too_long)) if is_too_long.any() else batch
    columns = {name: good.column(name).cast(types.field(name).type) for name in good.schema.names}
    return RawBatch(rows[~is_too_long], columns, dict.fromkeys(rows[is_too_long].tolist(), TOO_LONG))


def _text_bytes(array: pa.Array | pa.RecordBatch) -> Int64Array:
    """The bytes of text in each row: int64, (rows,); numbers count as none."""
    if isinstance(array, pa.RecordBatch):
        columns = [_text_bytes(column) for column in array.columns]
        return sum(columns, np.zeros(array.num_rows, np.int64))
    if pa.types.is_dictionary(array.type):
        lengths = _text_bytes(array.dictionary)
        return np.append(lengths, 0)[np.asarray(array.indices.fill_null(len(lengths)), np.int64)]
    if pa.types.is_struct(array.type):
        return _text_bytes(pa.RecordBatch.from_struct_array(array)) if len(array) else np.zeros(0, np.int64)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        ends = np.append(0, np.cumsum(_text_bytes(array.values)))
        sizes: Int64Array = np.diff(ends[np.asarray(array.offsets)])
        return sizes
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return np.asarray(pc.binary_length(array).fill_null(0), np.int64)
    return np.zeros(len(array), np.int64)


def _parquet_row_groups(stream: IO[bytes]) -> int:
    return int(pq.ParquetFile(stream).num_row_groups)


def _batched(
    records: Iterable[tuple[T | Malformed, int]], columns: Callable[[Sequence[T]], Mapping[str, Values]]
) -> Iterator[RawBatch]:
    """Batches of records, each of which comes with its length."""
    first_row = 1
    for chunk in _chunks(records):
        malformed = {row: record.why for row, record in enumerate(chunk) if isinstance(record, Malformed)}
        rows = np.delete(np.arange(len(chunk)), list(malformed)) + first_row
        good = [record for record in chunk if not isinstance(record, Malformed)]
        yield RawBatch(rows, columns(good), {row + first_row: why for row, why in malformed.items()})
        first_row += len(chunk)


def _chunks(records: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
    """Lists of at most BATCH_ROWS records, with not much more than BATCH_BYTES in all."""
    chunk: list[T] = []
    size = 0
    for record, length in records:
        chunk.append(record)
        size += length
        if len(chunk) == BATCH_ROWS or size >= BATCH_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


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
