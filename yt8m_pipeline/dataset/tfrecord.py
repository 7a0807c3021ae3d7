"""TFRecord framing: uint64 length, masked CRC-32C of it, the data, masked CRC-32C of the data; little-endian.

The format is that of TensorFlow's `tensorflow/core/lib/io/record_writer.h`; CRC-32C is RFC 3720, appendix B.4.
"""

import io
import struct
from collections.abc import Iterator
from typing import IO, Protocol

import google_crc32c

from yt8m_pipeline.errors import DataError

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8

FRAMING_BYTES = _LENGTH.size + 2 * _CRC.size
"""What a record takes beside its data."""


class Writable(Protocol):
    """Anything that bytes can be written to: a file, or an object that counts and digests what goes through it."""

    def write(self, data: bytes, /) -> object: ...


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C of the data, rotated right by 15 bits plus a constant, so that it is safe to store with the data."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def write_record(stream: Writable, data: bytes) -> None:
    """Appends one record, in one call of `write`."""
    length = _LENGTH.pack(len(data))
    stream.write(length + _CRC.pack(masked_crc32c(length)) + data + _CRC.pack(masked_crc32c(data)))


def is_tfrecord(stream: IO[bytes]) -> bool:
    """Whether a checked length stands at the start of a seekable stream, as in every TFRecord file with records."""
    stream.seek(0)
    head = stream.read(_LENGTH.size + _CRC.size)
    stream.seek(0)
    return len(head) == _LENGTH.size + _CRC.size and head[_LENGTH.size :] == _CRC.pack(
        masked_crc32c(head[: _LENGTH.size])
    )


def read_records(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """Yields every record from here to the end of a seekable stream, in order.

    A file cut exactly between two records looks whole: compare the number of records with the manifest's.

    Args:
        stream: Where to read. No more memory is taken than the stream has bytes, whatever a length field claims.
        name: What the errors call it.

    Raises:
        DataError: a record is truncated, or one of its two checksums does not match.
    """
    start = stream.tell()
    end = stream.seek(0, io.SEEK_END)
    offset = stream.seek(start)
    record = 0
    while offset < end:
        where = f"{name}, record {record}, byte {offset}"
        (length,) = _LENGTH.unpack(_read_checked(stream, _LENGTH.size, end, f"{where}, length"))
        yield _read_checked(stream, length, end, f"{where}, data")
        record += 1
        offset = stream.tell()


def _read_checked(stream: IO[bytes], size: int, end: int, where: str) -> bytes:
    """The next `size` bytes, which their masked CRC-32C must follow."""
    needed = size + _CRC.size
    block = stream.read(min(needed, end - stream.tell()))
    if len(block) < needed:
        raise _damaged(where, f"the file ends too early: {needed} bytes with their checksum, {len(block)} left")
    data = block[:size]
    if masked_crc32c(data) != _CRC.unpack(block[size:])[0]:
        raise _damaged(where, "the checksum does not match")
    return data


def _damaged(where: str, why: str) -> DataError:
    fix = "get the file again or rebuild it; `yt8m verify` lists every damaged file of a dataset"
    return DataError(what="A TFRecord file is truncated or damaged", where=where, why=why, fix=fix)
