"""What the feature store has of a video decides what becomes of it, and not how it came there."""

import os
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.typehints.decorators import TypeCheckError

from tests.decoding.clips import encode
from tests.transforms.harness import run
from yt8m_pipeline import files
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import reject_video
from yt8m_pipeline.accounting.reasons import DropReason, Retry, Stage, VideoRejected
from yt8m_pipeline.config import Decoding, Inception, RandomModel, VideoSampling
from yt8m_pipeline.data_model import Float32Array, MediaFile, Partition, StoredEntry, StoredVideo, UInt8Array, Video
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.extraction.inception import ANY_DIMENSIONS, FeatureExtractor
from yt8m_pipeline.jobs.engine import beam_pipeline
from yt8m_pipeline.jobs.measuring import Measuring
from yt8m_pipeline.places import ANYWHERE
from yt8m_pipeline.store.feature_store import FeatureStore, place
from yt8m_pipeline.store.index import IndexedFile
from yt8m_pipeline.transforms import extraction
from yt8m_pipeline.transforms.durations import MeasureDurations
from yt8m_pipeline.transforms.extraction import WRITTEN, ExtractFeatures, ExtractVideo, remember
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS
from yt8m_pipeline.transforms.lookup import (
    CHANGED,
    LACKING,
    LookUp,
    WarnOfHighDynamicRange,
    changed_warning,
    high_dynamic_range_warning,
)
from yt8m_pipeline.transforms.trainer_formats import WriteForTrainers
from yt8m_pipeline.transforms.video_features import Watch, extract_video
from yt8m_pipeline.transforms.video_level import DescribeVideos, FitToTrain, WriteVectors

STRICT, LENIENT = Decoding(min_decoded_fraction=0.6), Decoding(min_decoded_fraction=0.4)
CUT = VideoRejected(DropReason.TRUNCATED, "it ends at 3 s", 0.25)
SLOW = VideoRejected(DropReason.DECODE_TIMEOUT, "the decoder took too long and was killed")
HALF = VideoRejected(
    DropReason.TOO_DAMAGED, "0.5 of its grid times have a sound frame, min_decoded_fraction asks for 0.6", 0.5
)
VIDEO = Video("dog", "dog.mp4", Partition.TRAIN, ("/m/a",))
PASSED = [StageCount(Stage.DECODE, "videos", 1), StageCount(Stage.EXTRACT, "videos", 1)]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(str(tmp_path / "store"), "space")


@pytest.fixture
def clip(tmp_path: Path) -> Video:
    (tmp_path / "four_seconds.mp4").write_bytes(encode(range(0, 4000, 100)))
    return Video("clip", str(tmp_path / "four_seconds.mp4"), Partition.TRAIN, ("/m/a",))


@pytest.fixture
def video(tmp_path: Path) -> Video:
    path = tmp_path / "dog.mp4"
    path.write_bytes(b"a video")
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


MEDIA = MediaFile("avi", "mjpeg", 7, 4, 1, 25.0, 9, 9)


class Network:
    """A sandbox and a network in one: what they give for a video, without either."""

    def __init__(self, result: float | VideoRejected, value: float, transfer: str = "") -> None:
        self.result, self.value, self.transfer, self.decoded = result, value, transfer, list[str]()

    def decode(self, uri: str) -> Generator[SampledFrame, None, Decoded]:
        """Two frames, and then the share of sound ones or why the video is rejected."""
        self.decoded.append(uri)
        yield from (SampledFrame(k, 0.75 * k, np.zeros((1, 1, 3), np.uint8), self.transfer) for k in range(2))
        if isinstance(self.result, VideoRejected):
            raise self.result
        return Decoded(self.result, MEDIA)

    def __call__(self, frames: UInt8Array) -> Float32Array:
        return np.full((len(frames), 3), self.value, np.float32)


def extraction_by(network: Network, store: FeatureStore, decoding: Decoding, dtype: str = "float32") -> ExtractVideo:
    """The step, with this in place of the sandbox and of the real network."""
    inception = Inception.model_validate({"model": {"random": 1}, "image_size": 16, "dtype": dtype})
    step = ExtractVideo(store, decoding, inception, ANY_DIMENSIONS)
    step._sandbox, step._held = cast(Sandbox, network), cast(FeatureExtractor, network)
    return step


def extraction_step(store: FeatureStore, videos: Sequence[Video]) -> Outputs:
    """What the step answers for videos of which none is to be decoded."""
    return outputs(extraction_by(Network(1.0, 1.0), store, Decoding()), videos)


def put(
    store: FeatureStore,
    video: Video,
    result: float | VideoRejected,
    decoding: Decoding,
    dtype: str = "float32",
    *,
    value: float = 1.0,
) -> Outputs:
    """What the stage answers for a video with this result; what it says for the index is kept."""
    found = outputs(extraction_by(Network(result, value), store, decoding, dtype), [video])
    for shelf, file in found.pop(WRITTEN, []):
        remember((shelf, [file]), store)
    return found


def reject(video: Video, rejection: VideoRejected, stage: Stage = Stage.DECODE) -> Outputs:
    """The outputs for a rejected video."""
    count = StageCount(stage, "videos", 0, ((rejection.reason.value, 1),))
    row = reject_video(stage, video.video_id, video.uri, rejection)
    return {REJECTS: [row], COUNTS: [*PASSED[: stage == Stage.EXTRACT], count]}


def keep(video: Video, entry: StoredEntry) -> Outputs:
    """The outputs for a video with features."""
    return {KEPT: [StoredVideo(video, entry)], COUNTS: PASSED}


class TestFreshAndStored:
    def test_a_sound_video_is_kept(self, store: FeatureStore, video: Video) -> None:
        fresh = put(store, video, 1.0, STRICT)
        entry = stored_entry(store)
        assert (entry.decoded_fraction, entry.deviation_seconds) == (1.0, 0.25)
        assert fresh == look_up(store, video, STRICT, Retry.ALL) == keep(video, entry)

    def test_a_damaged_one_is_kept_or_rejected_by_the_config_of_the_day(
        self, store: FeatureStore, video: Video
    ) -> None:
        fresh = {config: put(store, video, 0.5, config) for config in (STRICT, LENIENT)}
        entry = stored_entry(store)
        assert fresh[STRICT] == look_up(store, video, STRICT, Retry.ALL) == reject(video, HALF)
        assert fresh[LENIENT] == look_up(store, video, LENIENT, Retry.ALL) == keep(video, entry)

    @pytest.mark.parametrize("retry", [Retry.NONE, Retry.TRANSIENT])
    def test_one_that_failed_for_good_is_rejected_again_with_the_same_row(
        self, store: FeatureStore, video: Video, retry: Retry
    ) -> None:
        assert put(store, video, CUT, STRICT) == reject(video, CUT)
        assert look_up(store, video, LENIENT, retry) == reject(video, CUT)

    @pytest.mark.filterwarnings("ignore:overflow encountered")
    def test_features_that_are_not_finite_fail_for_good(self, store: FeatureStore, video: Video) -> None:
        rejection = VideoRejected(DropReason.NON_FINITE_FEATURES, "frame 0 has NaN or Inf features", 1.0)
        assert put(store, video, 1.0, STRICT, "float16", value=1e30) == reject(video, rejection, Stage.EXTRACT)
        assert look_up(store, video, STRICT, Retry.TRANSIENT) == reject(video, rejection, Stage.EXTRACT)


class TestIndices:
    def test_a_fresh_video_is_found_without_being_read(
        self, store: FeatureStore, video: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fresh = put(store, video, 1.0, STRICT)
        monkeypatch.setattr(FeatureStore, "open", None)
        assert look_up(store, video, STRICT, Retry.ALL) == fresh

    def test_without_an_index_a_video_is_read_once(
        self, store: FeatureStore, video: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fresh = outputs(extraction_by(Network(1.0, 1.0), store, STRICT), [video])
        del fresh[WRITTEN]
        assert look_up(store, video, STRICT, Retry.ALL) == fresh
        monkeypatch.setattr(FeatureStore, "open", None)
        assert look_up(store, video, STRICT, Retry.ALL) == fresh

    def test_the_log_shows_an_id_escaped(
        self, store: FeatureStore, video: Video, caplog: pytest.LogCaptureFixture
    ) -> None:
        hostile = replace(video, video_id="dog\x1b[2J\nerror: é")
        put(store, hostile, 1.0, STRICT)
        rot(Path(store.path(hostile.video_id)))
        look_up(store, hostile, STRICT, Retry.ALL, verify=True)
        warning = next(record for record in caplog.records if record.levelname == "WARNING")
        assert warning.getMessage().startswith(r"stored features of dog\x1b[2J\nerror: é are damaged")

    def test_damage_that_left_size_and_time_alone_is_found_by_verifying(
        self, store: FeatureStore, video: Video, caplog: pytest.LogCaptureFixture
    ) -> None:
        fresh = put(store, video, 1.0, STRICT)
        rot(Path(store.path("dog")))
        assert look_up(store, video, STRICT, Retry.ALL) == fresh
        assert look_up(store, video, STRICT, Retry.ALL, verify=True) == {LACKING: [video]}
        assert "stored features of dog are damaged" in caplog.text
        assert look_up(store, video, STRICT, Retry.ALL) == {LACKING: [video]}


class TestRefreshing:
    def test_a_changed_file_is_reported_and_with_refresh_extracted_again(
        self, store: FeatureStore, video: Video
    ) -> None:
        fresh = put(store, video, 1.0, STRICT)
        assert look_up(store, video, STRICT, Retry.ALL, refresh=True) == fresh
        Path(video.uri).write_bytes(b"another cut")
        assert look_up(store, video, STRICT, Retry.ALL) == {**fresh, CHANGED: ["dog"]}
        assert look_up(store, video, STRICT, Retry.ALL, refresh=True) == {LACKING: [video]}
        assert put(store, video, 1.0, STRICT, value=2.0) != fresh
        assert CHANGED not in look_up(store, video, STRICT, Retry.ALL)

    def test_a_file_of_the_same_size_has_changed_if_its_time_has(self, store: FeatureStore, video: Video) -> None:
        fresh = put(store, video, 1.0, STRICT)
        os.utime(video.uri, (1, 1))
        assert look_up(store, video, STRICT, Retry.ALL) == {**fresh, CHANGED: ["dog"]}

    def test_a_file_that_is_gone_has_not_changed(self, store: FeatureStore, video: Video) -> None:
        fresh = put(store, video, 1.0, STRICT)
        Path(video.uri).unlink()
        assert look_up(store, video, STRICT, Retry.ALL) == fresh
        assert look_up(store, video, STRICT, Retry.ALL, refresh=True) == fresh

    def test_a_file_in_a_bucket_is_looked_at_only_to_refresh(
        self, store: FeatureStore, video: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, video, 1.0, STRICT)
        far, asked = replace(video, uri="gs://bucket/dog.mp4"), list[str]()

        def describe(uri: str) -> tuple[int, str]:
            asked.append(uri)
            return 1, "later"

        monkeypatch.setattr(files, "describe", describe)
        assert CHANGED not in look_up(store, far, STRICT, Retry.ALL)
        assert not asked
        assert look_up(store, far, STRICT, Retry.ALL, refresh=True) == {LACKING: [far]}
        assert asked == ["gs://bucket/dog.mp4"]

    def test_a_changed_file_that_has_failed_already_is_rejected_under_refresh(
        self, store: FeatureStore, video: Video
    ) -> None:
        put(store, video, 1.0, STRICT)
        Path(video.uri).write_bytes(b"cut")
        put(store, video, CUT, STRICT)
        assert look_up(store, video, STRICT, Retry.TRANSIENT, refresh=True) == reject(video, CUT)

    def test_one_warning_counts_them_and_names_the_first(self) -> None:
        (warning,) = changed_warning(["b", "a"])
        assert warning.startswith("stored videos whose files have changed since")
        assert "modification time: 2, first a; `--refresh` extracts them again" in warning
        assert changed_warning([]) == []


class TestHighDynamicRange:
    def test_it_is_known_of_fresh_and_of_stored_videos(self, store: FeatureStore, video: Video) -> None:
        (fresh,) = outputs(extraction_by(Network(1.0, 1.0, "PQ"), store, STRICT), [video])[KEPT]
        (stored,) = look_up(store, video, STRICT, Retry.ALL)[KEPT]
        assert fresh == stored
        assert stored.entry.transfer == "PQ"

    @pytest.mark.parametrize("bright", ["", "ca"])
    def test_one_warning_counts_the_videos_and_names_the_first(self, bright: str) -> None:
        entry = StoredEntry(1, 1.0, "sha256", 1.0, 0.0)
        videos = [
            StoredVideo(Video(name, "", Partition.TRAIN, ("/m/a",)), replace(entry, transfer="HLG" * (name in bright)))
            for name in "dcba"
        ]
        warnings = run(lambda stored: stored | WarnOfHighDynamicRange(), stored=videos)
        assert warnings == high_dynamic_range_warning(bright)
        assert len(warnings) == bool(bright)
        assert all("not tone-mapped and look dull: 2, first a; " in warning for warning in warnings)


class TestTryingAgain:
    @pytest.mark.parametrize(("rejection", "retry"), [(SLOW, Retry.TRANSIENT), (SLOW, Retry.ALL), (CUT, Retry.ALL)])
    def test_a_failure_of_a_kind_to_retry_is_tried_again(
        self, store: FeatureStore, video: Video, rejection: VideoRejected, retry: Retry
    ) -> None:
        put(store, video, rejection, STRICT)
        assert look_up(store, video, STRICT, retry) == {LACKING: [video]}

    def test_a_changed_file_is_tried_again(self, store: FeatureStore, video: Video) -> None:
        put(store, video, CUT, STRICT)
        Path(video.uri).write_bytes(b"a mended video")
        assert look_up(store, video, STRICT, Retry.NONE) == {LACKING: [video]}

    def test_a_file_that_changed_while_it_was_decoded_is_tried_again(
        self, store: FeatureStore, video: Video, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = Network(CUT, 1.0)
        frames = network.decode(video.uri)

        def decode(_: str) -> Generator[SampledFrame, None, Decoded]:
            Path(video.uri).write_bytes(b"the rest of the upload")
            return frames

        monkeypatch.setattr(network, "decode", decode)
        outputs(extraction_by(network, store, STRICT), [video])
        assert look_up(store, video, STRICT, Retry.NONE) == {LACKING: [video]}

    def test_damaged_features_are_extracted_again_unless_that_has_failed(
        self, store: FeatureStore, video: Video, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(store, video, 1.0, STRICT)
        Path(store.path("dog")).write_bytes(b"damaged")
        assert look_up(store, video, STRICT, Retry.NONE) == {LACKING: [video]}
        assert "stored features of dog are damaged" in caplog.text
        put(store, video, CUT, STRICT)
        caplog.clear()
        assert look_up(store, video, STRICT, Retry.TRANSIENT) == reject(video, CUT)
        assert not caplog.text

    def test_a_failure_gives_way_to_features(self, store: FeatureStore, video: Video) -> None:
        put(store, video, CUT, STRICT)
        put(store, video, 1.0, STRICT)
        assert look_up(store, video, STRICT, Retry.NONE)[KEPT]
        assert store.failure("dog") is None


class TestOneCall:
    def test_a_bundle_that_is_tried_again_decodes_nothing_again(self, store: FeatureStore, video: Video) -> None:
        network = Network(1.0, 1.0)
        first = outputs(extraction_by(network, store, STRICT), [video])
        again = outputs(extraction_by(network, store, STRICT), [video])
        assert first == again
        assert network.decoded == [video.uri]

    def test_a_video_whose_file_has_changed_since_it_was_stored_is_decoded(
        self, store: FeatureStore, video: Video
    ) -> None:
        network = Network(1.0, 1.0)
        outputs(extraction_by(network, store, STRICT), [video])
        Path(video.uri).write_bytes(b"another cut")
        outputs(extraction_by(network, store, STRICT), [video])
        assert network.decoded == [video.uri] * 2

    def test_frames_keep_their_size_where_the_model_resizes(self, clip: Video) -> None:
        shapes: dict[str, Any] = {}
        for resize in ("decoder", "model"):

            def note(frames: UInt8Array, resize: str = resize) -> Float32Array:
                shapes[resize] = frames.shape
                return np.zeros((len(frames), 3), np.float32)

            inception = Inception.model_validate({"model": {"random": 1}, "image_size": 32, "resize": resize})
            with Sandbox(Decoding(), inception.decoded_size) as sandbox:
                extracted = extract_video(clip, sandbox, cast(FeatureExtractor, note), inception, Watch())
            assert extracted.decoded.decoded_fraction == 1.0
            assert extracted.features.pts_seconds.tolist() == [0, 1, 2, 3]
        assert shapes == {"decoder": (4, 32, 32, 3), "model": (4, 48, 64, 3)}

    def test_a_network_that_fails_half_way_leaves_neither_a_child_nor_a_thread(self, clip: Video) -> None:
        threads, descriptors = threading.active_count(), set(os.listdir("/proc/self/fd"))

        def fail(_: UInt8Array) -> Float32Array:
            raise RuntimeError("no memory")

        inception = Inception(model=RandomModel(random=1), image_size=32, batch_size=1)
        with Sandbox(Decoding(), 32) as sandbox, pytest.raises(RuntimeError, match="no memory"):
            extract_video(clip, sandbox, cast(FeatureExtractor, fail), inception, Watch())
        assert threading.active_count() == threads
        assert set(os.listdir("/proc/self/fd")) == descriptors

    def test_the_threads_of_a_process_share_one_model_and_decode_in_a_child_each(
        self, clip: Video, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded: list[Inception] = []
        threads: set[int] = set()

        class MeanColours:
            def __call__(self, frames: UInt8Array) -> Float32Array:
                threads.add(threading.get_ident())
                return np.asarray(frames.mean(axis=(1, 2)), np.float32)

        def load(inception: Inception, _: range) -> Any:
            loaded.append(inception)
            time.sleep(0.2)
            return MeanColours()

        monkeypatch.setattr(extraction, "load", load)
        inception = Inception(model=RandomModel(random=1), image_size=32)
        options = PipelineOptions(["--direct_running_mode=multi_threading", "--direct_num_workers=2"])
        with beam.Pipeline(runner=FnApiRunner(), options=options) as root:
            spread = root | beam.Create([replace(clip, video_id=name) for name in "abcdefgh"]) | beam.Reshuffle()
            kept = (spread | ExtractFeatures(store, Decoding(), inception)).kept
            frames = kept | beam.Map(lambda stored: (stored.video.video_id, stored.entry.frames))
            assert_that(frames, equal_to([(name, 4) for name in "abcdefgh"]))
        assert loaded == [inception]
        assert len(threads) == 2

    def test_a_network_that_cannot_be_loaded_is_found_before_the_first_video_is_opened(
        self, clip: Video, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[str] = []
        monkeypatch.setattr(Sandbox, "decode", lambda _, uri: opened.append(uri))
        inception = Inception(model=RandomModel(random=1), image_size=16)
        with (
            pytest.raises(RuntimeError, match="UsageError: The model cannot be loaded and run"),
            beam_pipeline([]) as root,
        ):
            _ = root | beam.Create([clip]) | ExtractFeatures(store, Decoding(), inception)
        assert opened == []

    def test_no_network_is_loaded_for_videos_that_are_not_there(
        self, clip: Video, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded: list[Inception] = []
        monkeypatch.setattr(extraction, "load", lambda inception, _: loaded.append(inception))
        inception = Inception(model=RandomModel(random=1), image_size=16)
        with beam_pipeline([]) as root:
            missing = root | beam.Create([replace(clip, uri=f"{clip.uri}.gone")])
            rejects = (missing | ExtractFeatures(store, Decoding(), inception)).rejects
            reasons = rejects | beam.FlatMap(lambda table: table["reason"].to_pylist())
            assert_that(reasons, equal_to([DropReason.MISSING_FILE.value]))
        assert loaded == []


def test_wrong_elements_are_refused_when_the_pipeline_is_made(store: FeatureStore) -> None:
    inception = Inception(model=RandomModel(random=1), image_size=16)
    with pytest.raises(TypeCheckError, match=r"requires .*Video"):
        _ = beam.Pipeline() | beam.Create(["dog.mp4"]) | ExtractFeatures(store, Decoding(), inception)


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (WriteForTrainers(cast(Any, None)), "Shard"),
        (DescribeVideos(cast(Any, None), cast(Any, None)), "Shard"),
        (FitToTrain(cast(Any, None)), "Described"),
        (WriteVectors(cast(Any, None), cast(Any, None)), "Described"),
        (MeasureDurations(VideoSampling(), Measuring(Decoding(), ANYWHERE)), "Table"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_wrong_elements_are_refused_around_datasets_too(step: beam.PTransform[Any, Any], wanted: str) -> None:
    """Before the step looks at what it was given besides."""
    with pytest.raises(TypeCheckError, match=rf"(requires|expected) .*{wanted}"):
        _ = beam.Pipeline() | beam.Create(["dog.mp4"]) | step
