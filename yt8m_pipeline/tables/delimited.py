"""Delimited text (CSV, TSV): its dialect is that of its header, and a bad record costs one line of it.

>>> from io import BytesIO
>>> names, rows, _ = read_delimited(BytesIO(b'video_id;uri\\nv1;a.mp4\\nv2;"b.mp4\\nv3;c.mp4\\n'))
>>> names, [row for row, _ in rows]  # doctest: +NORMALIZE_WHITESPACE
(['video_id', 'uri'],
 [['v1', 'a.mp4'], Malformed(why='lines 3 to 4: a quote is not closed'), ['v3', 'c.mp4']])
"""

import csv
import re
from collections.abc import Iterator, Sequence
from io import BufferedReader, TextIOWrapper
from typing import IO, NamedTuple, TypeAlias

from yt8m_pipeline.tables.text import AUTO, BUFFER_BYTES, UTF_8, Utf8Stream

MAX_ROW_BYTES = 1 << 20
"""A row is a reject if it is longer: no row of ids, labels and a description comes near. A file that is
one line of gigabytes, by accident or on purpose, would otherwise be read into memory as a whole."""
TOO_LONG = f"it has more than {MAX_ROW_BYTES:,} bytes"

DELIMITERS = ",\t;|"
"""What may stand between fields. Excel writes semicolons where the comma is the decimal mark."""

QUOTED = re.compile(r'"[^"]*("|$)')

MAX_BYTES_AGAIN = 64 << 20
"""The number of bytes that one file may have read again after quotes that are not closed, each of which costs up to a
row's most. When they are spent, each line of the file is a record, so that no file takes longer than a second more."""

csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
"""A field may be as long as its row. The limit is one for the whole process, and 131,072 characters by default."""


class Malformed(NamedTuple):
    """A row that cannot be divided into columns."""

    why: str


Rows: TypeAlias = Iterator[tuple[list[str] | Malformed, int]]
"""Rows, each with its length."""


def read_delimited(
    stream: IO[bytes], encoding: str = AUTO, names: Sequence[str] = ()
) -> tuple[list[str], Rows, Utf8Stream]:
    """Reads the column names and the rows of delimited text.

    The header says which of `DELIMITERS` it is: the one that it has most often outside quotes, the first of several.
    An empty line is no row.

    Args:
        stream: The bytes, seekable.
        encoding: The name of an encoding, or `AUTO`.
        names: The names of the columns of a text without a header, which has commas between its fields.

    Returns:
        The names, without spaces around them; the rows; and the stream that tells the encoding.

    Raises:
        csv.Error: The header cannot be parsed.
    """
    utf8 = Utf8Stream(stream, encoding)
    lines = _Lines(TextIOWrapper(BufferedReader(utf8, BUFFER_BYTES), UTF_8, "surrogateescape", newline=""))
    delimiter = "," if names else delimiter_of(lines.peek())
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    columns = list(names) or [name.strip() for name in next(reader, [])]
    return columns, _rows(reader, lines, len(columns), delimiter), utf8


def delimiter_of(header: str) -> str:
    """The delimiter of a header.

    >>> delimiter_of('video_id;"name, given";uri')
    ';'
    """
    unquoted = QUOTED.sub("", header)
    return max(DELIMITERS, key=unquoted.count)


class _Lines:
    """The lines of a text, and those of one record again. It holds little more than the most that a row may have.

    Attributes:
        number: The number of the last line.
        record: The lines of the record that is being read.
        length: How long they are.
    """

    def __init__(self, text: TextIOWrapper) -> None:
        self._text, self._again, self._bytes_again = text, list[str](), 0
        self.number, self.record, self.length = 0, list[str](), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Returns the next line.

        Raises:
            csv.Error: if it makes its record too long.
        """
        if self.record and self._bytes_again > MAX_BYTES_AGAIN:
            raise StopIteration
        line = self._again.pop() if self._again else self._read()
        if not line:
            raise StopIteration
        self.record.append(line)
        self.number, self.length = self.number + 1, self.length + len(line)
        if self.length > MAX_ROW_BYTES:
            raise csv.Error(TOO_LONG)
        return line

    def _read(self) -> str:
        """Reads a line; of one that is too long, no more than shows it."""
        line = rest = self._text.readline(MAX_ROW_BYTES + 1)
        while len(rest) >= MAX_ROW_BYTES and not rest.endswith(("\n", "\r")):
            rest = self._text.readline(MAX_ROW_BYTES)
        return line

    def peek(self) -> str:
        """The first line that is not empty, which stays the next one."""
        while (line := self._read()) and not line.strip("\r\n"):
            self.number += 1
        self._again.append(line)
        return line

    def begin_record(self) -> None:
        self.record, self.length = [], 0

    def keep_first_line(self) -> None:
        """Makes the first line of the record all of it, and the others the next lines."""
        others = self.record[:0:-1]
        self._again += others
        self._bytes_again += sum(map(len, others))
        self.number -= len(others)


def _rows(reader: Iterator[list[str]], lines: _Lines, width: int, delimiter: str) -> Rows:
    while True:
        lines.begin_record()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            why = _about_lines(lines, str(error).replace("unexpected end of data", "a quote is not closed"))
        else:
            if fields is None:
                return
            if len(fields) == width:
                yield fields, lines.length
            if len(fields) in (0, width):
                continue
            why = _wrong_width(lines, len(fields), width, delimiter)
        lines.keep_first_line()
        yield Malformed(why), 0


ESCAPED_QUOTE = '\\"'
"""A quote in a field as Spark writes it, which in RFC 4180 ends the field."""


def _about_lines(lines: _Lines, why: str) -> str:
    if any(ESCAPED_QUOTE in line for line in lines.record):
        why += "; quotes in a field are doubled, not escaped by a backslash (in Spark, option escape is '\"')"
    return f"lines {lines.number - len(lines.record) + 1} to {lines.number}: {why}"


def _wrong_width(lines: _Lines, fields: int, width: int, delimiter: str) -> str:
    why = f"{fields} fields, the header has {width}"
    others = [other for other in DELIMITERS if other != delimiter and lines.record[0].count(other) == width - 1]
    if others and width > 1:
        return f"{why}, with {delimiter!r} between them; with {others[0]!r} it would have {width}"
    return why if len(lines.record) == 1 else _about_lines(lines, why)
