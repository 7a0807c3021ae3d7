"""Objects in a bucket whose server fails in every way that servers and networks do."""

import io
import random
import time
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faulty_bucket import BUCKET, FAULTS, FaultyBucket
from yt8m_pipeline import buckets, files

ROOT = f"gs://{BUCKET}"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines for tests, which cannot wait."""
    monkeypatch.setattr(buckets, "DEADLINE_SECONDS", 2.0)
    monkeypatch.setattr(buckets, "SLOWEST_BYTES_PER_SECOND", 1 << 30)
    monkeypatch.setattr(buckets, "SILENCE_SECONDS", 0.5)


def test_files_are_written_read_listed_and_deleted(bucket: FaultyBucket) -> None:
    names = [f"a/b{number}.txt" for number in range(20)] + ["a/c/d é?#.txt", "e"]
    for name in names:
        files.write_bytes(f"{ROOT}/x/{name}", name.encode())
    assert files.list_files(f"{ROOT}/x") == sorted(names)
    assert files.list_folders(f"{ROOT}/x") == ["a"]
    assert set(files.list_states(f"{ROOT}/x/a")) == {f"b{number}.txt" for number in range(20)}
    assert files.list_states(f"{ROOT}/x")["e"] == files.state(f"{ROOT}/x/e")
    assert all(files.read_bytes(f"{ROOT}/x/{name}") == name.encode() for name in names)
    files.delete(f"{ROOT}/x/e")
    files.delete(f"{ROOT}/x/e")
    assert not files.exists(f"{ROOT}/x/e")
    files.delete_folder(f"{ROOT}/x")
    assert (files.list_files(f"{ROOT}/x"), bucket.names()) == ([], set())


def test_a_file_takes_one_request_to_put_and_one_to_read(bucket: FaultyBucket) -> None:
    files.write_bytes(f"{ROOT}/one", bytes(1 << 20))
    assert len(files.read_bytes(f"{ROOT}/one")) == 1 << 20
    assert bucket.asked == [("put", "one"), ("get", "one")]
    bucket.asked.clear()
    with files.open_read(f"{ROOT}/one") as stream:
        stream.read(1)
        assert stream.seek(0, io.SEEK_END) == 1 << 20
        stream.seek(0)
        assert len(stream.read()) == 1 << 20
    assert bucket.asked == [("get", "one")]


def test_what_is_written_half_way_is_not_there(bucket: FaultyBucket) -> None:
    with pytest.raises(RuntimeError), files.open_atomic(f"{ROOT}/half") as stream:
        stream.write(b"half")
        raise RuntimeError
    assert (bucket.asked, bucket.names()) == ([], set())


@pytest.mark.parametrize("size", [0, 1, (16 << 20) - 1, 16 << 20, (20 << 20) + 3])
def test_long_files_are_put_and_read_in_parts(bucket: FaultyBucket, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PART_BYTES", 3 << 20)
    data = random.Random(size).randbytes(size)
    with files.open_atomic(f"{ROOT}/long") as stream:
        stream.write(data[: size // 2])
        stream.write(data[size // 2 :])
    with files.open_read(f"{ROOT}/long") as stream:
        assert b"".join(iter(lambda: stream.read(999_983), b"")) == data
        for position in (size // 2, size - 10, 5):
            stream.seek(max(position, 0))
            assert stream.read(100) == data[max(position, 0) :][:100]
    assert {kind for kind, _ in bucket.asked} <= {"put", "get", "look"}


@pytest.mark.usefixtures("bucket")
def test_a_parquet_file_is_read_in_place() -> None:
    table = pa.table({"x": list(range(1000))})
    with files.open_atomic(f"{ROOT}/t.parquet") as stream:
        pq.write_table(table, stream)
    with files.open_read(f"{ROOT}/t.parquet") as stream:
        assert pq.read_table(stream) == table


@pytest.mark.usefixtures("bucket")
def test_the_bytes_of_two_versions_are_never_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "BLOCK_BYTES", 1 << 16)
    files.write_bytes(f"{ROOT}/film", b"a" * (1 << 18))
    with files.open_read(f"{ROOT}/film") as stream:
        assert stream.read(10) == b"a" * 10
        files.write_bytes(f"{ROOT}/film", b"b" * (1 << 18))
        with pytest.raises(OSError, match="it has another version"):
            stream.read(1 << 17)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_is_not_seen(bucket: FaultyBucket, fault: str) -> None:
    bucket.always, bucket.period = fault, 1 if fault == "slow" else 2
    files.delete(f"{ROOT}/none")
    files.write_bytes(f"{ROOT}/f", b"bytes")
    assert files.read_bytes(f"{ROOT}/f") == b"bytes"
    assert files.file_size(f"{ROOT}/f") == 5
    assert files.list_files(ROOT) == ["f"]
    assert buckets.put_if(f"{ROOT}/lock", b"ours", 0)
    assert buckets.put_if(f"{ROOT}/lock", b"theirs", 0) is None
    files.delete(f"{ROOT}/f")
    assert bucket.names() == {"lock"}
    assert {kind for kind, _ in bucket.met} == {"delete", "get", "list", "look", "put"}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_is_told_by_the_deadline(bucket: FaultyBucket, fault: str) -> None:
    files.write_bytes(f"{ROOT}/f", bytes(1000))
    bucket.always, bucket.stall_seconds = fault, 60.0
    before = time.monotonic()
    with pytest.raises(buckets.BucketError, match="no answer within 2 s") as refused:
        files.read_bytes(f"{ROOT}/f")
    assert time.monotonic() - before < 4
    assert refused.value.what == "A bucket does not answer"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_told_at_once_and_to_whom(bucket: FaultyBucket, status: int) -> None:
    bucket.always = str(status)
    asks = (files.read_bytes, files.exists, files.list_files, files.delete, partial(files.write_bytes, data=b""))
    for ask in asks:
        with pytest.raises(buckets.BucketError, match="as anonymous: ") as refused:
            ask(f"{ROOT}/f")
        assert refused.value.what == "A bucket refuses a request"
    assert len(bucket.asked) == 5


@pytest.mark.usefixtures("bucket")
def test_a_missing_file_is_told_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        files.read_bytes(f"{ROOT}/f")
    with pytest.raises(FileNotFoundError), files.open_read(f"{ROOT}/f") as stream:
        stream.read(1)
    assert files.list_files(f"{ROOT}/none") == []
    assert files.describe(f"{ROOT}/f") == (0, "")
    with pytest.raises(buckets.BucketError, match="nobody is unknown"):
        files.write_bytes("gs://nobody/f", b"")


def test_a_time_limit_ends_what_is_in_it(bucket: FaultyBucket) -> None:
    files.write_bytes(f"{ROOT}/f", b"bytes")
    bucket.always, bucket.stall_seconds = "slow", 60.0
    before = time.monotonic()
    with files.time_limit(0.5), pytest.raises(OSError, match="no answer"):
        files.exists(f"{ROOT}/f")
    assert time.monotonic() - before < 2


@pytest.mark.parametrize(
    "uri", ["gs://", "gs://a", "gs://me@bucket/x", "gs://bucket:80/x", "gs://Bucket/x", "gs://b?c=d/x"]
)
def test_a_uri_names_a_bucket_and_nothing_else(uri: str) -> None:
    with pytest.raises(files.UnknownPlace):
        files.read_bytes(uri)
