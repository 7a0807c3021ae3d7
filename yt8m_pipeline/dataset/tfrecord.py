"""TFRecord files: how records are framed.

A file is a sequence of records and nothing else. A record is the length of its data (uint64), the masked CRC-32C of
these eight bytes (uint32), the data, and the masked CRC-32C of the data (uint32); all numbers are little-endian. The
format is TensorFlow's (`tensorflow/core/lib/io/record_writer.h`); CRC-32C is defined in RFC 3720, appendix B.4.
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
"""The constant of TensorFlow's mask (`tensorflow/core/lib/hash/crc32c.h`, `kMaskDelta`)."""

FRAMING_BYTES = _LENGTH.size + 2 * _CRC.size
"""The number of bytes that a record takes beside its data: its length and two checksums."""


class Writable(Protocol):
    """Anything that bytes can be written to: a file, or an object that counts and digests them on their way."""

    def write(self, data: bytes, /) -> object: ...


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C of the data, rotated right by 15 bits, plus a constant, modulo 2**32.

    The mask is there because the CRC of bytes that contain their own CRC tells little (crc32c.h, `Mask`).
    """
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def write_record(stream: Writable, data: bytes) -> None:
    """Appends one record, in one call of `write`."""
    length = _LENGTH.pack(len(data))
    stream.write(length + _CRC.pack(masked_crc32c(length)) + data + _CRC.pack(masked_crc32c(data)))


def is_tfrecord(stream: IO[bytes]) -> bool:
    """Whether a stream begins with a length and its right checksum, as every TFRecord file with records does.

    The stream must be seekable; it stands at its start afterwards.
    """
    stream.seek(0)
    head = stream.read(_LENGTH.size + _CRC.size)
    stream.seek(0)
    return len(head) == _LENGTH.size + _CRC.size and head[_LENGTH.size :] == _CRC.pack(
        masked_crc32c(head[: _LENGTH.size])
    )


def read_records(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """Yields every record from here to the end of a seekable stream, in order.

    A file that was cut exactly between two records looks whole: compare the number of records with the manifest's.

    Args:
        stream: The stream. However large a length claims to be, no more is read than the stream has.
        name: The name of the stream in the errors.

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


def read_record_at(stream: IO[bytes], offset: int, size: int, name: str) -> bytes:
    """Reads one record whose place is known.

    Args:
        stream: A seekable stream.
        offset: The byte at which the record begins.
        size: The length of the whole record, framing included.
        name: The name of the stream in the errors.

    Raises:
        DataError: no record of this length stands there, or a checksum does not match.
    """
    if 0 <= offset <= offset + size <= stream.seek(0, io.SEEK_END):
        stream.seek(offset)
        block = io.BytesIO(stream.read(size))
        for data in read_records(block, f"{name}, from byte {offset}"):
            if len(data) + FRAMING_BYTES == size:
                return data
    raise _damaged(f"{name}, byte {offset}", f"no record of {size} bytes stands there")


def _read_checked(stream: IO[bytes], size: int, end: int, where: str) -> bytes:
    """Reads the next `size` bytes and compares them with the masked CRC-32C that follows."""
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
