"""The formats of input tables (CSV, JSONL, Parquet): a header, and batches of rows as the file holds them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from itertools import chain, islice, pairwise
from typing import IO, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yt8m_pipeline.accounting.outcome import BoolArray
from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.parsing import parquet_file, parse_json
from yt8m_pipeline.tables.delimited import MAX_ROW_BYTES, TOO_LONG, Malformed, read_delimited
from yt8m_pipeline.tables.text import AUTO, BUFFER_BYTES, Utf8Stream, is_gzipped

T = TypeVar("T")

BATCH_ROWS = 65_536
"""The number of rows that are converted at once: some MB of ids, enough to make the cost of a call small."""
BATCH_BYTES = 64 << 20
"""A batch ends early when its rows have this many bytes of text, so that long rows take no more memory than short ones.
"""
MAX_CHUNK_BYTES = 1 << 30
"""A column of a Parquet row group is read as a whole, and has at most this many bytes: ids of millions of rows."""
MAX_COLUMNS = 10_000
"""A file has at most this many columns: one for each class of a large vocabulary, and the few that a table needs. Each
is compared with every name that may be meant."""
MAX_CHUNK_VALUES = 1 << 26
"""A column of a Parquet row group has at most this many values: 64 labels for each of a million rows. A file of 4 kB
may give one row 200 million, which take 7 GiB."""
PARQUET = "parquet"
"""The ending of the names of Parquet files; those of texts are in `_TEXTS`."""
SAMPLED_LINES = 100
"""The number of lines of a JSONL file whose keys are taken for its columns."""

Values: TypeAlias = list[Any] | pa.Array
"""One column of a batch as its file holds it: (rows,). Lists are sliced and measured as Arrow arrays are."""


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        columns: The name and the type of each column, null where it is unknown. A file without a byte has none.
        has_rows: Whether there is any row.
        encoding: The encoding of its text; "" of Parquet, which names none.
    """

    columns: Sequence[tuple[str, pa.DataType]]
    has_rows: bool
    encoding: str = ""


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


def format_of(path: str, table: str, encoding: str = AUTO) -> Format:
    """Chooses the format of a table's file by the ending of its name, to which `.gz` may be added.

    Args:
        path: The file.
        table: The table's name, for messages.
        encoding: The encoding of a text, or `AUTO`.

    Raises:
        UsageError: if there is no such format.
    """
    ending = _ending(path)
    if ending == PARQUET:
        return Format(_parquet_header, _parquet_batches, _parquet_row_groups)
    if ending in _TEXTS:
        header, batches = _TEXTS[ending]
        return Format(partial(header, encoding=encoding), partial(batches, encoding=encoding))
    raise UsageError(
        what=f"The {table} table has an unknown format",
        where=path,
        why=f"it ends in .{ending}" if ending else "its name has no ending",
        fix=f"use {', '.join(f'.{name}' for name in _TEXTS)} or .parquet",
    )


def _ending(path: str) -> str:
    name = path.rpartition("/")[2].lower().removesuffix(".gz").removesuffix(".gzip")
    return name.rpartition(".")[2] if "." in name else ""


def _csv_header(stream: IO[bytes], encoding: str) -> Header:
    names, rows, utf8 = read_delimited(stream, encoding)
    _require_few_columns(names)
    has_rows = next(rows, None) is not None
    return Header([(name, pa.string()) for name in names], has_rows, utf8.settle())


def _csv_batches(stream: IO[bytes], wanted: Sequence[str], _: int | None, *, encoding: str) -> Iterator[RawBatch]:
    names, rows, _utf8 = read_delimited(stream, encoding)
    indices = {name: names.index(name) for name in wanted if name in names}

    def columns(records: Sequence[list[str]]) -> dict[str, Values]:
        by_column = list(zip(*records, strict=True)) or [()] * len(names)
        return {name: list(by_column[index]) for name, index in indices.items()}

    return _batched(rows, columns)


def _json_header(stream: IO[bytes], encoding: str) -> Header:
    utf8 = Utf8Stream(stream, encoding)
    sample = [_names(record) for record, _ in islice(_read_json(utf8), SAMPLED_LINES)]
    records = [names for names in sample if names is not None]
    if sample and not records:
        raise ValueError(
            f"none of its first {len(sample)} lines holds a JSON object; each line must be one, as pandas writes them "
            'with to_json(orient="records", lines=True)'
        )
    names = dict.fromkeys(chain.from_iterable(records))
    _require_few_columns(names)
    return Header([(name, pa.null()) for name in names], bool(sample), utf8.settle())


def _names(record: dict[str, Any] | Malformed) -> list[str] | None:
    return list(record)[: MAX_COLUMNS + 1] if isinstance(record, dict) else None


def _require_few_columns(names: Collection[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise ValueError(f"it has more than {MAX_COLUMNS:,} columns")


def _json_batches(stream: IO[bytes], wanted: Sequence[str], _: int | None, *, encoding: str) -> Iterator[RawBatch]:
    def columns(records: Sequence[dict[str, Any]]) -> dict[str, Values]:
        return {name: [record.get(name) for record in records] for name in wanted}

    return _batched(_reduced(_read_json(Utf8Stream(stream, encoding)), wanted), columns)


def _reduced(
    records: Iterable[tuple[dict[str, Any] | Malformed, int]], wanted: Sequence[str]
) -> Iterator[tuple[dict[str, Any] | Malformed, int]]:
    """The records without what nobody wants of them: as Python's objects it takes many times the memory of its text."""
    for record, length in records:
        if isinstance(record, dict):
            yield {name: record[name] for name in wanted if name in record}, length
        else:
            yield record, length


def _read_json(stream: Utf8Stream) -> Iterator[tuple[dict[str, Any] | Malformed, int]]:
    """The records, each with its length. An empty line is no record."""
    buffered = BufferedReader(stream, BUFFER_BYTES)
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
    file = _parquet_file(stream)
    return Header([(item.name, item.type) for item in file.schema_arrow], file.metadata.num_rows > 0)


def _parquet_file(stream: IO[bytes]) -> pq.ParquetFile:
    if is_gzipped(stream):
        raise pa.ArrowInvalid("it is gzipped as a whole, and can only be read from its end: unpack it with gunzip")
    return parquet_file(stream)


def _parquet_batches(stream: IO[bytes], wanted: Sequence[str], row_group: int | None) -> Iterator[RawBatch]:
    """Batches of rows. Texts are read as dictionaries: a file of a megabyte may repeat a long one a million times."""
    plain = _parquet_file(stream)
    types, metadata = plain.schema_arrow, plain.metadata
    file = parquet_file(stream, metadata=metadata, read_dictionary=_text_paths(plain.schema))
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
            if chunk.path_in_schema.partition(".")[0] in names:
                _require_bounded(chunk.path_in_schema, "bytes", chunk.total_uncompressed_size, MAX_CHUNK_BYTES)
                _require_bounded(chunk.path_in_schema, "values", chunk.num_values, MAX_CHUNK_VALUES)


def _require_bounded(column: str, what: str, number: int, most: int) -> None:
    if number > most:
        raise pa.ArrowInvalid(
            f"{column} has {number:,} {what} in a row group, more than {most:,}: smaller row groups can be read"
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
    return int(_parquet_file(stream).num_row_groups)


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


_Text: TypeAlias = tuple[Callable[..., Header], Callable[..., Iterator[RawBatch]]]

_DELIMITED: _Text = (_csv_header, _csv_batches)
_JSON_LINES: _Text = (_json_header, _json_batches)

_TEXTS: Mapping[str, _Text] = {
    "csv": _DELIMITED,
    "tsv": _DELIMITED,
    "txt": _DELIMITED,
    "jsonl": _JSON_LINES,
    "ndjson": _JSON_LINES,
    "json": _JSON_LINES,
}
