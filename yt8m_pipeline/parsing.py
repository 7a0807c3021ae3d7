"""Parsing of bytes that others may have written: JSON, NumPy's files and Parquet, with memory and depth bounded.

A seal or a digest in a file tells accidents and no author: whoever writes the file writes those too. Nothing here
unpickles, and every failure is a ValueError.

>>> parse_json(b'{"format": 1}')
{'format': 1}
>>> parse_json(b"[" * 100 + b"]" * 100)
Traceback (most recent call last):
ValueError: it is nested more than 32 levels deep
"""

import io
import json
import math
import tokenize
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Array: TypeAlias = npt.NDArray[Any]

MAX_DEPTH = 32
"""JSON may be nested this deep. Our own files have at most seven levels, and Python's recursion, which copying, showing
and writing of a value take, ends at 1,000."""

DAMAGE = (
    EOFError,
    LookupError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""The exceptions beside ValueError that NumPy, zipfile and zlib raise on bytes that are none of theirs."""


MAX_JSON_BYTES = 1 << 28
"""JSON has at most this many bytes, or characters; ActivityNet's annotations have 40 MB."""

MAX_JSON_ITEMS = 5_000_000
"""The most objects and arrays of JSON. As values of Python each takes 60 to 230 bytes, and in the text two."""


def parse_json(data: bytes | str) -> Any:
    """Parses JSON.

    Raises:
        ValueError: if it is no JSON, is nested more than MAX_DEPTH deep, has more than MAX_JSON_BYTES or more than
            MAX_JSON_ITEMS objects and arrays, or has an integer of more than 4,300 digits.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"it has more than {MAX_JSON_BYTES:,} bytes")
    if len(data) > 2 * MAX_JSON_ITEMS and _openings(data) > MAX_JSON_ITEMS:
        raise ValueError(f"it has more than {MAX_JSON_ITEMS:,} objects and arrays")
    try:
        value = json.loads(data)
    except RecursionError:
        raise _too_deep() from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for outer in level if isinstance(outer, dict | list) for item in _items(outer)]
        if not level:
            return value
    raise _too_deep()


def _openings(data: bytes | str) -> int:
    """How many brackets open in a text."""
    return data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")


def _items(outer: dict[str, Any] | list[Any]) -> list[Any]:
    """The objects and lists in an object or a list."""
    items = outer.values() if isinstance(outer, dict) else outer
    return [item for item in items if isinstance(item, dict | list)]


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


MAX_PARQUET_ITEMS = 8_192
"""A Parquet file has at most this many columns, those inside others counted too, and as many row groups. Arrow follows
columns inside columns by recursion: from 13,000 levels on, 8 MiB of stack do not suffice, and the process ends."""


def parquet_file(stream: IO[bytes], **options: Any) -> "pq.ParquetFile":
    """Opens a Parquet file; the options are those of pyarrow.

    Raises:
        pyarrow.ArrowException: if it is none.
        OSError: if it is damaged, or has more than MAX_PARQUET_ITEMS of anything.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  which takes a tenth of a second, and JSON does not need it

    try:
        return pq.ParquetFile(stream, thrift_container_size_limit=MAX_PARQUET_ITEMS, **options)
    except OSError as error:
        if "Exceeded size limit" in str(error):
            raise OSError(f"it has more than {MAX_PARQUET_ITEMS:,} columns or row groups") from None
        raise


def parse_npz(data: bytes) -> dict[str, Array]:
    """Parses the arrays of an .npz file by name. They are views and cannot be written to.

    No file of ours is compressed. So its arrays have no more bytes than the file, and one that unpacks to more is
    refused before it is unpacked: 18 MB of zeros, compressed, are 4 GiB and more.

    Raises:
        ValueError: if it is no such file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > len(data):
                raise ValueError(f"its {len(data):,} bytes would unpack to {unpacked:,}")
            return {member.filename.removesuffix(".npy"): parse_npy(archive.read(member)) for member in members}
    except DAMAGE as error:
        raise ValueError(f"it is no .npz file: {error}") from None


def parse_npy(data: bytes) -> Array:
    """Parses the array of an .npy file, which is a view and cannot be written to.

    Raises:
        ValueError: if it is no such file, holds Python objects, or has not exactly the bytes that its shape needs.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, is_fortran, dtype = _HEADERS[version](stream)
    except DAMAGE as error:
        raise ValueError(f"it is no .npy file: {error}") from None
    needed, given = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if dtype.hasobject:
        raise ValueError("its array holds Python objects, which only pickle reads")
    if needed != given:
        raise ValueError(f"an array of {dtype} {shape} does not have {given:,} bytes")
    values = np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if is_fortran else "C")
    return values.copy("K")  # which may be written to, as what NumPy loads


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
