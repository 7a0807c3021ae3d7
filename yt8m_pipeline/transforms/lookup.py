"""The Beam shell of looking up what was extracted before: videos in; stored ones, and those that are lacking, out."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.combiners import ToList

from yt8m_pipeline import files
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import reject_video
from yt8m_pipeline.accounting.reasons import DropReason, Retry, Stage, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import Partition, StoredEntry, StoredVideo, Video
from yt8m_pipeline.dataset.index import read_parquet, recorded_entry
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.rejects import failed_videos, find_rejects, videos_rejected_later
from yt8m_pipeline.decoding.damage import check_damage, conditions
from yt8m_pipeline.errors import DataError, printable
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import Damaged, FeatureStore, Shelf, place
from yt8m_pipeline.store.index import IndexedFile
from yt8m_pipeline.transforms.ledger import (
    COUNTS,
    KEPT,
    REJECTS,
    Outputs,
    SeveralOutputs,
    Tagged,
    counted_together,
    typed_step,
)
from yt8m_pipeline.transforms.monitoring import announce, timed
from yt8m_pipeline.transforms.steps import FlatMap, Map, NotingDoFn

LOGGER = logging.getLogger(__name__)

LOOK_UP = "look_up"
LACKING = "lacking"
CHANGED = "changed"
UNLISTED = "unlisted"
"""In place of the partition of a video that was extracted and is in none."""

ONE_MORE = tuple(TaggedOutput(COUNTS, StageCount(stage, "videos", 1)) for stage in (Stage.DECODE, Stage.EXTRACT))
"""What both stages count for a video that has features."""


class Found(NamedTuple):
    """What is known of videos before any is decoded.

    Attributes:
        outputs: The StoredVideos that the store has, the videos that are rejected again, and their counts.
        lacking: The videos that have to be extracted.
        warnings: What the user should know.
    """

    outputs: Outputs[StoredVideo]
    lacking: PCollection[Video]
    warnings: PCollection[str]


@dataclass
class FindInStore(SeveralOutputs[PCollection[Video], Found]):
    """PCollection[Video] → what the store has of them, those that it lacks, and warnings.

    A video whose failure the store remembers is rejected again, unless it is to be tried again. One whose file has
    changed since is extracted again where that is asked for (`refresh`); else its features are used, with a warning.
    Files in a bucket are looked at only then: each costs a request.

    Attributes:
        store: Where the features are.
        decoding: The config of decoding.
        retry: Which failures are tried again.
        refresh: Whether videos are extracted again whose files have changed.
        verify: Whether every stored file is read, also those that the store's indices know.
    """

    store: FeatureStore
    decoding: Decoding
    retry: Retry
    refresh: bool = False
    verify: bool = False

    def expand(self, videos: PCollection[Video]) -> Found:
        look_up = LookUp(self.store, self.decoding, self.retry, refresh=self.refresh, verify=self.verify)
        shelves = videos | "shelf" >> Map(_with_shelf) | beam.GroupByKey()
        step = typed_step(look_up, StoredVideo, lacking=Video, changed=str)
        found = shelves | "look up" >> step.with_outputs(LACKING, REJECTS, COUNTS, CHANGED, main=KEPT)
        warnings = found[CHANGED] | "changed" >> ToList() | FlatMap(changed_warning)
        lacking = found[LACKING] | beam.Reshuffle()
        return Found(Outputs(found[KEPT], found[REJECTS], found[COUNTS]), lacking, warnings)


def _with_shelf(video: Video) -> tuple[str, Video]:
    return place(video.video_id)[0], video


class Recalled(NamedTuple):
    """What a finished dataset says of the videos of the partitions that stay as they are.

    Attributes:
        outputs: The StoredVideos and the rejects that it lists.
        unlisted: The videos whose features it does not list, since it rejected them after extraction, or lists for the
            partition that is written anew, to which their film moved them.
    """

    outputs: Outputs[StoredVideo]
    unlisted: PCollection[Video]


@dataclass
class RecallVideos(SeveralOutputs[PCollection[Video], Recalled]):
    """PCollection[Video] of partitions that stay as they are → what the dataset lists of them, and the others.

    Attributes:
        layout: Where the dataset is.
        decoding: The config of decoding.
        anew: The partition that is written anew; None: no video is recalled.
    """

    layout: Layout
    decoding: Decoding
    anew: Partition | None

    def expand(self, videos: PCollection[Video]) -> Recalled:
        step = typed_step(_Recall(self.layout, self.decoding, self.anew), StoredVideo, lacking=Video)
        found = videos | step.with_outputs(LACKING, REJECTS, COUNTS, main=KEPT)
        return Recalled(Outputs(found[KEPT], found[REJECTS], found[COUNTS]), found[LACKING])


class LookUp(NotingDoFn):
    """A shelf's name and its videos → what its index, or else its files, say of each."""

    def __init__(self, store: FeatureStore, decoding: Decoding, retry: Retry, *, refresh: bool, verify: bool) -> None:
        self._store, self._decoding, self._retry = store, decoding, retry
        self._refresh, self._verify = refresh, verify

    def process(self, group: tuple[str, Iterable[Video]]) -> Iterator[Any]:
        name, videos = group
        with timed(LOOK_UP):
            shelf = self._store.shelf(name, verify=self._verify)
            answers = [answer for video in videos for answer in self._look_up(video, shelf)]
            shelf.save()
        lacking = sum(isinstance(answer, TaggedOutput) and answer.tag == LACKING for answer in answers)
        if lacking:
            announce(Stage.EXTRACT, lacking)
        yield from counted_together(answers)

    def _look_up(self, video: Video, shelf: Shelf) -> Iterator[StoredVideo | Tagged]:
        found = shelf.find(video.video_id)
        has_changed = isinstance(found, IndexedFile) and self._has_changed(video, found)
        if isinstance(found, IndexedFile) and not (has_changed and self._refresh):
            if has_changed:
                yield TaggedOutput(CHANGED, video.video_id)
            yield from settled(video, found.entry, self._decoding)
            return
        failure = shelf.failure(video.video_id)
        if failure and failure.counts(Source.of(video.uri), conditions(self._decoding), self._retry):
            yield from rejected(video, failure.rejection)
            return
        if isinstance(found, Damaged):
            name, reason = printable(video.video_id), printable(found.reason)
            LOGGER.warning("stored features of %s are damaged (%s); extracting it again", name, reason)
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
        f"{min(video_ids)}; `--refresh` extracts them again"
    ]


@dataclass
class WarnOfHighDynamicRange(beam.PTransform[PCollection[StoredVideo], PCollection[str]]):
    """PCollection[StoredVideo] → one warning for all videos of high dynamic range; none where there is none."""

    def expand(self, stored: PCollection[StoredVideo]) -> PCollection[str]:
        ids = stored | "high dynamic range" >> FlatMap(_id_of_high_dynamic_range)
        return ids | "their ids" >> ToList() | "their warning" >> FlatMap(high_dynamic_range_warning)


def _id_of_high_dynamic_range(stored: StoredVideo) -> list[str]:
    return [stored.video.video_id] if stored.entry.transfer else []


def high_dynamic_range_warning(video_ids: Sequence[str]) -> list[str]:
    """One warning for all videos of these ids; none where there are none."""
    if not video_ids:
        return []
    return [
        f"videos of high dynamic range (PQ or HLG), whose frames are not tone-mapped and look dull: {len(video_ids)}, "
        f"first {min(video_ids)}; `yt8m probe` names the transfer function, also of videos that version 0.1.0 has "
        "stored, which do not count here"
    ]


class _Recall(NotingDoFn):
    def __init__(self, layout: Layout, decoding: Decoding, anew: Partition | None) -> None:
        self._layout, self._decoding, self._anew = layout, decoding, anew
        self._rows: dict[str, dict[str, Any]] | None = None

    def process(self, video: Video) -> Iterator[Any]:
        self._rows = self._rows or _recorded(self._layout)
        row = self._rows.get(video.video_id)
        if row is None:
            raise DataError(
                what=f"The {video.partition} partition is no longer what the dataset holds; it would be out of date",
                where=f"video {video.video_id}",
                why="the dataset has no such video: the tables or the config changed",
                fix="run `yt8m build`, which writes every partition that changed",
            )
        if "reason" in row:
            rejection = VideoRejected(DropReason(row["reason"]), row["detail"], row["decoded_fraction"])
            yield from rejected(video, rejection)
            return
        if row["partition"] in (UNLISTED, self._anew):
            yield TaggedOutput(LACKING, video)
            return
        yield from settled(video, recorded_entry(row), self._decoding)


def _recorded(layout: Layout) -> dict[str, dict[str, Any]]:
    """What a finished dataset says of each video that was selected for it: a row of videos.parquet or of rejects."""
    rejects = find_rejects(layout)
    rows = {row["id"]: row for row in failed_videos(layout, rejects)}
    rows |= {video_id: {"partition": UNLISTED} for video_id in videos_rejected_later(layout, rejects)}
    return rows | {row["video_id"]: row for row in read_parquet(layout, Layout.VIDEOS).to_pylist()}


def settled(video: Video, entry: StoredEntry, decoding: Decoding) -> Iterator[StoredVideo | Tagged]:
    """A stage's outputs for a video with features: the same whether they are fresh, stored or recalled."""
    try:
        check_damage(entry.decoded_fraction, decoding)
    except VideoRejected as rejection:
        yield from rejected(video, rejection)
        return
    yield from ONE_MORE
    yield StoredVideo(video, entry)


def rejected(video: Video, rejection: VideoRejected) -> Iterator[Tagged]:
    """A stage's outputs for a video without features, whichever stage found that out."""
    stage = Stage.EXTRACT if rejection.reason == DropReason.NON_FINITE_FEATURES else Stage.DECODE
    if stage == Stage.EXTRACT:
        yield TaggedOutput(COUNTS, StageCount(Stage.DECODE, "videos", 1))
    yield TaggedOutput(COUNTS, StageCount(stage, "videos", 0, ((rejection.reason.value, 1),)))
    yield TaggedOutput(REJECTS, reject_video(stage, video.video_id, video.uri, rejection))
