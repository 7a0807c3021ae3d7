"""What the feature store has of a video decides what becomes of it, and not how it came there."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import pytest

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import (
    DropReason,
    Partition,
    Retry,
    SampledFrame,
    StoredEntry,
    StoredVideo,
    Video,
    VideoFeatures,
)
from yt8m_pipeline.dataset.manifest import StageCount
from yt8m_pipeline.errors import VideoRejected
from yt8m_pipeline.extraction.failures import Source
from yt8m_pipeline.extraction.feature_store import FeatureStore
from yt8m_pipeline.outcome import reject_video
from yt8m_pipeline.transforms.extraction import LACKING, DecodedFrames, Ending, FeatureBatch, _LookUp, _Store
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS

STRICT, LENIENT = Decoding(min_decoded_fraction=0.6), Decoding(min_decoded_fraction=0.4)
CUT = VideoRejected(DropReason.TRUNCATED, "it ends at 3 s", 0.25)
SLOW = VideoRejected(DropReason.DECODE_TIMEOUT, "the decoder took too long and was killed")
HALF = VideoRejected(
    DropReason.TOO_DAMAGED, "0.5 of its grid times have a sound frame, min_decoded_fraction asks for 0.6", 0.5
)
PASSED = [StageCount("decode", "videos", 1), StageCount("extract", "videos", 1)]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(str(tmp_path / "store"), "space")


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


def look_up(store: FeatureStore, video: Video, decoding: Decoding, retry: Retry) -> Outputs:
    return outputs(_LookUp(store, decoding, retry), [video])


def put(store: FeatureStore, batches: Sequence[FeatureBatch], decoding: Decoding, dtype: str = "float32") -> Outputs:
    return outputs(_Store(store, decoding, dtype), batches)


def reject(video: Video, rejection: VideoRejected, stage: str = "decode") -> Outputs:
    """The outputs for a rejected video."""
    count = StageCount(stage, "videos", 0, ((rejection.reason.value, 1),))
    row = reject_video(stage, video.video_id, video.uri, rejection)
    return {REJECTS: [row], COUNTS: [*PASSED[: stage == "extract"], count]}


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
        entry = store.entry("dog")
        assert isinstance(entry, StoredEntry)
        assert (entry.decoded_fraction, entry.deviation_seconds) == (1.0, 0.25)
        assert fresh == look_up(store, video, STRICT, Retry.ALL) == keep(video, entry)

    def test_a_damaged_one_is_kept_or_rejected_by_the_config_of_the_day(
        self, store: FeatureStore, video: Video
    ) -> None:
        fresh = {config: put(store, batches(video, 0.5), config) for config in (STRICT, LENIENT)}
        entry = store.entry("dog")
        assert isinstance(entry, StoredEntry)
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
        assert put(store, batches(video, 1.0, value=1e30), STRICT, "float16") == reject(video, rejection, "extract")
        assert look_up(store, video, STRICT, Retry.TRANSIENT) == reject(video, rejection, "extract")


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
