"""The Beam shell of extraction: video ids in, stored videos out.

Frames and features pass from step to step inside one fused stage only: they cross no shuffle and no side input.
"""

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import AsSingleton, TaggedOutput

from yt8m_pipeline.config import Decoding, Inception
from yt8m_pipeline.data_model import (
    DropReason,
    Float32Array,
    Float64Array,
    Retry,
    SampledFrame,
    StoredEntry,
    StoredVideo,
    UInt8Array,
    Video,
    VideoFeatures,
)
from yt8m_pipeline.dataset.index import failed_videos, read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import StageCount
from yt8m_pipeline.errors import DataError, VideoRejected
from yt8m_pipeline.extraction.failures import Source, check_damage
from yt8m_pipeline.extraction.feature_store import Damaged, FeatureStore
from yt8m_pipeline.extraction.inception import FeatureExtractor, load
from yt8m_pipeline.extraction.sandbox import Sandbox
from yt8m_pipeline.outcome import reject_video
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS, outputs_of
from yt8m_pipeline.transforms.monitoring import advance, announce, timed

LOGGER = logging.getLogger(__name__)

DECODE = "decode"
EXTRACT = "extract"
LACKING = "lacking"


@dataclass(frozen=True, slots=True)
class Ending:
    """How decoding ended: the file as it was when it began, and the share of sound frames or why there are none."""

    source: Source
    result: float | VideoRejected


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Successive frames of one video: uint8 (n, size, size, 3), pts float64 (n,); the last batch is its ending."""

    video: Video
    frames: UInt8Array
    pts_seconds: Float64Array
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """The features of a `FrameBatch`: float32 (n, dimensions)."""

    video: Video
    features: Float32Array
    pts_seconds: Float64Array
    ending: Ending | None


class FindInStore(beam.PTransform):
    """PCollection[Video] → outputs of a stage with the StoredVideos that the store has whole, and `lacking`: Video.

    A video whose failure the store remembers is rejected again, unless it is to be tried again.
    """

    def __init__(self, store: FeatureStore, decoding: Decoding, retry: Retry) -> None:
        super().__init__()
        self._look_up = _LookUp(store, decoding, retry)

    def expand(self, videos: Any) -> dict[str, Any]:
        found = videos | "look up" >> beam.ParDo(self._look_up).with_outputs(LACKING, REJECTS, COUNTS, main=KEPT)
        total = found[LACKING] | "count" >> beam.combiners.Count.Globally()
        announced = found[LACKING] | "announce" >> beam.Map(_announced, AsSingleton(total))
        return {tag: found[tag] for tag in (KEPT, REJECTS, COUNTS)} | {LACKING: announced | beam.Reshuffle()}


class RecallVideos(beam.PTransform):
    """PCollection[Video] of splits that stay as they are → the StoredVideos and rejects that the dataset lists."""

    def __init__(self, layout: Layout, decoding: Decoding) -> None:
        super().__init__()
        self._recall = _Recall(layout, decoding)

    def expand(self, videos: Any) -> Any:
        return videos | outputs_of(self._recall)


class DecodeFrames(beam.PTransform):
    """PCollection[Video] → PCollection[[FrameBatch]], each video's in order, the last one marked."""

    def __init__(self, decoding: Decoding, inception: Inception) -> None:
        super().__init__()
        self._decoding, self._inception = decoding, inception

    def expand(self, videos: Any) -> Any:
        return videos | beam.ParDo(_Decode(self._decoding, self._inception))


class ExtractPool3(beam.PTransform):
    """PCollection[[FrameBatch]] → PCollection[FeatureBatch], by Beam's RunInference."""

    def __init__(self, inception: Inception) -> None:
        super().__init__()
        self._inception = inception

    def expand(self, batches: Any) -> Any:
        return batches | RunInference(Pool3Handler(self._inception))


class StoreFeatures(beam.PTransform):
    """PCollection[FeatureBatch] → PCollection[StoredVideo], rejects and counts; one file per video."""

    def __init__(self, store: FeatureStore, decoding: Decoding, dtype: str) -> None:
        super().__init__()
        self._store = _Store(store, decoding, dtype)

    def expand(self, batches: Any) -> Any:
        return batches | outputs_of(self._store)


class LazyExtractor:
    """A feature extractor that loads its model when the first frames come: a resumed build may need none."""

    def __init__(self, inception: Inception) -> None:
        self._inception = inception
        self._extractor: FeatureExtractor | None = None

    def __call__(self, frames: UInt8Array) -> Float32Array:
        if self._extractor is None:
            self._extractor = load(self._inception)
        return self._extractor(frames)


class Pool3Handler(ModelHandler[FrameBatch, FeatureBatch, LazyExtractor]):
    """Runs the network on the micro-batches that the decoder made; elements are batches already."""

    def __init__(self, inception: Inception) -> None:
        super().__init__()
        self._inception = inception

    def load_model(self) -> LazyExtractor:
        return LazyExtractor(self._inception)

    def run_inference(
        self,
        batch: Sequence[FrameBatch],
        model: LazyExtractor,
        inference_args: object = None,  # noqa: ARG002
    ) -> Iterable[FeatureBatch]:
        with timed(EXTRACT):
            return [_features(item, model) for item in batch]

    def get_num_bytes(self, batch: Sequence[FrameBatch]) -> int:
        return sum(item.frames.nbytes for item in batch)

    def get_metrics_namespace(self) -> str:
        return "yt8m_pool3"

    def should_skip_batching(self) -> bool:
        return True


class _LookUp(beam.DoFn):
    def __init__(self, store: FeatureStore, decoding: Decoding, retry: Retry) -> None:
        self._store, self._decoding, self._retry = store, decoding, retry

    def process(self, video: Video) -> Iterator[Any]:
        entry = self._store.entry(video.video_id)
        if isinstance(entry, StoredEntry):
            yield from _settled(video, entry, self._decoding)
            return
        failure = self._store.failure(video.video_id)
        if failure and failure.counts(Source.of(video.uri), self._decoding, self._retry):
            yield from _rejected(video, failure.rejection)
            return
        if isinstance(entry, Damaged):
            LOGGER.warning("stored features of %s are damaged (%s); extracting it again", video.video_id, entry.reason)
        yield TaggedOutput(LACKING, video)


class _Recall(beam.DoFn):
    def __init__(self, layout: Layout, decoding: Decoding) -> None:
        self._layout, self._decoding = layout, decoding
        self._rows: dict[str, dict[str, Any]] | None = None

    def process(self, video: Video) -> Iterator[Any]:
        self._rows = self._rows or _recorded(self._layout)
        row = self._rows.get(video.video_id)
        if row is None:
            raise DataError(
                f"The {video.partition.value} split is no longer what the dataset holds; it would be out of date",
                f"video {video.video_id}",
                "the dataset has no such video: the tables or the config changed",
                "run `yt8m build`, which writes every split that changed",
            )
        if "reason" in row:
            rejection = VideoRejected(DropReason(row["reason"]), row["detail"], row["decoded_fraction"])
            yield from _rejected(video, rejection)
            return
        yield from _settled(video, _recorded_entry(row), self._decoding)


def _recorded_entry(row: dict[str, Any]) -> StoredEntry:
    features = (row["features_magnitude"], row["features_sha256"])
    return StoredEntry(row["frames"], *features, row["decoded_fraction"], row["deviation_seconds"])


def _recorded(layout: Layout) -> dict[str, dict[str, Any]]:
    """What a finished dataset says of each video that was selected for it: a row of videos.parquet or of rejects."""
    rows = {row["id"]: row for row in failed_videos(layout).to_pylist()}
    return rows | {row["video_id"]: row for row in read_parquet(layout, Layout.VIDEOS).to_pylist()}


def _announced(video: Video, total: int) -> Video:
    announce(EXTRACT, total)
    return video


class _Decode(beam.DoFn):
    def __init__(self, decoding: Decoding, inception: Inception) -> None:
        self._decoding, self._inception = decoding, inception

    def setup(self) -> None:
        self._sandbox = Sandbox(self._decoding, self._inception.image_size)

    def teardown(self) -> None:
        self._sandbox.close()

    def process(self, video: Video) -> Iterator[list[FrameBatch]]:
        source, decoded = Source.of(video.uri), DecodedFrames(self._sandbox.decode(video.uri))
        frames = iter(decoded)
        try:
            while chunk := _next_frames(frames, self._inception.batch_size):
                yield [_frame_batch(video, chunk)]
            ending = Ending(source, decoded.decoded_fraction)
        except VideoRejected as rejection:
            ending = Ending(source, rejection)
        yield [FrameBatch(video, _no_frames(self._inception), np.empty(0), ending)]


class DecodedFrames:
    """The frames of one video and, when they are at an end, the share that is sound."""

    def __init__(self, frames: Generator[SampledFrame, None, float]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[SampledFrame]:
        self.decoded_fraction = yield from self._frames


def _next_frames(frames: Iterator[SampledFrame], count: int) -> list[SampledFrame]:
    with timed(DECODE):
        return list(islice(frames, count))


def _frame_batch(video: Video, chunk: Sequence[SampledFrame]) -> FrameBatch:
    pts_seconds = np.array([frame.pts_seconds for frame in chunk])
    return FrameBatch(video, np.stack([frame.rgb for frame in chunk]), pts_seconds)


def _no_frames(inception: Inception) -> UInt8Array:
    return np.empty((0, inception.image_size, inception.image_size, 3), np.uint8)


def _features(batch: FrameBatch, model: LazyExtractor) -> FeatureBatch:
    features = model(batch.frames) if len(batch.frames) else np.empty((0, 0), np.float32)
    return FeatureBatch(batch.video, features, batch.pts_seconds, batch.ending)


class _Store(beam.DoFn):
    def __init__(self, store: FeatureStore, decoding: Decoding, dtype: str) -> None:
        self._store, self._decoding, self._dtype = store, decoding, dtype

    def start_bundle(self) -> None:
        self._pending: dict[str, list[FeatureBatch]] = {}

    def process(self, batch: FeatureBatch) -> Iterator[Any]:
        video, ending = batch.video, batch.ending
        if ending is None:
            self._pending.setdefault(video.video_id, []).append(batch)
            return
        batches = self._pending.pop(video.video_id, [])
        try:
            entry = self._write(video, batches, ending)
        except VideoRejected as rejection:
            advance(EXTRACT)
            self._store.write_failure(video.video_id, ending.source, self._decoding, rejection)
            yield from _rejected(video, rejection)
            return
        advance(EXTRACT, frames=entry.frames)
        yield from _settled(video, entry, self._decoding)

    def finish_bundle(self) -> None:
        if self._pending:
            raise DataError(
                "The engine split the batches of a video over bundles",
                f"video {sorted(self._pending)[0]}",
                "DecodeFrames, ExtractPool3 and StoreFeatures must run fused",
                "run on an engine that fuses them, as all portable runners do by default",
            )

    def _write(self, video: Video, batches: list[FeatureBatch], ending: Ending) -> StoredEntry:
        if isinstance(ending.result, VideoRejected):
            raise ending.result
        features = np.concatenate([batch.features for batch in batches]).astype(self._dtype)
        if not np.isfinite(features).all():
            bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            detail = f"frame {bad} has NaN or Inf features"
            raise VideoRejected(DropReason.NON_FINITE_FEATURES, detail, ending.result)
        pts_seconds = np.concatenate([batch.pts_seconds for batch in batches])
        stored = VideoFeatures(video.video_id, features, pts_seconds)
        return self._store.write(stored, ending.source, ending.result, self._decoding.rate)


def _settled(video: Video, entry: StoredEntry, decoding: Decoding) -> Iterator[Any]:
    """A stage's outputs for a video with features: the same whether they are fresh, stored or recalled."""
    try:
        check_damage(entry.decoded_fraction, decoding)
    except VideoRejected as rejection:
        yield from _rejected(video, rejection)
        return
    for stage in (DECODE, EXTRACT):
        yield TaggedOutput(COUNTS, StageCount(stage, "videos", 1))
    yield StoredVideo(video, entry)


def _rejected(video: Video, rejection: VideoRejected) -> Iterator[TaggedOutput]:
    stage = EXTRACT if rejection.reason == DropReason.NON_FINITE_FEATURES else DECODE
    if stage == EXTRACT:
        yield TaggedOutput(COUNTS, StageCount(DECODE, "videos", 1))
    yield TaggedOutput(COUNTS, StageCount(stage, "videos", 0, ((rejection.reason.value, 1),)))
    yield TaggedOutput(REJECTS, reject_video(stage, video.video_id, video.uri, rejection))
