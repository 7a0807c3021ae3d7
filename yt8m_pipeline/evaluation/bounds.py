"""Bounds on the tables of others: a file of a kilobyte may repeat a long text, or a number, a billion times."""

import csv
from collections.abc import Iterator, Sequence
from typing import IO, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yt8m_pipeline.parsing import parquet_file

MAX_FIELD = 1 << 24
"""The most characters of a field of a CSV: all pairs of a video are one field, which has 129,600 characters where 4,800
classes have scores in full precision. Python's own limit is 131,072."""

MAX_LINE = 2 * MAX_FIELD
"""The most characters of a line of a CSV."""

MAX_TEXT = 1 << 28
"""The most bytes of text in a column, as far as it is held at once: the ids of ten million videos."""

MAX_VALUES = 1 << 24
"""A row group of Parquet may have so many values of a column, however few its rows are: 134 MB of numbers."""

csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD))


def lines(text: TextIO) -> Iterator[str]:
    """The lines of a CSV.

    Raises:
        csv.Error: if one is too long.
    """
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise csv.Error(f"a line has more than {MAX_LINE:,} characters")
        yield line


def open_table(stream: IO[bytes], names: Sequence[str], values_of_a_row: int = 0) -> pq.ParquetFile:
    """A Parquet file that is read some rows at a time, texts as dictionaries.

    Args:
        stream: The bytes, seekable.
        names: The columns that are read.
        values_of_a_row: How many values of a column a row has at most.

    Raises:
        ValueError: if a row group has more than that, and more than `MAX_VALUES`, or too much text.
        pyarrow.ArrowException, OSError: if it is no Parquet, or damaged.
    """
    plain = parquet_file(stream)
    for group in map(plain.metadata.row_group, range(plain.metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.partition(".")[0] not in names:
                continue
            if chunk.num_values > max(MAX_VALUES, values_of_a_row * group.num_rows):
                raise ValueError(f"{chunk.path_in_schema} has {chunk.num_values:,} values in {group.num_rows:,} rows")
            if chunk.physical_type == "BYTE_ARRAY" and chunk.total_uncompressed_size > MAX_TEXT:
                raise ValueError(f"{chunk.path_in_schema} has more than {MAX_TEXT:,} bytes in a row group")
    columns = map(plain.schema.column, range(len(plain.schema)))
    texts = [item.path for item in columns if item.physical_type == "BYTE_ARRAY"]
    return parquet_file(stream, metadata=plain.metadata, pre_buffer=False, read_dictionary=texts)


def require_short(column: pa.Array, name: str) -> int:
    """The bytes of the texts of a column, which are a dictionary until now.

    Raises:
        ValueError: if they are too many.
    """
    values = column
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = values.flatten()
    if not pa.types.is_dictionary(values.type):
        return 0
    size: int = pc.sum(pc.binary_length(values.dictionary).take(values.indices)).as_py() or 0
    if size > MAX_TEXT:
        raise ValueError(f"{name} has {size:,} bytes in {len(column):,} rows")
    return size
