"""The Beam shell of extraction: video ids in, stored videos out.

Frames and features pass from step to step inside one fused stage only: they cross no shuffle and no side input.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import AsSingleton, TaggedOutput

from yt8m_pipeline import files
from yt8m_pipeline.config import Decoding, Inception
from yt8m_pipeline.data_model import (
    DropReason,
    Float32Array,
    Float64Array,
    SampledFrame,
    StoredVideo,
    UInt8Array,
    Video,
    VideoFeatures,
)
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import StageCount
from yt8m_pipeline.errors import DataError, VideoRejected
from yt8m_pipeline.extraction.feature_store import Damaged, FeatureStore, StoredEntry
from yt8m_pipeline.extraction.inception import FeatureExtractor, load
from yt8m_pipeline.extraction.sandbox import Sandbox
from yt8m_pipeline.outcome import reject_row
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS, outputs_of
from yt8m_pipeline.transforms.monitoring import advance, announce, timed

LOGGER = logging.getLogger(__name__)

DECODE = "decode"
EXTRACT = "extract"
LACKING = "lacking"


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Successive frames of one video: uint8 (n, size, size, 3), pts float64 (n,); the last batch closes the video."""

    video: Video
    frames: UInt8Array
    pts_seconds: Float64Array
    last: bool = False
    rejected: VideoRejected | None = None


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """The features of a `FrameBatch`: float32 (n, dimensions)."""

    video: Video
    features: Float32Array
    pts_seconds: Float64Array
    last: bool
    rejected: VideoRejected | None


class FindInStore(beam.PTransform):
    """PCollection[Video] → outputs of a stage with the StoredVideos that the store has whole, and `lacking`: Video."""

    def __init__(self, store: FeatureStore) -> None:
        super().__init__()
        self._store = store

    def expand(self, videos: Any) -> dict[str, Any]:
        found = videos | "look up" >> beam.ParDo(_LookUp(self._store)).with_outputs(LACKING, REJECTS, COUNTS, main=KEPT)
        total = found[LACKING] | "count" >> beam.combiners.Count.Globally()
        announced = found[LACKING] | "announce" >> beam.Map(_announced, AsSingleton(total))
        return {tag: found[tag] for tag in (KEPT, REJECTS, COUNTS)} | {LACKING: announced | beam.Reshuffle()}


class RecallVideos(beam.PTransform):
    """PCollection[Video] of splits that stay as they are → the StoredVideos and rejects that the dataset lists."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self._layout = layout

    def expand(self, videos: Any) -> Any:
        return videos | outputs_of(_Recall(self._layout))


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

    def __init__(self, store: FeatureStore, dtype: str) -> None:
        super().__init__()
        self._store, self._dtype = store, dtype

    def expand(self, batches: Any) -> Any:
        return batches | outputs_of(_Store(self._store, self._dtype))


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
    def __init__(self, store: FeatureStore) -> None:
        self._store = store

    def process(self, video: Video) -> Iterator[Any]:
        entry = self._store.entry(video.video_id)
        if isinstance(entry, Damaged):
            LOGGER.warning("stored features of %s are damaged (%s); extracting it again", video.video_id, entry.reason)
        if not isinstance(entry, StoredEntry):
            yield TaggedOutput(LACKING, video)
            return
        yield from _counted()
        yield StoredVideo(video, entry.frames, entry.magnitude, entry.sha256)


class _Recall(beam.DoFn):
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
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
            rejection = VideoRejected(DropReason(row["reason"]), row["detail"])
            yield from _rejected(video, rejection)
            return
        yield from _counted()
        yield StoredVideo(video, row["frames"], row["features_magnitude"], row["features_sha256"])


def _recorded(layout: Layout) -> dict[str, dict[str, Any]]:
    """What a finished dataset says of each video that was selected for it: a row of videos.parquet or of rejects."""
    rejects = read_parquet(layout, Layout.REJECTS)
    failed = rejects.filter(pc.is_in(rejects["stage"], pa.array([DECODE, EXTRACT])))
    rows = {row["id"]: row for row in failed.to_pylist()}
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
        frames = self._sandbox.decode(video.uri)
        rejected = None
        try:
            while chunk := _next_frames(frames, self._inception.batch_size):
                yield [_frame_batch(video, chunk)]
        except VideoRejected as rejection:
            rejected = rejection
        yield [FrameBatch(video, _no_frames(self._inception), np.empty(0), last=True, rejected=rejected)]


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
    return FeatureBatch(batch.video, features, batch.pts_seconds, batch.last, batch.rejected)


class _Store(beam.DoFn):
    def __init__(self, store: FeatureStore, dtype: str) -> None:
        self._store, self._dtype = store, dtype

    def start_bundle(self) -> None:
        self._pending: dict[str, list[FeatureBatch]] = {}

    def process(self, batch: FeatureBatch) -> Iterator[Any]:
        if not batch.last:
            self._pending.setdefault(batch.video.video_id, []).append(batch)
            return
        batches = self._pending.pop(batch.video.video_id, [])
        try:
            if batch.rejected:
                raise batch.rejected
            stored = self._write(batch.video, batches)
        except VideoRejected as rejection:
            advance(EXTRACT)
            yield from _rejected(batch.video, rejection)
            return
        yield from _counted()
        yield stored

    def finish_bundle(self) -> None:
        if self._pending:
            raise DataError(
                "The engine split the batches of a video over bundles",
                f"video {sorted(self._pending)[0]}",
                "DecodeFrames, ExtractPool3 and StoreFeatures must run fused",
                "run on an engine that fuses them, as all portable runners do by default",
            )

    def _write(self, video: Video, batches: list[FeatureBatch]) -> StoredVideo:
        features = np.concatenate([batch.features for batch in batches]).astype(self._dtype)
        if not np.isfinite(features).all():
            bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            raise VideoRejected(DropReason.NON_FINITE_FEATURES, f"frame {bad} of {video.uri} has NaN or Inf features")
        pts_seconds = np.concatenate([batch.pts_seconds for batch in batches])
        size, modified = files.describe(video.uri)
        entry = self._store.write(VideoFeatures(video.video_id, features, pts_seconds), video.uri, size, modified)
        advance(EXTRACT, frames=entry.frames)
        return StoredVideo(video, entry.frames, entry.magnitude, entry.sha256)


def _counted() -> Iterator[TaggedOutput]:
    for stage in (DECODE, EXTRACT):
        yield TaggedOutput(COUNTS, StageCount(stage, "videos", 1))


def _rejected(video: Video, rejection: VideoRejected) -> Iterator[TaggedOutput]:
    stage = EXTRACT if rejection.reason == DropReason.NON_FINITE_FEATURES else DECODE
    if stage == EXTRACT:
        yield TaggedOutput(COUNTS, StageCount(DECODE, "videos", 1))
    yield TaggedOutput(COUNTS, StageCount(stage, "videos", 0, ((rejection.reason.value, 1),)))
    yield TaggedOutput(REJECTS, reject_row(stage, "videos", video.video_id, rejection.reason, rejection.detail))
