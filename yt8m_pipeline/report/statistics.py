"""The statistics of a finished dataset (paper §3.4), in one pass over its tables and in bounded memory.

videos.parquet is read in batches, and what is kept of a batch are sums: 8 million videos and 4,800 classes need the
memory of one batch and of some counts (figures: scripts/bench_report.py). What the manifest says already, such as the
rows that each stage rejected, is taken from there.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline import files
from yt8m_pipeline.data_model import MAX_COUNT, MAX_FRAMES, Float64Array, Int64Array, Partition, Specificity
from yt8m_pipeline.dataset.index import VIDEOS, streamed
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, require_intact_tables
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.dataset.typed_rows import typed
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.report import sources
from yt8m_pipeline.report.sources import SourceCounts
from yt8m_pipeline.report.spread import PARTITIONS, Spread

BATCH = 1 << 16
"""The rows of videos.parquet that are read at once. The largest arrays of a batch have some labels for each: 10 MB."""

LABEL_BINS, FRAME_BINS, SECOND_BINS = 51, 3_601, 7_201
"""Videos with 50 labels or more, an hour of frames or more, or two hours or more, are counted together."""

CODED_FRAMES = 20_000
"""The frames whose codes are counted. Videos are in shards by hash, so the first ones are a random sample."""

MAX_SECONDS = MAX_FRAMES
"""A duration from here on is none: 68 years."""

COLUMNS = ("partition", "labels", "frames", "duration_seconds", "decoded_fraction", *sources.NAMES, *sources.NUMBERS)


@dataclass(frozen=True, slots=True)
class EntityRow:
    """A row of vocabulary.csv, as far as statistics need it.

    Attributes:
        entity_id: Its id.
        name: Its name, or its id where it has none.
        verticals: Its top-level categories, none to three.
        specificity: "coarse", "medium" or "fine"; "" if nobody rated it.
    """

    entity_id: str
    name: str
    verticals: tuple[str, ...]
    specificity: str


@dataclass(frozen=True, eq=False, slots=True)
class VideoCounts:
    """What the rows of videos.parquet add up to. A monoid.

    Attributes:
        labels: int64, (partitions, classes): the videos of each class.
        verticals: int64, (verticals,): the train videos with a label of the vertical, each counted once.
        labels_per_video: Of the videos whose labels are known.
        frames: The frames of each video.
        seconds: The durations of the videos whose duration is known.
        salvaged: int64, (partitions,): the videos that lack a sound frame for some of their grid times.
        lost: float64, (partitions,): the sum of the shares of grid times that these lack.
        sources: What their files are.
    """

    labels: Int64Array
    verticals: Int64Array
    labels_per_video: Spread
    frames: Spread
    seconds: Spread
    salvaged: Int64Array
    lost: Float64Array
    sources: SourceCounts

    @classmethod
    def zero(cls, classes: int, verticals: int) -> "VideoCounts":
        parts = len(PARTITIONS)
        return cls(
            labels=np.zeros((parts, classes), np.int64),
            verticals=np.zeros(verticals, np.int64),
            labels_per_video=Spread.zero(LABEL_BINS),
            frames=Spread.zero(FRAME_BINS),
            seconds=Spread.zero(SECOND_BINS),
            salvaged=np.zeros(parts, np.int64),
            lost=np.zeros(parts),
            sources=SourceCounts.zero(),
        )

    def __add__(self, other: "VideoCounts") -> "VideoCounts":
        return VideoCounts(
            self.labels + other.labels,
            self.verticals + other.verticals,
            self.labels_per_video + other.labels_per_video,
            self.frames + other.frames,
            self.seconds + other.seconds,
            self.salvaged + other.salvaged,
            self.lost + other.lost,
            self.sources + other.sources,
        )


@dataclass(frozen=True, eq=False, slots=True)
class CodeCounts:
    """How often the codes of a sample of videos are used (paper §3.3).

    Attributes:
        partition: Whose videos; None where the dataset has none.
        videos: How many they are.
        frames: How many frames they have.
        counts: int64, (levels,): how often each code stands for a coefficient.
    """

    partition: Partition | None
    videos: int
    frames: int
    counts: Int64Array

    @property
    def bits(self) -> float | None:
        """The entropy of the codes, in bits: at most the 8 that are stored; None where there are no codes."""
        shares = self.counts[self.counts > 0] / max(self.counts.sum(), 1)
        return float(-(shares * np.log2(shares)).sum()) + 0.0 if len(shares) else None


@dataclass(frozen=True, eq=False, slots=True)
class DatasetStatistics:
    """The statistics of a dataset.

    Attributes:
        manifest: Its manifest.
        entities: Its classes, in the order of their label indices.
        verticals: The names of the verticals that they have, sorted.
        counted: The partitions whose labels are counted: those that are published, and test if it was asked for.
        videos: What its videos add up to.
        codes: How the codes of some of its videos are used.
    """

    manifest: Manifest
    entities: tuple[EntityRow, ...]
    verticals: tuple[str, ...]
    counted: frozenset[Partition]
    videos: VideoCounts
    codes: CodeCounts

    @property
    def videos_of_entities(self) -> Int64Array:
        """int64, (classes,): the videos of each class in all partitions whose labels are counted."""
        total: Int64Array = self.videos.labels.sum(axis=0)
        return total

    def number_of_videos(self, partition: Partition) -> int:
        return int(self.videos.frames.part(partition).number)

    def lacking(self, partition: Partition) -> Int64Array:
        """The label indices of the classes that no video of a partition has, whose labels are counted."""
        return np.flatnonzero(self.videos.labels[PARTITIONS.index(partition)] == 0)

    def specificities(self) -> dict[str, int]:
        """The number of entities of each specificity (paper Figure 4b); empty if none was rated."""
        counts = {kind.value: sum(row.specificity == kind.value for row in self.entities) for kind in Specificity}
        return counts if any(counts.values()) else {}

    def entities_of_verticals(self) -> dict[str, Int64Array]:
        """The label indices of each vertical, in the order of the number of their videos, the most first."""
        order = self.by_videos()
        of: dict[str, list[int]] = {name: [] for name in self.verticals}
        for index in order:
            for name in self.entities[index].verticals:
                of[name].append(int(index))
        return {name: np.array(indices, np.int64) for name, indices in of.items()}

    def by_videos(self) -> Int64Array:
        """int64, (classes,): the label indices, those with most videos first, ties by index."""
        order: Int64Array = np.argsort(-self.videos_of_entities, kind="stable")
        return order


def measure_dataset(dataset: str, *, with_withheld: bool = False) -> DatasetStatistics:
    """Measures a finished dataset.

    Args:
        dataset: The folder, local or gs://.
        with_withheld: Whether the withheld labels of test videos are counted too.

    Raises:
        UsageError: there is no dataset in the folder; or nothing is withheld, or what is withheld is not there.
        DataError: the build is not finished, or a file is damaged.
    """
    opened = open_dataset(dataset)
    layout, manifest = opened.layout, Manifest.of(opened.layout)
    withheld = [_withheld_labels(layout, manifest)] if with_withheld else []
    require_intact_tables(layout, manifest, Layout.VIDEOS, Layout.VOCABULARY, *withheld)
    entities = tuple(_read_vocabulary(layout))
    verticals = tuple(sorted({name for entity in entities for name in entity.verticals}))
    counter = VideoCounter.of(layout.path(Layout.VIDEOS), manifest.published, entities, verticals)
    try:
        total = reduce(add, map(counter.count, _batches(layout, Layout.VIDEOS, COLUMNS)), counter.zero)
        for path in withheld:
            total = reduce(add, map(counter.count_withheld, _batches(layout, path, ("labels",))), total)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(counter.where, str(error)) from None
    counted = manifest.published | {Partition.TEST for _ in withheld}
    return DatasetStatistics(manifest, entities, verticals, counted, total, count_codes(opened))


def _withheld_labels(layout: Layout, manifest: Manifest) -> str:
    """The path of the withheld labels in the dataset."""
    why = None
    if Partition.TEST in manifest.published:
        why = "its test labels are published, and counted without it"
    elif not files.exists(layout.path(Layout.TEST_LABELS)):
        why = f"{Layout.TEST_LABELS} is not in the folder, as in a copy for the public"
    if why:
        fix = "leave --with-withheld out"
        raise UsageError(what="The dataset has no withheld labels to count", where=layout.root, why=why, fix=fix)
    return Layout.TEST_LABELS


def _read_vocabulary(layout: Layout) -> Iterator[EntityRow]:
    """The rows of vocabulary.csv; older and converted datasets lack some of its columns."""
    path = layout.path(Layout.VOCABULARY)
    try:
        for row in vocabulary_rows(files.read_bytes(path)):
            values = {name: value or "" for name, value in row.items() if isinstance(name, str)}
            verticals = dict.fromkeys(values.get(f"Vertical{number}", "") for number in (1, 2, 3))
            entity_id = values.get("KnowledgeGraphId", "")
            name = values.get("Name", "") or entity_id or f"class {values.get('Index', '')}"
            yield EntityRow(entity_id, name, tuple(filter(None, verticals)), values.get("Specificity", ""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, str(error)) from None


def _batches(layout: Layout, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with files.open_read(layout.path(name)) as stream:
        table = streamed(stream)
        known = [name for name in columns if name in table.schema_arrow.names]
        for found in table.iter_batches(BATCH, columns=known):
            yield from typed(pa.Table.from_batches([found]), VIDEOS).to_batches()


@dataclass(frozen=True, eq=False, slots=True)
class VideoCounter:
    """Counts the rows of the tables of videos.

    Attributes:
        where: The place of videos.parquet, for errors.
        published: The partitions whose labels are counted there.
        verticals_of: int64, (classes, 3): the places of the verticals of each class in the list of all; -1 for none.
        verticals: The number of verticals.
    """

    where: str
    published: frozenset[Partition]
    verticals_of: Int64Array
    verticals: int

    @classmethod
    def of(
        cls, where: str, published: frozenset[Partition], entities: Sequence[EntityRow], verticals: Sequence[str]
    ) -> "VideoCounter":
        place = {name: index for index, name in enumerate(verticals)}
        padded = [([place[name] for name in entity.verticals] + [-1, -1, -1])[:3] for entity in entities]
        return cls(where, published, np.array(padded, np.int64).reshape(-1, 3), len(verticals))

    @property
    def zero(self) -> VideoCounts:
        return VideoCounts.zero(len(self.verticals_of), self.verticals)

    def count(self, batch: pa.RecordBatch) -> VideoCounts:
        """Counts some rows of videos.parquet.

        Raises:
            DataError: one has a partition or a label that there is not, or no number of frames.
        """
        parts = self._partitions(_column(batch, "partition"))
        seconds, frames = _numbers(_column(batch, "duration_seconds")), _numbers(_column(batch, "frames"))
        lost = np.clip(1 - np.nan_to_num(_numbers(_column(batch, "decoded_fraction")), nan=1.0), 0, 1)
        is_known = (seconds >= 0) & (seconds < MAX_SECONDS)
        if not ((frames >= 0) & (frames < MAX_FRAMES)).all():
            raise _damaged(self.where, "a row has no number of frames")
        shown = np.array([part in self.published for part in PARTITIONS])[parts]
        labelled = self._count_labels(_column(batch, "labels").filter(pa.array(shown)), parts[shown])
        return replace(
            labelled,
            frames=Spread.of(parts, frames, FRAME_BINS),
            seconds=Spread.of(parts[is_known], seconds[is_known], SECOND_BINS),
            salvaged=np.bincount(parts[lost > 0], minlength=len(PARTITIONS)),
            lost=np.bincount(parts, lost, minlength=len(PARTITIONS)).astype(np.float64),
            sources=_count_sources(batch, parts, frames, np.where(is_known, seconds, np.nan)),
        )

    def count_withheld(self, batch: pa.RecordBatch) -> VideoCounts:
        """Counts some rows of the withheld labels, which are all of test."""
        test = np.full(batch.num_rows, PARTITIONS.index(Partition.TEST))
        return self._count_labels(_column(batch, "labels"), test)

    def _partitions(self, column: pa.Array) -> Int64Array:
        found = pc.index_in(column, pa.array([part.value for part in PARTITIONS]))
        if found.null_count:
            raise _damaged(self.where, f"a row is in none of the partitions {', '.join(PARTITIONS)}")
        return np.asarray(found).astype(np.int64)

    def _count_labels(self, lists: pa.Array, parts: Int64Array) -> VideoCounts:
        """Counts labels. A video whose labels are null is in no count."""
        classes, videos = len(self.verticals_of), np.asarray(pc.list_parent_indices(lists)).astype(np.int64)
        labels = _numbers(pc.list_flatten(lists))
        if not ((labels >= 0) & (labels < classes)).all():
            raise _damaged(self.where, f"a row has a label that is none of the {classes} of {Layout.VOCABULARY}")
        indices, lengths = labels.astype(np.int64), _numbers(pc.list_value_length(lists))
        of_parts = np.bincount(parts[videos] * classes + indices, minlength=len(PARTITIONS) * classes)
        is_train = parts[videos] == PARTITIONS.index(Partition.TRAIN)
        is_known = np.isfinite(lengths)
        return replace(
            self.zero,
            labels=of_parts.reshape(len(PARTITIONS), classes),
            verticals=self._count_verticals(videos[is_train], indices[is_train]),
            labels_per_video=Spread.of(parts[is_known], lengths[is_known], LABEL_BINS),
        )

    def _count_verticals(self, videos: Int64Array, labels: Int64Array) -> Int64Array:
        """int64, (verticals,): the videos with a label of each vertical, each counted once."""
        found = self.verticals_of[labels]
        pairs = (videos[:, None] * self.verticals + found)[found >= 0]
        return np.bincount(np.unique(pairs) % max(self.verticals, 1), minlength=self.verticals)


def count_codes(opened: FinishedDataset) -> CodeCounts:
    """Counts the codes of the first videos of validate, which no codebook is fitted on; else of train or test."""
    levels = opened.quantizer.length
    counts, videos, frames = np.zeros(levels, np.int64), 0, 0
    sizes = {part: sum(shard.records for shard in opened.shards("frame", part)) for part in PARTITIONS}
    order = (Partition.VALIDATE, Partition.TRAIN, Partition.TEST)
    partition = next((part for part in order if sizes[part]), None)
    for example in opened.frames(partition) if partition else ():
        counts += np.bincount(example.codes.ravel(), minlength=levels)
        videos, frames = videos + 1, frames + len(example.codes)
        if frames >= CODED_FRAMES:
            break
    return CodeCounts(partition, videos, frames, counts)


def _count_sources(
    batch: pa.RecordBatch, parts: Int64Array, frames: Float64Array, seconds: Float64Array
) -> SourceCounts:
    names = {name: _column(batch, name) for name in sources.NAMES}
    told = {name: _numbers(_column(batch, name)) for name in sources.NUMBERS}
    numbers = {name: np.where((column >= 0) & (column < MAX_COUNT), column, np.nan) for name, column in told.items()}
    return SourceCounts.of(names, {**numbers, "duration_seconds": seconds}, parts, frames)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column; nulls where there is none, as version 0.1.0 wrote no durations."""
    return batch[name] if name in batch.schema.names else pa.nulls(batch.num_rows, pa.string())


def _numbers(column: pa.Array) -> Float64Array:
    """A column as float64, (rows,): NaN for null. Label indices and numbers of frames are far below 2**53."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _damaged(where: str, why: str) -> DataError:
    return DataError(
        what="A table of the dataset is damaged",
        where=where,
        why=" ".join(why.split()),
        fix="list all damage with `yt8m verify`; build the dataset again",
    )
