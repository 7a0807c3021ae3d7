"""The annotation files of a source, as tables, JSON or lines. Each is read only when somebody asks what it is."""

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import IO, Any, NoReturn, cast

import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.parsing import MAX_JSON_BYTES, parse_json
from yt8m_pipeline.tables.delimited import Malformed, read_delimited
from yt8m_pipeline.tables.formats import Format, Header, format_of
from yt8m_pipeline.tables.text import AUTO, LATIN

TABLE = re.compile(r"\.(csv|jsonl|ndjson|parquet|tsv)(\.gz)?\Z", re.IGNORECASE)
"""The endings of files that may be tables."""

MAX_LINES = 5_000_000
"""The most lines of a list: Sports-1M has 1.1 million. As a text of Python each takes 50 bytes more than there."""

UNREADABLE = (OSError, EOFError, ValueError, zlib.error, pa.ArrowException, csv.Error)


class Document:
    """A file that may be annotations.

    Args:
        uri: Its absolute path, or its URI.
        name: Its path relative to the source.
        is_given: Whether the user named this file, and not a folder that it is in.
        encoding: The encoding of a table, or `AUTO`.
    """

    def __init__(self, uri: str, name: str, is_given: bool, encoding: str = AUTO) -> None:
        self.uri, self.name, self.is_given, self._encoding = uri, name, is_given, encoding

    @property
    def base_name(self) -> str:
        """Its name without its folder, and without the .gz of a compressed file."""
        return self.name.rpartition("/")[2].removesuffix(".gz")

    @property
    def is_compressed(self) -> bool:
        return self.name.endswith(".gz")

    @property
    def folder(self) -> str:
        return self.uri.rpartition("/")[0]

    @property
    def is_table(self) -> bool:
        return TABLE.search(self.name) is not None

    @property
    def is_json(self) -> bool:
        return self.base_name.lower().endswith(".json")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a table; none of an empty file, which Spark writes among others.

        Raises:
            UsageError: if it cannot be read.
        """
        return tuple(name for name, _ in self._header.columns)

    @property
    def is_guessed(self) -> bool:
        """Whether the encoding of a table is a guess, since its bytes are not UTF-8 and nobody named another."""
        return self._encoding == AUTO and self._header.encoding == LATIN

    @cached_property
    def _header(self) -> Header:
        with self._opened() as stream:
            return self._format.header(stream)

    @property
    def _format(self) -> Format:
        return format_of(self.uri, "source", self._encoding)

    def rows(self, wanted: Sequence[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """The rows of a table by their numbers: the wanted cells, or the reason why a row cannot be read."""
        with self._opened() as stream:
            for batch in self._format.batches(stream, wanted, None):
                yield from batch.malformed.items()
                cells = [_cells(batch.columns.get(name), len(batch.rows)) for name in wanted]
                for number, row in zip(batch.rows.tolist(), zip(*cells, strict=True), strict=True):
                    yield number, dict(zip(wanted, row, strict=True))

    def rows_without_header(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """The rows of a CSV file that has no header, as `rows` gives them.

        Args:
            names: The names of all its columns.
        """
        with self._opened() as stream:
            _, rows, _ = read_delimited(stream, self._encoding, names)
            for number, (row, _) in enumerate(rows, 1):
                yield number, row.why if isinstance(row, Malformed) else dict(zip(names, row, strict=True))

    @cached_property
    def first_line(self) -> str:
        """The beginning of a text; "" if it is none."""
        with self._opened() as stream:
            data = self._unpacked(stream).read(4096)
        return data.decode("utf-8-sig", "ignore").strip().partition("\n")[0].strip()

    @cached_property
    def lines(self) -> list[str]:
        """The lines of a text that are not empty.

        Raises:
            UsageError: if it is not UTF-8, or empty.
        """
        with self._opened() as stream:
            data = self._read(stream).removeprefix(codecs.BOM_UTF8)
            if data.count(b"\n") + data.count(b"\r") > MAX_LINES:
                raise ValueError(f"it has more than {MAX_LINES:,} lines")
            lines = [line.decode().strip() for line in data.splitlines()]
        if not any(lines):
            raise UsageError(what="A list is empty", where=self.uri, why="it has no line", fix="give the whole file")
        return list(filter(None, lines))

    @cached_property
    def json(self) -> Any:
        """The value of a JSON file.

        Raises:
            UsageError: if it is no JSON.
        """
        with self._opened() as stream:
            return parse_json(self._read(stream))

    def _unpacked(self, stream: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if self.is_compressed else stream

    def _read(self, stream: IO[bytes]) -> bytes:
        data = self._unpacked(stream).read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise ValueError(f"it has more than {MAX_JSON_BYTES:,} bytes")
        return data

    def _opened(self) -> "_Opened":
        return _Opened(self.uri)

    def refuse(self, why: str, fix: str) -> NoReturn:
        """Raises an error about this file."""
        raise UsageError(what="An annotation file is not what it looks like", where=self.uri, why=why, fix=fix)


class _Opened:
    """An open file, whose errors are told in four parts."""

    def __init__(self, uri: str) -> None:
        self._uri, self._context = uri, files.open_read(uri)

    def __enter__(self) -> IO[bytes]:
        try:
            return self._context.__enter__()
        except OSError as error:
            raise _unreadable(self._uri, error) from None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._context.__exit__(None, None, None)
        if isinstance(error, UNREADABLE) and not isinstance(error, UsageError):
            raise _unreadable(self._uri, error) from None


def _unreadable(uri: str, error: BaseException) -> UsageError:
    fix = "check the path, rights and format; lists and JSON are read as UTF-8"
    return UsageError(what="A source cannot be read", where=uri, why=" ".join(str(error).split()), fix=fix)


def _cells(values: Any, number_of_rows: int) -> list[Any]:
    if values is None:
        return [None] * number_of_rows
    return values.to_pylist() if isinstance(values, pa.Array) else list(values)
