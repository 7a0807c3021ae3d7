"""The Beam shell of `yt8m extract`: new videos in, and their features in the space of a finished dataset out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pipeline import Pipeline
from apache_beam.pvalue import AsSingleton, PCollection, TaggedOutput
from apache_beam.transforms.util import WaitOn

from yt8m_pipeline import files
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import Outcome
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import Config, VideoSampling
from yt8m_pipeline.data_model import Partition, StoredVideo, Video
from yt8m_pipeline.dataset.arrays import Form, FrameArrays, write_arrays
from yt8m_pipeline.dataset.index import without_train_videos, write_vocabulary
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import FileEntry, Step, require_intact
from yt8m_pipeline.jobs.sufficiency import check_failures, check_videos_left
from yt8m_pipeline.places import Places
from yt8m_pipeline.selection.labels import label_by_vocabulary
from yt8m_pipeline.tables.reading import TableFiles, schema
from yt8m_pipeline.tables.uris import accept_uris
from yt8m_pipeline.tables.video_files import GivenVideo, video_file_rows
from yt8m_pipeline.transforms.compression import load_pca, load_quantizer
from yt8m_pipeline.transforms.dataset import WRITE, Group, OnlyIf
from yt8m_pipeline.transforms.exporting import Copying
from yt8m_pipeline.transforms.ledger import (
    COUNTS,
    KEPT,
    REJECTS,
    Outputs,
    SeveralOutputs,
    settle,
    settled_by,
    typed_step,
)
from yt8m_pipeline.transforms.monitoring import announce
from yt8m_pipeline.transforms.selection import LABELS, Attached, JoinByHash, Joined, ReadTable, Tables
from yt8m_pipeline.transforms.steps import FlatMap, Map, NotingDoFn, Passes

ROWS_PER_TABLE = 1000
"""The number of listed videos that travel together."""


@dataclass
class ListNewVideos(SeveralOutputs[Pipeline, Outputs[pa.Table]]):
    """Pipeline → PCollection[pa.Table]: the rows of the videos table, or one for each video file.

    Attributes:
        videos: The files of the table, or the video files.
        places: What their uris may name.
    """

    videos: TableFiles | Sequence[GivenVideo]
    places: Places

    def expand(self, root: Pipeline) -> Outputs[pa.Table]:
        if isinstance(self.videos, TableFiles):
            return root | ReadTable(self.videos, self.places)
        starts = range(0, len(self.videos), ROWS_PER_TABLE)
        pieces = [list(self.videos[start : start + ROWS_PER_TABLE]) for start in starts]
        return settled_by(root | beam.Create(pieces), _accept, self.places)


def _accept(videos: Sequence[GivenVideo], places: Places) -> Iterator[Outcome]:
    yield accept_uris(video_file_rows(videos), places)


@dataclass
class LabelByVocabulary(SeveralOutputs[dict[str, Tables], Attached]):
    """{videos, annotations} → PCollection[pa.Table] of all videos with column `entity_ids`, which may be [].

    Attributes:
        entity_ids: The entities of the vocabulary.
        config: The lowest score of a label.
        buckets: How many elements the rows are joined in.
    """

    entity_ids: Sequence[str]
    config: VideoSampling
    buckets: int

    def expand(self, tables: Mapping[str, Tables]) -> Attached:
        columns = {"videos": ("video_id", schema("videos")), "annotations": ("video_id", schema("annotations"))}
        step = typed_step(_LabelByVocabulary(self.entity_ids, self.config), pa.Table, labels=pa.Table)
        found = tables | JoinByHash(columns, self.buckets) | step.with_outputs(REJECTS, COUNTS, LABELS, main=KEPT)
        return Attached(Outputs(found[KEPT], found[REJECTS], found[COUNTS]), found[LABELS])


class _LabelByVocabulary(NotingDoFn):
    def __init__(self, entity_ids: Sequence[str], config: VideoSampling) -> None:
        self._entity_ids, self._config = pa.array(entity_ids, pa.string()), config

    def process(self, tables: Joined) -> Iterator[Any]:
        labelled = label_by_vocabulary(
            tables["videos"], tables["annotations"], self._config, entity_ids=self._entity_ids
        )
        yield from settle(*labelled)
        yield TaggedOutput(LABELS, labelled.annotations.kept)


@dataclass
class IntoPartition(beam.PTransform[Tables, PCollection[Video]]):
    """PCollection[pa.Table] of labelled videos → PCollection[Video], all in one partition."""

    partition: Partition
    places: Places

    def expand(self, videos: Tables) -> PCollection[Video]:
        return videos | FlatMap(_videos, self.partition, self.places)


def _videos(table: pa.Table, partition: Partition, places: Places) -> Iterator[Video]:
    for row in table.select(["video_id", "uri", "entity_ids", "duration_seconds", "kept_columns"]).to_pylist():
        video_id, uri, entity_ids, seconds, kept = row.values()
        yield Video(
            video_id, places.absolute(uri), partition, tuple(entity_ids), video_id, uri, seconds, tuple(kept or ())
        )


@dataclass
class CheckExtraction(beam.PTransform[PCollection[list[StageCount]], PCollection[bool]]):
    """The counts of all stages → PCollection[bool] of one; False: too few of the videos have features.

    Attributes:
        layout: Where the features go.
        config: What is enough.
        rejects: What it waits for, so that the reasons can be read when the extraction is refused.
    """

    layout: Layout
    config: Config
    rejects: PCollection[FileEntry]

    def expand(self, counts: PCollection[list[StageCount]]) -> PCollection[bool]:
        return counts | WaitOn(self.rejects) | Passes(_check_enough, self.config, self.layout)


def _check_enough(counts: Sequence[StageCount], config: Config, layout: Layout) -> None:
    check_failures(counts, config, layout)
    check_videos_left(counts, layout)
    announce(WRITE, sum(count.kept for count in counts if (count.stage, count.table) == (Stage.EXTRACT, "videos")))


@dataclass
class CopyVocabulary(beam.PTransform[Pipeline, PCollection[FileEntry]]):
    """Pipeline → PCollection[FileEntry] of one: the vocabulary of the source, of which no label has train videos here.

    Attributes:
        copying: From where to where.
        vocabulary: The file.
        passed: The verdict on what is written.
    """

    copying: Copying
    vocabulary: FileEntry
    passed: PCollection[bool]

    def expand(self, root: Pipeline) -> PCollection[FileEntry]:
        return root | beam.Create([self.vocabulary]) | OnlyIf(self.passed) | Map(_copy_vocabulary, self.copying)


def _copy_vocabulary(file: FileEntry, copying: Copying) -> FileEntry:
    require_intact(copying.source, file)
    text = without_train_videos(files.read_bytes(copying.source.path(file.path)))
    return write_vocabulary(copying.target, text, frozen=False)


@dataclass
class WriteArrays(beam.PTransform[PCollection[Group], PCollection[FileEntry]]):
    """PCollection[Group] → PCollection[FileEntry]: the times of all frames, and features as other programs read them.

    Attributes:
        copying: Where the features are, and where the files go.
        form: What the features are written as.
        raw: Whether these are the network's own features, as stored, and not the values that the codes stand for.
        pca: The PCA.
        quantizer: The codebook.
    """

    copying: Copying
    form: Form
    raw: bool
    pca: PCollection[Step]
    quantizer: PCollection[Step]

    def expand(self, groups: PCollection[Group]) -> PCollection[FileEntry]:
        sides = (AsSingleton(self.pca), AsSingleton(self.quantizer))
        return groups | FlatMap(_write_arrays, self.copying, self.form, *sides, raw=self.raw)


def _write_arrays(
    group: Group, copying: Copying, form: Form, pca: Step, quantizer: Step, *, raw: bool
) -> Iterator[FileEntry]:
    shard, stored = group
    if stored:
        yield from write_arrays(copying.target, shard, _arrays(stored, copying, pca, quantizer, raw=raw), form)


def _arrays(
    stored: Iterable[StoredVideo], copying: Copying, pca: Step, quantizer: Step, *, raw: bool
) -> Iterator[FrameArrays]:
    store, layout = copying.store, copying.target
    assert store  # noqa: S101  an extraction has one
    whitening, codebook = load_pca(layout, pca), load_quantizer(layout, quantizer)
    for item in stored:
        video = store.read(item.video.video_id)
        coded = video.features if raw else codebook.decode(codebook.encode(whitening.transform(video.features)))
        yield FrameArrays(video.video_id, coded, video.pts_seconds)
