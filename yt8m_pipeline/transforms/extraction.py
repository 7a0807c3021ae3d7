"""The Beam shell of extraction: video ids in, stored videos out.

Frames and features pass from step to step inside one fused stage only: they cross no shuffle and no side input.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import TaggedOutput

from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.config import Decoding, Inception
from yt8m_pipeline.data_model import Float32Array, Float64Array, StoredEntry, UInt8Array, Video
from yt8m_pipeline.decoding.damage import conditions
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.extraction.inception import ANY_DIMENSIONS, FeatureExtractor, load
from yt8m_pipeline.extraction.networks import device
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore, place
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.store.index import IndexedFile
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS
from yt8m_pipeline.transforms.lookup import rejected, settled
from yt8m_pipeline.transforms.monitoring import advance, say, timed

WRITTEN = "written"

MAX_BATCH_BYTES = 128 * 2**20
"""Of decoded frames that go to the network together: five of 4K UHD in their own size."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How decoding ended: the file as it was when it began, and the share of sound frames or why there are none."""

    source: Source
    result: float | VideoRejected


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Successive frames of one video: uint8 (n, height, width, 3), pts float64 (n,); the last batch is its ending."""

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


class DecodeFrames(beam.PTransform):
    """PCollection[Video] → PCollection[[FrameBatch]], each video's in order, the last one marked."""

    def __init__(self, decoding: Decoding, inception: Inception) -> None:
        super().__init__()
        self._decoding, self._inception = decoding, inception

    def expand(self, videos: Any) -> Any:
        return videos | beam.ParDo(_Decode(self._decoding, self._inception))


class ExtractPool3(beam.PTransform):
    """PCollection[[FrameBatch]] → PCollection[FeatureBatch], by Beam's RunInference."""

    def __init__(self, inception: Inception, dimensions: range = ANY_DIMENSIONS) -> None:
        super().__init__()
        self._handler = Pool3Handler(inception, dimensions)

    def expand(self, batches: Any) -> Any:
        return batches | RunInference(self._handler)


class StoreFeatures(beam.PTransform):
    """PCollection[FeatureBatch] → PCollection[StoredVideo], rejects and counts; a file per video, then the indices."""

    def __init__(self, store: FeatureStore, decoding: Decoding, dtype: str) -> None:
        super().__init__()
        self._store, self._write = store, _Store(store, decoding, dtype)

    def expand(self, batches: Any) -> Any:
        stored = batches | "store" >> beam.ParDo(self._write).with_outputs(REJECTS, COUNTS, WRITTEN, main=KEPT)
        _ = stored[WRITTEN] | "shelf" >> beam.GroupByKey() | "index" >> beam.Map(remember, self._store)
        return stored


class LazyExtractor:
    """A feature extractor that loads its model when the first frames come: a resumed build may need none.

    The threads of a process share one (RunInference sees to it), and so one model.
    """

    def __init__(self, inception: Inception, dimensions: range) -> None:
        self._inception, self._dimensions = inception, dimensions
        self._loading = Lock()
        self._extractor: FeatureExtractor | None = None

    def loaded(self) -> FeatureExtractor:
        with self._loading:
            if self._extractor is None:
                self._extractor = load(self._inception, self._dimensions)
                say(f"the network runs on {device()}, in {self._inception.precision} precision")
        return self._extractor


class Pool3Handler(ModelHandler[FrameBatch, FeatureBatch, LazyExtractor]):
    """Runs the network on the micro-batches that the decoder made; elements are batches already."""

    def __init__(self, inception: Inception, dimensions: range) -> None:
        super().__init__()
        self._inception, self._dimensions = inception, dimensions

    def load_model(self) -> LazyExtractor:
        return LazyExtractor(self._inception, self._dimensions)

    def run_inference(
        self,
        batch: Sequence[FrameBatch],
        model: LazyExtractor,
        inference_args: object = None,  # noqa: ARG002
    ) -> Iterable[FeatureBatch]:
        with timed(Stage.EXTRACT):
            return [_features(item, model) for item in batch]

    def get_num_bytes(self, batch: Sequence[FrameBatch]) -> int:
        return sum(item.frames.nbytes for item in batch)

    def get_metrics_namespace(self) -> str:
        return "yt8m_pool3"

    def should_skip_batching(self) -> bool:
        return True


def remember(written: tuple[str, Iterable[tuple[str, IndexedFile]]], store: FeatureStore) -> None:
    """Adds what has been written on a shelf to its index."""
    name, indexed = written
    shelf = store.shelf(name)
    for video_id, file in indexed:
        shelf.remember(video_id, file)
    shelf.save()


class _Decode(beam.DoFn):
    def __init__(self, decoding: Decoding, inception: Inception) -> None:
        self._decoding, self._inception = decoding, inception

    def setup(self) -> None:
        self._sandbox = Sandbox(self._decoding, self._inception.decoded_size)

    def teardown(self) -> None:
        self._sandbox.close()

    def process(self, video: Video) -> Iterator[list[FrameBatch]]:
        source = Source.of(video.uri)
        if source.size:
            yield [_no_frames(video)]  # the network is loaded before the first film is opened, if there is one
        with closing(self._sandbox.decode(video.uri)) as frames:
            decoded = DecodedFrames(frames)
            batches = frame_batches(video, decoded, self._inception.batch_size)
            try:
                while batch := _next(batches):
                    yield [batch]
                result: float | VideoRejected = decoded.decoded_fraction
            except VideoRejected as rejection:
                result = rejection
        yield [_no_frames(video, Ending(source, result))]


def _no_frames(video: Video, ending: Ending | None = None) -> FrameBatch:
    return FrameBatch(video, np.empty((0, 0, 0, 3), np.uint8), np.empty(0), ending)


class DecodedFrames:
    """The frames of one video and, when they are at an end, the share that is sound."""

    def __init__(self, frames: Generator[SampledFrame, None, float]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[SampledFrame]:
        self.decoded_fraction = yield from self._frames


def frame_batches(video: Video, frames: Iterable[SampledFrame], max_frames: int) -> Iterator[FrameBatch]:
    """Successive frames of one size in batches: as many as `max_frames` and MAX_BATCH_BYTES allow, one at least."""
    waiting: list[SampledFrame] = []
    for frame in frames:
        if waiting and frame.rgb.shape != waiting[0].rgb.shape:
            yield _taken(video, waiting)
        waiting.append(frame)
        if len(waiting) == min(max_frames, max(1, MAX_BATCH_BYTES // frame.rgb.nbytes)):
            yield _taken(video, waiting)
    if waiting:
        yield _taken(video, waiting)


def _taken(video: Video, waiting: list[SampledFrame]) -> FrameBatch:
    """A batch of the frames that wait; then none does."""
    pts_seconds = np.array([frame.pts_seconds for frame in waiting])
    batch = FrameBatch(video, np.stack([frame.rgb for frame in waiting]), pts_seconds)
    waiting.clear()
    return batch


def _next(batches: Iterator[FrameBatch]) -> FrameBatch | None:
    with timed(Stage.DECODE):
        return next(batches, None)


def _features(batch: FrameBatch, model: LazyExtractor) -> FeatureBatch:
    features = np.empty((0, 0), np.float32)
    if batch.ending is None:
        extractor = model.loaded()
        features = extractor(batch.frames) if len(batch.frames) else features
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
            advance(Stage.EXTRACT)
            self._store.write_failure(video.video_id, ending.source, conditions(self._decoding), rejection)
            yield from rejected(video, rejection)
            return
        advance(Stage.EXTRACT, frames=entry.frames)
        written = self._store.indexed(video.video_id, ending.source, entry)
        if written:
            yield TaggedOutput(WRITTEN, (place(video.video_id)[0], (video.video_id, written)))
        yield from settled(video, entry, self._decoding)

    def finish_bundle(self) -> None:
        if self._pending:
            raise DataError(
                what="The engine split the batches of a video over bundles",
                where=f"video {sorted(self._pending)[0]}",
                why="DecodeFrames, ExtractPool3 and StoreFeatures must run fused",
                fix="run on an engine that fuses them, as all portable runners do by default",
            )

    def _write(self, video: Video, batches: list[FeatureBatch], ending: Ending) -> StoredEntry:
        if isinstance(ending.result, VideoRejected):
            raise ending.result
        features = np.concatenate([batch.features for batch in batches if len(batch.features)]).astype(self._dtype)
        if not np.isfinite(features).all():
            bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            detail = f"frame {bad} has NaN or Inf features"
            raise VideoRejected(DropReason.NON_FINITE_FEATURES, detail, ending.result)
        pts_seconds = np.concatenate([batch.pts_seconds for batch in batches])
        stored = VideoFeatures(video.video_id, features, pts_seconds)
        return self._store.write(stored, ending.source, ending.result, self._decoding.rate)
