"""TFRecord framing: round trip, golden bytes, and every kind of damage."""

import io
import re
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.dataset.tfrecord import is_tfrecord, masked_crc32c, read_records, write_record
from yt8m_pipeline.errors import DataError

RECORDS = [b"first", b"", b"the third record"]
payloads = st.lists(st.binary(max_size=40), max_size=6)


def framed(records: Sequence[bytes]) -> bytes:
    stream = io.BytesIO()
    for record in records:
        write_record(stream, record)
    return stream.getvalue()


def read(data: bytes) -> list[bytes]:
    return list(read_records(io.BytesIO(data), "x.tfrecord"))


def test_a_tfrecord_file_is_known_by_the_checksum_of_its_first_length() -> None:
    data = framed(RECORDS)
    damaged = [data[:11], b"", bytes(12), data[:8] + bytes([data[8] ^ 1]) + data[9:]]
    streams = [io.BytesIO(content) for content in (data, data[:12], *damaged)]
    assert [is_tfrecord(stream) for stream in streams] == [True, True, False, False, False, False]
    assert {stream.tell() for stream in streams} == {0}


def boundaries(records: Sequence[bytes]) -> list[int]:
    return [len(framed(records[:count])) for count in range(len(records) + 1)]


@given(payloads)
def test_what_is_written_is_read(records: list[bytes]) -> None:
    assert read(framed(records)) == records


def test_the_checksum_is_crc32c_of_rfc_3720_masked() -> None:
    """RFC 3720 B.4: the CRC-32C of 32 zero bytes is 8a9136aa; the mask is that of TensorFlow's crc32c.h."""
    crc = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == ((crc >> 15) + ((crc << 17) % 2**32) + 0xA282EAD8) % 2**32


def test_the_bytes_are_those_of_tensorflows_record_writer() -> None:
    """Written by tf.io.TFRecordWriter of TensorFlow 2.21."""
    assert framed([b"yt8m"]).hex() == "0400000000000000424552047974386da965c14a"


def test_a_record_is_one_write() -> None:
    class Counter:
        calls = 0

        def write(self, data: bytes, /) -> None:
            assert data
            self.calls += 1

    counter = Counter()
    write_record(counter, b"data")
    assert counter.calls == 1


def test_reading_starts_where_the_stream_stands() -> None:
    stream = io.BytesIO(framed(RECORDS))
    stream.seek(boundaries(RECORDS)[1])
    assert list(read_records(stream, "x")) == RECORDS[1:]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.data())
def test_any_flipped_bit_is_an_error_and_records_before_it_are_right(records: list[bytes], data: st.DataObject) -> None:
    whole = framed(records)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    before = sum(boundary <= bit // 8 for boundary in boundaries(records)) - 1
    yielded: list[bytes] = []
    with pytest.raises(DataError, match=f"x.tfrecord, record {before}, byte {boundaries(records)[before]}"):
        yielded.extend(read_records(io.BytesIO(damaged), "x.tfrecord"))
    assert yielded == records[:before]


def test_every_truncation_is_an_error_unless_it_falls_between_two_records() -> None:
    whole = framed(RECORDS)
    for size in range(len(whole)):
        if size in boundaries(RECORDS):
            assert read(whole[:size]) == RECORDS[: boundaries(RECORDS).index(size)]
        else:
            with pytest.raises(DataError, match="the file ends too early"):
                read(whole[:size])


@pytest.mark.parametrize(("position", "part"), [(0, "length"), (8, "length"), (12, "data"), (17, "data")])
def test_the_error_names_file_record_offset_part_and_what_to_do(position: int, part: str) -> None:
    """Byte 0 is of the length, 8 of its checksum, 12 of the data "first", 17 of its checksum."""
    start = boundaries(RECORDS)[2]
    damaged = bytearray(framed([*RECORDS[:2], b"first"]))
    damaged[start + position] ^= 0x10
    text = (
        "A TFRecord file is truncated or damaged\n"
        f"  where: x.tfrecord, record 2, byte {start}, {part}\n"
        "  why:   the checksum does not match\n"
        "  fix:   get the file again or rebuild it; `yt8m verify`"
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read(bytes(damaged))


@pytest.mark.parametrize("claimed", [2**40, 2**63, 2**64 - 1])
def test_a_length_beyond_the_file_takes_no_memory(claimed: int) -> None:
    class Bounded(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 <= size <= 100
            return super().read(size)

    length = struct.pack("<Q", claimed)
    data = length + struct.pack("<I", masked_crc32c(length)) + b"short"
    with pytest.raises(DataError, match=f"{claimed + 4} bytes with their checksum, 5 left"):
        list(read_records(Bounded(data), "x"))


def test_a_file_that_shrinks_while_it_is_read_is_an_error() -> None:
    stream = io.BytesIO(framed([b"one", b"two"]))
    records = read_records(stream, "x")
    assert next(records) == b"one"
    stream.truncate(boundaries([b"one"])[1] + 3)
    with pytest.raises(DataError, match="12 bytes with their checksum, 3 left"):
        next(records)
