"""The Beam shell of extraction: video ids in, stored videos out.

Frames and features pass from step to step inside one fused stage only: they cross no shuffle and no side input.
"""

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import AsSingleton, TaggedOutput

from yt8m_pipeline import files
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
from yt8m_pipeline.dataset.manifest import StageCount, total_counts
from yt8m_pipeline.errors import DataError, VideoRejected
from yt8m_pipeline.extraction.failures import Source, check_damage
from yt8m_pipeline.extraction.feature_store import Damaged, FeatureStore, Shelf, place
from yt8m_pipeline.extraction.inception import ANY_DIMENSIONS, FeatureExtractor, load
from yt8m_pipeline.extraction.networks import device
from yt8m_pipeline.extraction.sandbox import Sandbox
from yt8m_pipeline.extraction.store_index import IndexedFile
from yt8m_pipeline.outcome import reject_video
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS, outputs_of
from yt8m_pipeline.transforms.monitoring import advance, announce, say, timed

LOGGER = logging.getLogger(__name__)

DECODE = "decode"
EXTRACT = "extract"
LOOK_UP = "look_up"
LACKING = "lacking"
CHANGED = "changed"
WARNINGS = "warnings"
WRITTEN = "written"

ONE_MORE = tuple(TaggedOutput(COUNTS, StageCount(stage, "videos", 1)) for stage in (DECODE, EXTRACT))
"""What both stages count for a video that has features."""

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


class FindInStore(beam.PTransform):
    """PCollection[Video] → outputs of a stage with the StoredVideos that the store has, `lacking`: Video, and warnings.

    A video whose failure the store remembers is rejected again, unless it is to be tried again. One whose file has
    changed since is extracted again where that is asked for (`refresh`); else its features are used, with a warning.
    Files in a bucket are looked at only then: each costs a request.

    Args:
        store: Where the features are.
        decoding: The config of decoding.
        retry: Which failures are tried again.
        refresh: Whether videos are extracted again whose files have changed.
        verify: Whether every stored file is read, also those that the store's indices know.
    """

    def __init__(
        self, store: FeatureStore, decoding: Decoding, retry: Retry, *, refresh: bool = False, verify: bool = False
    ) -> None:
        super().__init__()
        self._look_up = _LookUp(store, decoding, retry, refresh=refresh, verify=verify)

    def expand(self, videos: Any) -> Any:
        shelves = videos | "shelf" >> beam.Map(lambda video: (place(video.video_id)[0], video)) | beam.GroupByKey()
        tags = (LACKING, REJECTS, COUNTS, CHANGED)
        found = shelves | "look up" >> beam.ParDo(self._look_up).with_outputs(*tags, main=KEPT)
        warnings = found[CHANGED] | "changed" >> beam.combiners.ToList() | beam.FlatMap(changed_warning)
        total = found[LACKING] | "count" >> beam.combiners.Count.Globally()
        announced = found[LACKING] | "announce" >> beam.Map(_announced, AsSingleton(total))
        lacking = announced | beam.Reshuffle()
        return {tag: found[tag] for tag in (KEPT, REJECTS, COUNTS)} | {LACKING: lacking, WARNINGS: warnings}


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
        with timed(EXTRACT):
            return [_features(item, model) for item in batch]

    def get_num_bytes(self, batch: Sequence[FrameBatch]) -> int:
        return sum(item.frames.nbytes for item in batch)

    def get_metrics_namespace(self) -> str:
        return "yt8m_pool3"

    def should_skip_batching(self) -> bool:
        return True


class _LookUp(beam.DoFn):
    def __init__(self, store: FeatureStore, decoding: Decoding, retry: Retry, *, refresh: bool, verify: bool) -> None:
        self._store, self._decoding, self._retry = store, decoding, retry
        self._refresh, self._verify = refresh, verify

    def process(self, group: tuple[str, Iterable[Video]]) -> Iterator[Any]:
        name, videos = group
        with timed(LOOK_UP):
            shelf = self._store.shelf(name, verify=self._verify)
            answers = [answer for video in videos for answer in self._look_up(video, shelf)]
            shelf.save()
        yield from counted_together(answers)

    def _look_up(self, video: Video, shelf: Shelf) -> Iterator[Any]:
        found = shelf.find(video.video_id)
        has_changed = isinstance(found, IndexedFile) and self._has_changed(video, found)
        if isinstance(found, IndexedFile) and not (has_changed and self._refresh):
            if has_changed:
                yield TaggedOutput(CHANGED, video.video_id)
            yield from _settled(video, found.entry, self._decoding)
            return
        failure = shelf.failure(video.video_id)
        if failure and failure.counts(Source.of(video.uri), self._decoding, self._retry):
            yield from _rejected(video, failure.rejection)
            return
        if isinstance(found, Damaged):
            LOGGER.warning("stored features of %s are damaged (%s); extracting it again", video.video_id, found.reason)
        yield TaggedOutput(LACKING, video)

    def _has_changed(self, video: Video, found: IndexedFile) -> bool:
        is_looked_at = self._refresh or files.is_local(video.uri)
        return is_looked_at and found.source.has_changed(Source.of(video.uri))


def changed_warning(video_ids: Sequence[str]) -> list[str]:
    """One warning for all stored videos whose files have changed; none where none has."""
    if not video_ids:
        return []
    return [
        f"stored videos whose files have changed since, by size or modification time: {len(video_ids)}, first "
        f"{min(video_ids)}; `yt8m build --refresh` extracts them again"
    ]


def remember(written: tuple[str, Iterable[tuple[str, IndexedFile]]], store: FeatureStore) -> None:
    """Adds what has been written on a shelf to its index."""
    name, indexed = written
    shelf = store.shelf(name)
    for video_id, file in indexed:
        shelf.remember(video_id, file)
    shelf.save()


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
    with timed(DECODE):
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
            advance(EXTRACT)
            self._store.write_failure(video.video_id, ending.source, self._decoding, rejection)
            yield from _rejected(video, rejection)
            return
        advance(EXTRACT, frames=entry.frames)
        written = self._store.indexed(video.video_id, ending.source, entry)
        if written:
            yield TaggedOutput(WRITTEN, (place(video.video_id)[0], (video.video_id, written)))
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
        features = np.concatenate([batch.features for batch in batches if len(batch.features)]).astype(self._dtype)
        if not np.isfinite(features).all():
            bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            detail = f"frame {bad} has NaN or Inf features"
            raise VideoRejected(DropReason.NON_FINITE_FEATURES, detail, ending.result)
        pts_seconds = np.concatenate([batch.pts_seconds for batch in batches])
        stored = VideoFeatures(video.video_id, features, pts_seconds)
        return self._store.write(stored, ending.source, ending.result, self._decoding.rate)


def counted_together(outputs: Iterable[Any]) -> Iterator[Any]:
    """Outputs of a stage, their counts added up: one element for an engine to carry instead of two per video."""
    counts: list[StageCount] = []
    for output in outputs:
        if isinstance(output, TaggedOutput) and output.tag == COUNTS:
            counts.append(output.value)
        else:
            yield output
    yield from (TaggedOutput(COUNTS, count) for count in total_counts(counts))


def _settled(video: Video, entry: StoredEntry, decoding: Decoding) -> Iterator[Any]:
    """A stage's outputs for a video with features: the same whether they are fresh, stored or recalled."""
    try:
        check_damage(entry.decoded_fraction, decoding)
    except VideoRejected as rejection:
        yield from _rejected(video, rejection)
        return
    yield from ONE_MORE
    yield StoredVideo(video, entry)


def _rejected(video: Video, rejection: VideoRejected) -> Iterator[TaggedOutput]:
    stage = EXTRACT if rejection.reason == DropReason.NON_FINITE_FEATURES else DECODE
    if stage == EXTRACT:
        yield TaggedOutput(COUNTS, StageCount(DECODE, "videos", 1))
    yield TaggedOutput(COUNTS, StageCount(stage, "videos", 0, ((rejection.reason.value, 1),)))
    yield TaggedOutput(REJECTS, reject_video(stage, video.video_id, video.uri, rejection))
