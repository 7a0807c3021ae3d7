"""What the feature store has of a video decides what becomes of it, and not how it came there."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from tests.decoding.clips import encode
from yt8m_pipeline import files
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import reject_video
from yt8m_pipeline.accounting.reasons import DropReason, Retry, Stage, VideoRejected
from yt8m_pipeline.config import Decoding, Inception, RandomModel
from yt8m_pipeline.data_model import Float32Array, Partition, StoredEntry, StoredVideo, UInt8Array, Video
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore, place
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.store.index import IndexedFile
from yt8m_pipeline.transforms import extraction
from yt8m_pipeline.transforms.extraction import (
    WRITTEN,
    DecodedFrames,
    DecodeFrames,
    Ending,
    ExtractPool3,
    FeatureBatch,
    _Decode,
    _Store,
    frame_batches,
    remember,
)
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS
from yt8m_pipeline.transforms.lookup import CHANGED, LACKING, LookUp, changed_warning

STRICT, LENIENT = Decoding(min_decoded_fraction=0.6), Decoding(min_decoded_fraction=0.4)
CUT = VideoRejected(DropReason.TRUNCATED, "it ends at 3 s", 0.25)
SLOW = VideoRejected(DropReason.DECODE_TIMEOUT, "the decoder took too long and was killed")
HALF = VideoRejected(
    DropReason.TOO_DAMAGED, "0.5 of its grid times have a sound frame, min_decoded_fraction asks for 0.6", 0.5
)
VIDEO = Video("dog", "film.mp4", Partition.TRAIN, ("/m/a",))
PASSED = [StageCount(Stage.DECODE, "videos", 1), StageCount(Stage.EXTRACT, "videos", 1)]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(str(tmp_path / "store"), "space")


@pytest.fixture
def film(tmp_path: Path) -> Video:
    (tmp_path / "four_seconds.mp4").write_bytes(encode(range(0, 4000, 100)))
    return Video("film", str(tmp_path / "four_seconds.mp4"), Partition.TRAIN, ("/m/a",))


@pytest.fixture
def video(tmp_path: Path) -> Video:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"a film")
    return Video("dog", str(path), Partition.TRAIN, ("/m/a",))


Outputs: TypeAlias = dict[str, list[Any]]


def outputs(function: beam.DoFn, elements: Sequence[Any]) -> Outputs:
    """What a stage's function answers to one bundle, without an engine."""
    found: Outputs = {}
    function.start_bundle()
    for answer in (answer for element in elements for answer in function.process(element)):
        tag, value = (answer.tag, answer.value) if isinstance(answer, beam.pvalue.TaggedOutput) else (KEPT, answer)
        found.setdefault(tag, []).append(value)
    function.finish_bundle()
    return found


def look_up(
    store: FeatureStore, video: Video, decoding: Decoding, retry: Retry, *, refresh: bool = False, verify: bool = False
) -> Outputs:
    """What a stage answers; the index that the last one wrote is used."""
    look_up = LookUp(store, decoding, retry, refresh=refresh, verify=verify)
    return outputs(look_up, [(place(video.video_id)[0], [video])])


def rot(path: Path) -> None:
    """Changes one bit of a file, and neither its size nor its modification time."""
    data, before = bytearray(path.read_bytes()), path.stat()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def stored_entry(store: FeatureStore) -> StoredEntry:
    """What the store has of the video, read anew."""
    file = store.shelf(place("dog")[0], verify=True).find("dog")
    assert isinstance(file, IndexedFile)
    return file.entry


def put(store: FeatureStore, batches: Sequence[FeatureBatch], decoding: Decoding, dtype: str = "float32") -> Outputs:
    """What a stage answers; what it says for the index is kept."""
    found = outputs(_Store(store, decoding, dtype), batches)
    for shelf, file in found.pop(WRITTEN, []):
        remember((shelf, [file]), store)
    return found


def reject(video: Video, rejection: VideoRejected, stage: Stage = Stage.DECODE) -> Outputs:
    """The outputs for a rejected video."""
    count = StageCount(stage, "videos", 0, ((rejection.reason.value, 1),))
    row = reject_video(stage, video.video_id, video.uri, rejection)
    return {REJECTS: [row], COUNTS: [*PASSED[: stage == Stage.EXTRACT], count]}


def features(value: float = 1.0) -> VideoFeatures:
    return VideoFeatures("dog", np.full((2, 3), value, np.float32), np.array([0.0, 0.75]))


def batches(video: Video, result: float | VideoRejected, value: float = 1.0) -> list[FeatureBatch]:
    """What the network hands on: a batch for each frame, then the ending."""
    whole = features(value)
    frames = [
        FeatureBatch(video, row[None], pts[None], None)
        for row, pts in zip(whole.features, whole.pts_seconds, strict=True)
    ]
    return [
        *frames,
        FeatureBatch(video, np.empty((0, 0), np.float32), np.empty(0), Ending(Source.of(video.uri), result)),
    ]


def keep(video: Video, entry: StoredEntry) -> Outputs:
    """The outputs for a video with features."""
    return {KEPT: [StoredVideo(video, entry)], COUNTS: PASSED}


class TestFreshAndStored:
    def test_a_sound_video_is_kept(self, store: FeatureStore, video: Video) -> None:
        fresh = put(store, batches(video, 1.0), STRICT)
        entry = stored_entry(store)
        assert (entry.decoded_fraction, entry.deviation_seconds) == (1.0, 0.25)
        assert fresh == look_up(store, video, STRICT, Retry.ALL) == keep(video, entry)

    def test_a_damaged_one_is_kept_or_rejected_by_the_config_of_the_day(
        self, store: FeatureStore, video: Video
    ) -> None:
        fresh = {config: put(store, batches(video, 0.5), config) for config in (STRICT, LENIENT)}
        entry = stored_entry(store)
        assert fresh[STRICT] == look_up(store, video, STRICT, Retry.ALL) == reject(video, HALF)
        assert fresh[LENIENT] == look_up(store, video, LENIENT, Retry.ALL) == keep(video, entry)

    @pytest.mark.parametrize("retry", [Retry.NONE, Retry.TRANSIENT])
    def test_one_that_failed_for_good_is_rejected_again_with_the_same_row(
        self, store: FeatureStore, video: Video, retry: Retry
    ) -> None:
        assert put(store, batches(video, CUT), STRICT) == reject(video, CUT)
        assert look_up(store, video, LENIENT, retry) == reject(video, CUT)

    @pytest.mark.filterwarnings("ignore:overflow encountered")
    def test_features_that_are_not_finite_fail_for_good(self, store: FeatureStore, video: Video) -> None:
        rejection = VideoRejected(DropReason.NON_FINITE_FEATURES, "frame 0 has NaN or Inf features", 1.0)
        assert put(store, batches(video, 1.0, value=1e30), STRICT, "float16") == reject(video, rejection, Stage.EXTRACT)
        assert look_up(store, video, STRICT, Retry.TRANSIENT) == reject(video, rejection, Stage.EXTRACT)


class TestIndices:
    def test_a_fresh_video_is_found_without_being_read(
        self, store: FeatureStore, video: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fresh = put(store, batches(video, 1.0), STRICT)
        monkeypatch.setattr(FeatureStore, "open", None)
        assert look_up(store, video, STRICT, Retry.ALL) == fresh

    def test_without_an_index_a_video_is_read_once(
        self, store: FeatureStore, video: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fresh = outputs(_Store(store, STRICT, "float32"), batches(video, 1.0))
        del fresh[WRITTEN]
        assert look_up(store, video, STRICT, Retry.ALL) == fresh
        monkeypatch.setattr(FeatureStore, "open", None)
        assert look_up(store, video, STRICT, Retry.ALL) == fresh

    def test_damage_that_left_size_and_time_alone_is_found_by_verifying(
        self, store: FeatureStore, video: Video, caplog: pytest.LogCaptureFixture
    ) -> None:
        fresh = put(store, batches(video, 1.0), STRICT)
        rot(Path(store.path("dog")))
        assert look_up(store, video, STRICT, Retry.ALL) == fresh
        assert look_up(store, video, STRICT, Retry.ALL, verify=True) == {LACKING: [video]}
        assert "stored features of dog are damaged" in caplog.text
        assert look_up(store, video, STRICT, Retry.ALL) == {LACKING: [video]}


class TestRefreshing:
    def test_a_changed_file_is_reported_and_with_refresh_extracted_again(
        self, store: FeatureStore, video: Video
    ) -> None:
        fresh = put(store, batches(video, 1.0), STRICT)
        assert look_up(store, video, STRICT, Retry.ALL, refresh=True) == fresh
        Path(video.uri).write_bytes(b"another cut")
        assert look_up(store, video, STRICT, Retry.ALL) == {**fresh, CHANGED: ["dog"]}
        assert look_up(store, video, STRICT, Retry.ALL, refresh=True) == {LACKING: [video]}
        assert put(store, batches(video, 1.0, value=2.0), STRICT) != fresh
        assert CHANGED not in look_up(store, video, STRICT, Retry.ALL)

    def test_a_file_of_the_same_size_has_changed_if_its_time_has(self, store: FeatureStore, video: Video) -> None:
        fresh = put(store, batches(video, 1.0), STRICT)
        os.utime(video.uri, (1, 1))
        assert look_up(store, video, STRICT, Retry.ALL) == {**fresh, CHANGED: ["dog"]}

    def test_a_file_that_is_gone_has_not_changed(self, store: FeatureStore, video: Video) -> None:
        fresh = put(store, batches(video, 1.0), STRICT)
        Path(video.uri).unlink()
        assert look_up(store, video, STRICT, Retry.ALL) == fresh
        assert look_up(store, video, STRICT, Retry.ALL, refresh=True) == fresh

    def test_a_file_in_a_bucket_is_looked_at_only_to_refresh(
        self, store: FeatureStore, video: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, batches(video, 1.0), STRICT)
        far, asked = replace(video, uri="gs://bucket/film.mp4"), list[str]()

        def describe(uri: str) -> tuple[int, str]:
            asked.append(uri)
            return 1, "later"

        monkeypatch.setattr(files, "describe", describe)
        assert CHANGED not in look_up(store, far, STRICT, Retry.ALL)
        assert not asked
        assert look_up(store, far, STRICT, Retry.ALL, refresh=True) == {LACKING: [far]}
        assert asked == ["gs://bucket/film.mp4"]

    def test_a_changed_file_that_has_failed_already_is_rejected_under_refresh(
        self, store: FeatureStore, video: Video
    ) -> None:
        put(store, batches(video, 1.0), STRICT)
        Path(video.uri).write_bytes(b"cut")
        put(store, batches(video, CUT), STRICT)
        assert look_up(store, video, STRICT, Retry.TRANSIENT, refresh=True) == reject(video, CUT)

    def test_one_warning_counts_them_and_names_the_first(self) -> None:
        (warning,) = changed_warning(["b", "a"])
        assert warning.startswith("stored videos whose files have changed since")
        assert "modification time: 2, first a; `yt8m build --refresh` extracts them again" in warning
        assert changed_warning([]) == []


class TestTryingAgain:
    @pytest.mark.parametrize(("rejection", "retry"), [(SLOW, Retry.TRANSIENT), (SLOW, Retry.ALL), (CUT, Retry.ALL)])
    def test_a_failure_of_a_kind_to_retry_is_tried_again(
        self, store: FeatureStore, video: Video, rejection: VideoRejected, retry: Retry
    ) -> None:
        put(store, batches(video, rejection), STRICT)
        assert look_up(store, video, STRICT, retry) == {LACKING: [video]}

    def test_a_changed_file_is_tried_again(self, store: FeatureStore, video: Video) -> None:
        put(store, batches(video, CUT), STRICT)
        Path(video.uri).write_bytes(b"a mended film")
        assert look_up(store, video, STRICT, Retry.NONE) == {LACKING: [video]}

    def test_a_file_that_changed_while_it_was_decoded_is_tried_again(self, store: FeatureStore, video: Video) -> None:
        decoded = batches(video, CUT)
        Path(video.uri).write_bytes(b"the rest of the upload")
        put(store, decoded, STRICT)
        assert look_up(store, video, STRICT, Retry.NONE) == {LACKING: [video]}

    def test_damaged_features_are_extracted_again_unless_that_has_failed(
        self, store: FeatureStore, video: Video, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(store, batches(video, 1.0), STRICT)
        Path(store.path("dog")).write_bytes(b"damaged")
        assert look_up(store, video, STRICT, Retry.NONE) == {LACKING: [video]}
        assert "stored features of dog are damaged" in caplog.text
        put(store, batches(video, CUT), STRICT)
        caplog.clear()
        assert look_up(store, video, STRICT, Retry.TRANSIENT) == reject(video, CUT)
        assert not caplog.text

    def test_a_failure_gives_way_to_features(self, store: FeatureStore, video: Video) -> None:
        put(store, batches(video, CUT), STRICT)
        put(store, batches(video, 1.0), STRICT)
        assert look_up(store, video, STRICT, Retry.NONE)[KEPT]
        assert store.failure("dog") is None


def test_the_result_of_decoding_is_known_when_its_frames_are_at_an_end() -> None:
    picture = np.zeros((1, 1, 3), np.uint8)

    def decode() -> Any:
        yield from (SampledFrame(k, float(k), picture) for k in range(3))
        return 0.75

    result = DecodedFrames(decode())
    frames: Iterator[SampledFrame] = iter(result)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert result.decoded_fraction == 0.75


@given(
    st.lists(st.sampled_from([(1, 2), (2, 1), (3, 3), (40, 1)]), max_size=40),
    st.integers(1, 5),
    st.integers(1, 120),
)
def test_a_batch_has_frames_of_one_size_in_their_order_and_as_many_as_the_limits_allow(
    sizes: list[tuple[int, int]], max_frames: int, max_bytes: int
) -> None:
    frames = [SampledFrame(k, k / 2, np.full((*size, 3), k, np.uint8)) for k, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "MAX_BATCH_BYTES", max_bytes)
        batches = list(frame_batches(VIDEO, frames, max_frames))
    found = [batch.frames for batch in batches]
    rows = [row for batch in found for row in batch]
    assert [row.shape for row in rows] == [(*size, 3) for size in sizes]
    assert [int(row[0, 0, 0]) for row in rows] == list(range(len(sizes)))
    assert np.concatenate([[], *(batch.pts_seconds for batch in batches)]).tolist() == [
        k / 2 for k in range(len(sizes))
    ]
    assert all(len(batch) <= max_frames and (batch.nbytes <= max_bytes or len(batch) == 1) for batch in found)
    for batch, following in pairwise(found):
        one_more = batch.nbytes + following[0].nbytes
        assert len(batch) == max_frames or batch.shape[1:] != following.shape[1:] or one_more > max_bytes


class TestDecodingAndExtracting:
    def test_frames_keep_their_size_where_the_model_resizes(self, film: Video) -> None:
        shapes = {}
        for resize in ("decoder", "model"):
            inception = Inception.model_validate({"model": {"random": 1}, "image_size": 32, "resize": resize})
            decode = _Decode(Decoding(), inception)
            decode.setup()
            (none,), (first,), (ending,) = decode.process(film)
            decode.teardown()
            assert (len(none.frames), none.ending) == (0, None)
            shapes[resize] = first.frames.shape
            assert ending.ending == Ending(Source.of(film.uri), 1.0)
        assert shapes == {"decoder": (4, 32, 32, 3), "model": (4, 48, 64, 3)}

    def test_a_video_left_half_way_leaves_neither_a_child_nor_a_thread(self, film: Video) -> None:
        threads, descriptors = threading.active_count(), set(os.listdir("/proc/self/fd"))
        decode = _Decode(Decoding(), Inception(model=RandomModel(random=1), image_size=32, batch_size=1))
        decode.setup()
        elements = decode.process(film)
        _ = next(elements), next(elements)
        del elements
        decode.teardown()
        assert threading.active_count() == threads
        assert set(os.listdir("/proc/self/fd")) == descriptors

    def test_the_threads_of_a_process_share_one_model_and_decode_in_a_child_each(
        self, film: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded: list[Inception] = []
        threads: set[int] = set()

        def mean_colours(frames: UInt8Array) -> Float32Array:
            threads.add(threading.get_ident())
            return np.asarray(frames.mean(axis=(1, 2)), np.float32)

        def load(inception: Inception, _: range) -> Any:
            loaded.append(inception)
            time.sleep(0.2)
            return mean_colours

        monkeypatch.setattr(extraction, "load", load)
        inception = Inception(model=RandomModel(random=1), image_size=32)
        options = PipelineOptions(["--direct_running_mode=multi_threading", "--direct_num_workers=2"])
        with beam.Pipeline(runner=FnApiRunner(), options=options) as root:
            spread = root | beam.Create([replace(film, video_id=name) for name in "abcdefgh"]) | beam.Reshuffle()
            features = spread | DecodeFrames(Decoding(), inception) | ExtractPool3(inception)
            frames = features | beam.Map(lambda item: (item.video.video_id, len(item.features)))
            assert_that(frames | beam.CombinePerKey(sum), equal_to([(name, 4) for name in "abcdefgh"]))
        assert loaded == [inception]
        assert len(threads) == 2

    def test_a_network_that_cannot_be_loaded_is_found_before_the_first_film_is_opened(
        self, film: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[str] = []
        monkeypatch.setattr(Sandbox, "decode", lambda _, uri: opened.append(uri))
        inception = Inception(model=RandomModel(random=1), image_size=16)
        with pytest.raises(UsageError, match="cannot be loaded and run"), beam.Pipeline(runner=FnApiRunner()) as root:
            _ = root | beam.Create([film]) | DecodeFrames(Decoding(), inception) | ExtractPool3(inception)
        assert opened == []

    def test_no_network_is_loaded_for_films_that_are_not_there(
        self, film: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded: list[Inception] = []
        monkeypatch.setattr(extraction, "load", lambda inception, _: loaded.append(inception))
        inception = Inception(model=RandomModel(random=1), image_size=16)
        with beam.Pipeline(runner=FnApiRunner()) as root:
            missing = root | beam.Create([replace(film, uri=f"{film.uri}.gone")])
            endings = missing | DecodeFrames(Decoding(), inception) | ExtractPool3(inception)
            assert_that(endings | beam.Map(lambda item: item.ending.result.reason), equal_to([DropReason.MISSING_FILE]))
        assert loaded == []
