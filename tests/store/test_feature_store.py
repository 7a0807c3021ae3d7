import hashlib
import io
import itertools
import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import MediaFile, StoredEntry
from yt8m_pipeline.decoding.damage import conditions
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.files import FileState
from yt8m_pipeline.store.failures import Source, open_failure
from yt8m_pipeline.store.feature_store import (
    INDEX,
    SHELVES,
    Damaged,
    FeatureStore,
    feature_space,
    largest_deviation_seconds,
    open_store,
    place,
)
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.store.index import IndexedFile, read_index, write_index
from yt8m_pipeline.store.stored_file import SEAL_BYTES, DamagedFile, Header, open_stored

HOSTILE_IDS = (
    "",
    ".",
    "..",
    "/",
    "../../etc/passwd",
    "a/b",
    "a\\b",
    "C:",
    "nul",
    "\0",
    "naïve 视频",
    "x" * 5000,
    "-",
    "%2F",
)
ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=150) | st.sampled_from(HOSTILE_IDS)


def finite(dtype: type[np.floating[Any]]) -> st.SearchStrategy[npt.NDArray[np.floating[Any]]]:
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)
    elements = hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    return hnp.arrays(dtype, shapes, elements=elements)


def video(video_id: str = "dog", frames: int = 3, dimensions: int = 4) -> VideoFeatures:
    features = np.linspace(-7, 5, frames * dimensions, dtype=np.float32).reshape(frames, dimensions)
    return VideoFeatures(video_id, features, np.arange(frames) / 3)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(str(tmp_path), "0123456789abcdef")


SOURCE = Source("video.mp4", 12345, "2016-09-28T00:00:00Z")


def write(store: FeatureStore, features: VideoFeatures) -> Path:
    store.write(features, SOURCE, 0.75, Fraction(3))
    return Path(store.path(features.video_id))


def look(store: FeatureStore, video_id: str = "dog") -> StoredEntry | Damaged | None:
    """What the store has of a video, by reading all of it."""
    found = store.shelf(place(video_id)[0], verify=True).find(video_id)
    return found.entry if isinstance(found, IndexedFile) else found


def temporary_store(factory: pytest.TempPathFactory) -> FeatureStore:
    return FeatureStore(str(factory.mktemp("store")), "0123456789abcdef")


@settings(max_examples=60)
@given(video_id=ids, features=finite(np.float32) | finite(np.float16))
def test_what_is_written_is_read_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, video_id: str, features: npt.NDArray[np.floating[Any]]
) -> None:
    store = temporary_store(tmp_path_factory)
    written, rate = VideoFeatures(video_id, features, np.arange(len(features)) / 7), Fraction(7)
    entry = store.write(written, SOURCE, 1.0, rate).entry
    read = store.read(video_id)
    assert (read.video_id, read.features.dtype) == (video_id, features.dtype)
    assert read.features.tobytes() == features.tobytes()
    assert read.pts_seconds.tobytes() == written.pts_seconds.tobytes()
    assert look(store, video_id) == entry
    assert len(entry.sha256) == 64
    assert entry == StoredEntry(len(features), float(np.abs(features).max()), entry.sha256, 1.0, 0.0)


def test_the_digest_changes_with_the_numbers_and_with_nothing_else(tmp_path: Path) -> None:
    sound = video()
    one, two = FeatureStore(str(tmp_path), "1"), FeatureStore(str(tmp_path), "2")
    digest = one.write(sound, SOURCE, 1.0, Fraction(3)).entry.sha256
    moved = Source("moved/video.mp4", 2, "touched")
    assert two.write(replace(sound, video_id="cat"), moved, 0.5, Fraction(1)).entry.sha256 == digest
    changes = [
        replace(sound, features=np.nextafter(sound.features, np.float32(9))),
        replace(sound, features=sound.features.astype(np.float16)),
        replace(sound, features=sound.features.reshape(3, 2, 2).swapaxes(1, 2).reshape(3, 4)),
        replace(sound, pts_seconds=sound.pts_seconds + 1e-9),
    ]
    digests = {one.write(change, SOURCE, 1.0, Fraction(3)).entry.sha256 for change in changes}
    assert len(digests) == len(changes)
    assert digest not in digests


def test_the_header_tells_where_the_video_came_from(store: FeatureStore) -> None:
    stored = open_stored(str(write(store, video())))
    source = ("video.mp4", 12345, "2016-09-28T00:00:00Z")
    assert stored.header == Header("dog", store.space, *source, stored.entry.sha256, 0.75, 0.0)


@given(
    st.lists(st.fractions(0, 400, max_denominator=90_000), min_size=1, max_size=9),
    st.sampled_from([Fraction(1), Fraction(2), Fraction(1, 3), Fraction("2.5")]),
)
def test_the_deviation_is_the_largest_distance_from_the_grid(pts: list[Fraction], rate: Fraction) -> None:
    exact = max(abs(time - k / rate) for k, time in enumerate(pts))
    found = largest_deviation_seconds(np.array([float(time) for time in pts]), rate)
    assert found == pytest.approx(float(exact), abs=1e-9)


def test_what_is_kept_of_a_damaged_and_uneven_video_comes_back(store: FeatureStore) -> None:
    uneven = replace(video(), pts_seconds=np.array([0.0, 0.25, 2.0]))
    entry = store.write(uneven, SOURCE, 0.75, Fraction(1)).entry
    assert (entry.decoded_fraction, entry.deviation_seconds) == (0.75, 0.75)
    assert look(store) == entry


@pytest.mark.parametrize("transfer", ["", "PQ", "HLG"])
def test_a_high_dynamic_range_is_kept_and_changes_the_bytes_of_no_other_video(
    store: FeatureStore, transfer: str
) -> None:
    entry = store.write(video(), SOURCE, 1.0, Fraction(3), transfer).entry
    assert look(store) == shelved(store) == entry
    assert entry.transfer == transfer
    with np.load(store.path("dog")) as arrays:
        assert json.loads(arrays["header"].tobytes()).get("transfer", "") == transfer
        assert ("transfer" in json.loads(arrays["header"].tobytes())) == bool(transfer)
    values = json.loads(index_of(store).read_bytes().splitlines()[1])[-1]
    assert len(values) == (6 if transfer else 5)
    assert shelved(store) == entry


def test_what_its_file_is_is_kept_and_changes_the_bytes_of_no_video_of_which_nothing_is_known(
    store: FeatureStore,
) -> None:
    media = MediaFile("avi", "mjpeg", 700, 64, 48, None, 125, 5)
    entry = store.write(video(), SOURCE, 1.0, Fraction(3), media=media).entry
    assert look(store) == shelved(store) == entry
    assert entry.media == media
    assert shelved(store) == entry  # by the index
    with np.load(store.path("dog")) as arrays:
        assert json.loads(arrays["header"].tobytes())["media"] == asdict(media)
    store.write(video(), SOURCE, 1.0, Fraction(3))
    with np.load(store.path("dog")) as arrays:
        assert "media" not in json.loads(arrays["header"].tobytes())
    assert shelved(store) == replace(entry, media=None)


def test_numpy_alone_opens_a_stored_file(store: FeatureStore) -> None:
    with np.load(write(store, video()), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["features"], video().features)
        np.testing.assert_array_equal(arrays["pts_seconds"], video().pts_seconds)
        assert json.loads(arrays["header"].tobytes())["video_id"] == "dog"


def test_the_same_video_makes_the_same_bytes_whatever_its_memory_layout(tmp_path: Path) -> None:
    one, two = FeatureStore(str(tmp_path / "1"), "s"), FeatureStore(str(tmp_path / "2"), "s")
    times = np.repeat(video().pts_seconds.astype(np.longdouble), 2)[::2]
    other = replace(video(), features=np.asfortranarray(video().features), pts_seconds=times)  # type: ignore[arg-type]
    assert write(one, video()).read_bytes() == write(two, other).read_bytes()


def test_no_clock_stands_in_a_file(store: FeatureStore) -> None:
    with zipfile.ZipFile(write(store, video())) as archive:
        assert {item.date_time for item in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {item.compress_type for item in archive.infolist()} == {zipfile.ZIP_STORED}


def test_every_changed_byte_is_found(store: FeatureStore) -> None:
    path = write(store, video(frames=1, dimensions=2))
    sound = path.read_bytes()
    for position in range(len(sound)):
        for mask in (0x01, 0x20, 0xFF):
            damaged = bytearray(sound)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            assert isinstance(look(store), Damaged), (position, mask)


def test_every_truncation_is_found(store: FeatureStore) -> None:
    path = write(store, video(frames=1, dimensions=2))
    sound = path.read_bytes()
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        assert isinstance(look(store), Damaged), length


@settings(max_examples=200)
@given(data=st.data())
def test_a_file_is_read_right_or_not_at_all(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = temporary_store(tmp_path_factory)
    path = write(store, video())
    sound = path.read_bytes()
    start = data.draw(st.integers(0, len(sound)))
    end = data.draw(st.integers(start, len(sound)))
    path.write_bytes(sound[:start] + data.draw(st.binary(max_size=100)) + sound[end:])
    if path.read_bytes() == sound:
        np.testing.assert_array_equal(store.read("dog").features, video().features)
    else:
        with pytest.raises(DamagedFile, match=r"(?s)A stored file is damaged.*do not match the SHA-256"):
            store.read("dog")


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).hexdigest().encode()


def archive_of(**arrays: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    data = bytearray(buffer.getvalue())
    data[-2:] = (64).to_bytes(2, "little")
    return bytes(data)


FIELDS = (
    b'{"video_id":"v","space":"s","source_uri":"u","source_size":1,"source_modified":"","sha256":"",'
    b'"decoded_fraction":1.0,"deviation_seconds":0.0}'
)
HEADER = np.frombuffer(FIELDS, np.uint8)
TOO_SOUND = np.frombuffer(FIELDS.replace(b"1.0", b"1.5"), np.uint8)
DEEP = np.frombuffer(FIELDS.replace(b'"u"', b"[" * 20_000 + b"]" * 20_000), np.uint8)


def zipped(frames: int, compression: int) -> bytes:
    """An archive whose features say that they are so many times 2²⁰ numbers, of which there are a row of zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.comment = bytes(SEAL_BYTES)
        head = io.BytesIO()
        shape = {"descr": "<f4", "fortran_order": False, "shape": (frames, 1 << 20)}
        np.lib.format.write_array_header_1_0(head, shape)
        archive.writestr("features.npy", head.getvalue() + bytes(4 << 20))
    return buffer.getvalue()[:-SEAL_BYTES]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not an archive",
        b"PK\x03\x04 not one either",
        archive_of(features=np.zeros((1, 2))),
        archive_of(header=np.array([None]), features=np.zeros((1, 2)), pts_seconds=np.zeros(1)),
        archive_of(header=HEADER[:-1], features=np.zeros((1, 2)), pts_seconds=np.zeros(1)),
        archive_of(header=np.frombuffer(b"{}", np.uint8), features=np.zeros((1, 2)), pts_seconds=np.zeros(1)),
        archive_of(header=np.frombuffer(b"[1]", np.uint8), features=np.zeros((1, 2)), pts_seconds=np.zeros(1)),
        archive_of(header=HEADER, features=np.zeros((1, 2)), pts_seconds=np.zeros(3)),
        archive_of(header=HEADER, features=np.zeros((0, 2)), pts_seconds=np.zeros(0)),
        archive_of(header=HEADER, features=np.zeros((1, 0)), pts_seconds=np.zeros(1)),
        archive_of(header=HEADER, features=np.array([[np.nan, 1]]), pts_seconds=np.zeros(1)),
        archive_of(header=TOO_SOUND, features=np.zeros((1, 2)), pts_seconds=np.zeros(1)),
        archive_of(header=DEEP, features=np.zeros((1, 2)), pts_seconds=np.zeros(1)),
        zipped(1_000_000_000_000, zipfile.ZIP_STORED),
        zipped(1, zipfile.ZIP_DEFLATED),
    ],
)
def test_a_sealed_file_of_another_kind_is_damaged(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "file.npz"
    path.write_bytes(sealed(body))
    with pytest.raises(DamagedFile, match=r"(?s)it is sealed but is no feature file: .*the video is extracted anew"):
        open_stored(str(path))


@pytest.mark.parametrize("shape", [(0, 4), (3,), (1, 2, 2)])
def test_features_are_rows_of_at_least_one_frame(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"dog: features are \(frames, dimensions\)"):
        VideoFeatures("dog", np.zeros(shape, np.float32), np.zeros(shape[0]))


@given(first=ids, second=ids)
def test_paths_stay_in_the_folder_and_apart_even_where_case_does_not_count(first: str, second: str) -> None:
    store = FeatureStore("/root", "space")
    folder, name = store.path(first).removeprefix("/root/space/").split("/")
    assert len(folder) == 2
    assert len(name) <= 117
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set('/\\:*?"<>| ')
    assert (store.path(first).casefold() == store.path(second).casefold()) == (first == second)


def test_ids_that_differ_in_case_have_different_files() -> None:
    store = FeatureStore("/root", "space")
    assert store.path("AbC").casefold() != store.path("aBc").casefold()


def test_absent_and_damaged_are_told_apart(store: FeatureStore) -> None:
    assert look(store) is None
    write(store, video()).write_bytes(b"12345")
    assert look(store) == Damaged("its 5 bytes do not match the SHA-256 in their last 64")


def test_reading_an_absent_video_says_so(store: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"(?s)A stored file cannot be read.*dog-.*npz.*No such file"):
        store.read("dog")


@pytest.mark.parametrize("call", [FeatureStore.read, look])
def test_a_file_of_another_feature_space_is_refused(
    tmp_path: Path, call: Callable[[FeatureStore, str], object]
) -> None:
    ours, theirs = FeatureStore(str(tmp_path), "aaaa"), FeatureStore(str(tmp_path), "bbbb")
    foreign = write(theirs, video())
    Path(ours.path("dog")).parent.mkdir(parents=True)
    foreign.rename(ours.path("dog"))
    with pytest.raises(DataError, match=r"(?s)another feature space.*in space bbbb, this is space aaaa"):
        call(ours, "dog")


def test_a_file_under_another_videos_name_is_damaged(store: FeatureStore) -> None:
    Path(store.path("cat")).parent.mkdir(parents=True)
    write(store, video("dog")).rename(store.path("cat"))
    assert look(store, "cat") == Damaged("it holds video 'dog', whose place is another")


def shelved(store: FeatureStore, video_id: str = "dog") -> StoredEntry | Damaged | None:
    """What the store has of a video, by the index where that knows; the index is written."""
    shelf = store.shelf(place(video_id)[0])
    found = shelf.find(video_id)
    shelf.save()
    return found.entry if isinstance(found, IndexedFile) else found


def index_of(store: FeatureStore, video_id: str = "dog") -> Path:
    return Path(store.path(video_id)).parent / INDEX


SAME_SHELF = ("video 17", "video 46", "video 71")


SECONDS = itertools.count(1_000_000_000)


def touch(path: Path, data: bytes) -> None:
    """Writes a file at a time of its own: the clock of a disk may stand still between two writes."""
    path.write_bytes(data)
    os.utime(path, (0, next(SECONDS)))


class TestTheIndex:
    def test_the_videos_of_these_tests_share_a_shelf(self) -> None:
        assert len({place(video_id)[0] for video_id in SAME_SHELF}) == 1
        assert place("dog")[0] in SHELVES

    @settings(max_examples=60)
    @given(st.data())
    def test_whatever_happens_to_a_shelf_it_answers_as_if_every_file_were_read(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        store = temporary_store(tmp_path_factory)
        path = {video_id: Path(store.path(video_id)) for video_id in SAME_SHELF}
        index = index_of(store, SAME_SHELF[0])
        sealed_features = {
            (video_id, frames): write(store, video(video_id, frames)).read_bytes()
            for video_id in SAME_SHELF
            for frames in (1, 2)
        }
        actions: dict[str, Callable[[str], object]] = {
            "store": lambda name: touch(path[name], sealed_features[name, data.draw(st.sampled_from([1, 2]))]),
            "misplace": lambda name: touch(path[name], sealed_features[data.draw(st.sampled_from(SAME_SHELF)), 1]),
            "damage": lambda name: touch(path[name], data.draw(st.binary(max_size=200))),
            "delete": lambda name: path[name].unlink(missing_ok=True),
            "look": lambda name: shelved(store, name),
            "damage the index": lambda _: index.write_bytes(data.draw(st.binary(max_size=200))),
            "lose the index": lambda _: index.unlink(missing_ok=True),
        }
        for action in data.draw(st.lists(st.sampled_from([*actions, "look", "look"]), max_size=12)):
            actions[action](data.draw(st.sampled_from(SAME_SHELF)))
        for video_id in SAME_SHELF:
            assert shelved(store, video_id) == look(store, video_id)

    def test_what_is_indexed_is_not_read_again(self, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
        write(store, video())
        entry = shelved(store)
        monkeypatch.setattr(FeatureStore, "open", None)
        assert shelved(store) == entry

    def test_an_index_that_says_nothing_new_is_not_written(self, store: FeatureStore) -> None:
        write(store, video())
        shelved(store)
        before = index_of(store).stat()
        shelved(store)
        after = index_of(store).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # reading it changes its atime

    def test_of_two_writers_the_last_wins_and_nothing_is_wrong(self, store: FeatureStore) -> None:
        for video_id in SAME_SHELF:
            write(store, video(video_id, frames=len(video_id)))
        shelves = [store.shelf(place(SAME_SHELF[0])[0]) for _ in SAME_SHELF]
        for shelf, video_id in zip(shelves, SAME_SHELF, strict=True):
            shelf.find(video_id)
        for shelf in shelves:
            shelf.save()
        assert list(read_index(str(index_of(store, SAME_SHELF[0])), store.space)) == [place(SAME_SHELF[-1])[1]]
        for video_id in SAME_SHELF:
            assert shelved(store, video_id) == look(store, video_id)

    def test_what_is_gone_leaves_the_index(self, store: FeatureStore) -> None:
        for video_id in SAME_SHELF[:2]:
            write(store, video(video_id))
            shelved(store, video_id)
        Path(store.path(SAME_SHELF[0])).unlink()
        assert shelved(store, SAME_SHELF[0]) is None
        assert list(read_index(str(index_of(store, SAME_SHELF[0])), store.space)) == [place(SAME_SHELF[1])[1]]

    def test_damage_found_by_verifying_leaves_it_too(self, store: FeatureStore) -> None:
        path = write(store, video())
        shelved(store)
        before = path.stat()
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert isinstance(shelved(store), StoredEntry)
        shelf = store.shelf(place("dog")[0], verify=True)
        assert isinstance(shelf.find("dog"), Damaged)
        shelf.save()
        assert isinstance(shelved(store), Damaged)

    def test_every_changed_byte_of_it_is_found(self, store: FeatureStore) -> None:
        write(store, video())
        shelved(store)
        sound = index_of(store).read_bytes()
        known = read_index(str(index_of(store)), store.space)
        assert known
        for position in range(len(sound) - 1):
            damaged = bytearray(sound)
            damaged[position] ^= 0x01
            index_of(store).write_bytes(damaged)
            assert read_index(str(index_of(store)), store.space) == {}, position
            index_of(store).write_bytes(sound[:position])
            assert read_index(str(index_of(store)), store.space) == {}, position

    def test_another_spaces_index_says_nothing(self, tmp_path: Path) -> None:
        known = {"a": IndexedFile(FileState(1, 2), SOURCE, StoredEntry(1, 2.5, "ab", 0.5, 0.25))}
        write_index(str(tmp_path / "index"), "one", known)
        assert read_index(str(tmp_path / "index"), "one") == known
        assert read_index(str(tmp_path / "index"), "two") == {}

    def test_an_index_that_cannot_be_written_costs_only_a_warning(
        self, store: FeatureStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(store, video())
        index_of(store).mkdir()
        assert isinstance(shelved(store), StoredEntry)
        assert "the index of a feature store cannot be written" in caplog.text


REJECTION = VideoRejected(DropReason.TRUNCATED, "it ends at 3 s", 0.25)


def fail(store: FeatureStore, video_id: str) -> Path:
    store.write_failure(video_id, SOURCE, conditions(Decoding()), REJECTION)
    return Path(store.failure_path(video_id))


class TestFailures:
    @settings(max_examples=30)
    @given(video_id=ids, detail=st.text(), decoded_fraction=st.none() | st.floats(0, 1))
    def test_what_is_written_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, video_id: str, detail: str, decoded_fraction: float | None
    ) -> None:
        store = temporary_store(tmp_path_factory)
        rejection = VideoRejected(DropReason.DAMAGED, detail, decoded_fraction)
        store.write_failure(video_id, SOURCE, conditions(Decoding()), rejection)
        failure = store.failure(video_id)
        assert failure
        assert (failure.video_id, failure.space, failure.source) == (video_id, store.space, SOURCE)
        assert failure.rejection.args == rejection.args

    def test_it_stands_beside_where_the_features_would_be(self, store: FeatureStore) -> None:
        path = fail(store, "dog")
        assert str(path) == store.path("dog").replace(".npz", ".failed.json")
        assert json.loads(path.read_text())["detail"] == "it ends at 3 s"
        assert look(store) is None
        assert store.failure("cat") is None

    def test_the_last_one_wins(self, store: FeatureStore) -> None:
        fail(store, "dog")
        store.write_failure("dog", SOURCE, conditions(Decoding()), VideoRejected(DropReason.IO_ERROR, "no answer"))
        failure = store.failure("dog")
        assert failure
        assert failure.reason is DropReason.IO_ERROR

    def test_features_take_its_place(self, store: FeatureStore) -> None:
        path = fail(store, "dog")
        write(store, video())
        assert not path.exists()

    def test_features_that_are_not_finite_do_not(self, store: FeatureStore) -> None:
        fail(store, "dog")
        with pytest.raises(VideoRejected):
            write(store, replace(video(), features=np.full((3, 4), np.nan, np.float32)))
        assert store.failure("dog")

    def test_it_leaves_the_stored_features_as_they_are(self, store: FeatureStore) -> None:
        path = write(store, video())
        fail(store, "dog")
        assert path.exists()
        assert isinstance(look(store), StoredEntry)

    def test_another_videos_and_another_spaces_are_none(self, store: FeatureStore, tmp_path: Path) -> None:
        path = fail(store, "dog")
        for other, video_id in ((store, "cat"), (FeatureStore(str(tmp_path), "other"), "dog")):
            copy = Path(other.failure_path(video_id))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            assert other.failure(video_id) is None

    @pytest.mark.parametrize("data", [b"", b"[]", b"7", b'"text"', b"{}", b"null", b"\xff", sealed(b"{}")])
    def test_what_is_none_of_ours_is_damaged(self, store: FeatureStore, data: bytes) -> None:
        path = fail(store, "dog")
        path.write_bytes(data)
        assert store.failure("dog") is None
        with pytest.raises(DamagedFile, match="it is no record of a failure"):
            open_failure(str(path))


@pytest.mark.parametrize(
    "features",
    [
        np.array([[1, np.nan]], np.float32),
        np.array([[-np.inf, 1]], np.float32),
        np.array([[1, np.inf]], np.float16),
    ],
)
def test_features_that_are_not_finite_reject_the_video(
    store: FeatureStore, features: npt.NDArray[np.floating[Any]]
) -> None:
    with pytest.raises(VideoRejected, match="the largest absolute feature is") as rejection:
        write(store, VideoFeatures("dog", features, np.zeros(1)))
    assert rejection.value.reason is DropReason.NON_FINITE_FEATURES
    assert look(store) is None


@contextmanager
def tiny_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False).returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_an_error_that_leaves_no_half_file_and_no_lost_one(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        store = FeatureStore(str(disk), "space")
        small, large = video(), video("dog", frames=64, dimensions=2048)
        sound = write(store, small).read_bytes()
        with pytest.raises(DataError, match=r"(?s)A file cannot be written.*dog-.*No space left.*free space"):
            write(store, large)
        assert [path.read_bytes() for path in disk.rglob("*") if path.is_file()] == [sound]
        np.testing.assert_array_equal(store.read("dog").features, small.features)


def test_a_read_only_disk_can_be_read_and_not_written(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        store = FeatureStore(str(disk), "space")
        write(store, video())
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert isinstance(shelved(store), StoredEntry)
        with pytest.raises(DataError, match=r"(?s)A file cannot be written.*cat-.*Read-only.*check the permissions"):
            write(store, video("cat"))
        with pytest.raises(DataError, match=r"(?s)A file cannot be written.*space.json.*Read-only"):
            open_store(str(disk), DESCRIPTION)


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="A file cannot be written"):
        write(FeatureStore(str(tmp_path / "file"), "space"), video())


DESCRIPTION = {"model": {"source": "random", "seed": 1}, "frames_per_second": "1", "dtype": "float32"}


def test_a_feature_space_is_a_stable_fingerprint_of_its_description() -> None:
    canonical = b'{"dtype":"float32","frames_per_second":"1","model":{"seed":1,"source":"random"}}'
    assert feature_space(DESCRIPTION) == hashlib.sha256(canonical).hexdigest()[:16]
    assert feature_space(dict(reversed(DESCRIPTION.items()))) == feature_space(DESCRIPTION)


@pytest.mark.parametrize("change", [{"dtype": "float16"}, {"model": {"source": "random", "seed": 2}}, {"new": None}])
def test_any_change_of_the_description_is_another_space(change: dict[str, Any]) -> None:
    assert feature_space(DESCRIPTION | change) != feature_space(DESCRIPTION)


def test_a_store_keeps_its_description_written_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), DESCRIPTION)
    path = tmp_path / feature_space(DESCRIPTION) / "space.json"
    assert json.loads(path.read_text()) == {"format": 1, **DESCRIPTION}
    written = path.stat()
    assert open_store(str(tmp_path), dict(reversed(DESCRIPTION.items()))) == store
    assert path.stat() == written


def test_a_folder_that_describes_another_space_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), DESCRIPTION)
    Path(store.folder, "space.json").write_text('{"model": "theirs"}\n')
    with pytest.raises(DataError, match=r'(?s)does not fit its name.*"theirs".*but space.*"seed": 1'):
        open_store(str(tmp_path), DESCRIPTION)


def test_the_seal_is_as_long_as_the_archive_comment_says(store: FeatureStore) -> None:
    data = write(store, video()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.comment == data[-SEAL_BYTES:]
        assert archive.testzip() is None
