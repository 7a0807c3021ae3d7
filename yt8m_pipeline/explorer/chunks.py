r"""The chunks of a site's data, and how rows in any order are gathered into them with bounded memory.

>>> chunk("entity/0", {"name": "</script>"})
b'yt8m("entity/0",{"name":"\\u003c/script\\u003e"});\n'
"""

import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any

from yt8m_pipeline.data_model import MAX_COUNT

SPILLS = 128
"""The most temporary files that rows are gathered in. One of them at a time is read into memory."""

ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""What JSON has these characters as in a script, so that no text ends the script or begins a comment in it (OWASP,
Cross Site Scripting Prevention Cheat Sheet, "Output Encoding for JavaScript Contexts")."""


def chunk(name: str, value: Any) -> bytes:
    """A script that hands a value to the page: ASCII, so that U+2028 and whatever else ends a line is escaped too.

    Raises:
        ValueError: a number in it is not finite.
    """
    return f"yt8m({_script_json(name)},{_script_json(value)});\n".encode("ascii")


def chunk_path(name: str) -> str:
    """The path of a chunk in the site."""
    return f"data/{name}.js"


def bucket_of(identifier: str, of: int) -> int:
    """The number of the bucket that an id belongs in: its CRC-32, which the page computes in a few lines.

    >>> bucket_of("dQw4w9WgXcQ", 100)
    76
    """
    return zlib.crc32(identifier.encode()) % of


def amount(value: float | None, digits: int = 0) -> float | None:
    """A number with so many digits after the point; None for what is no amount: below 0, no number, or beyond the
    integers that JSON keeps.

    >>> amount(2.345, 1), amount(12), amount(-1.0), amount(float("nan"))
    (2.3, 12, None, None)
    """
    return None if value is None or not 0 <= value < MAX_COUNT else round(value, digits)


def _script_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(ESCAPES)


class Buckets:
    """Rows that are gathered by the number of their bucket, on the disk until they are read.

    >>> with Buckets(3) as buckets:
    ...     for bucket, row in [(2, "a"), (0, "b"), (2, "c")]:
    ...         buckets.add(bucket, row)
    ...     list(buckets)
    [(0, ['b']), (1, []), (2, ['a', 'c'])]

    Args:
        count: The number of buckets.
    """

    def __init__(self, count: int) -> None:
        self.count, self._files = count, ExitStack()
        spills = range(min(count, SPILLS))
        self._spills = [self._files.enter_context(TemporaryFile("w+", encoding="ascii")) for _ in spills]  # noqa: SIM115

    def __enter__(self) -> "Buckets":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._files.close()

    def add(self, bucket: int, row: Any) -> None:
        """Adds a row, which is what JSON can say."""
        self._spills[bucket * len(self._spills) // self.count].write(f"{bucket}\t{json.dumps(row)}\n")

    def __iter__(self) -> Iterator[tuple[int, list[Any]]]:
        """Yields the buckets in order, each with its rows in the order in which they were added."""
        for number, spill in enumerate(self._spills):
            first, end = (-(-place * self.count // len(self._spills)) for place in (number, number + 1))
            spill.seek(0)
            gathered: dict[int, list[Any]] = {bucket: [] for bucket in range(first, end)}
            for line in spill:
                bucket, _, row = line.partition("\t")
                gathered[int(bucket)].append(json.loads(row))
            yield from gathered.items()
