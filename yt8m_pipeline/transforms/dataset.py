"""The Beam shell of the dataset on disk: stored videos in, shards, tables and manifest out."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsDict, AsIter, AsSingleton, PCollection
from apache_beam.transforms.util import WaitOn

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.compression.histogram import Scope
from yt8m_pipeline.compression.whiteness import Suitability, Whitening, warnings_of_few_frames
from yt8m_pipeline.config import Config, Decoding, Shards
from yt8m_pipeline.data_model import Float32Array, Partition, StoredVideo, Video
from yt8m_pipeline.dataset.description import describe_dataset
from yt8m_pipeline.dataset.index import (
    label_indices,
    video_rows,
    vocabulary_csv,
    write_videos,
    write_vocabulary,
)
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import PUBLISHED, PartitionSummary, fitted_row, shard_parts
from yt8m_pipeline.dataset.rejects import WrittenPart, write_summary
from yt8m_pipeline.dataset.shards import Member, shard_key, shard_of, shards_for, write_shard
from yt8m_pipeline.dataset.steps import PCA, QUANTIZER, CodebookFacts, CodebookStep, FileEntry, PcaFacts, PcaStep, Step
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.jobs.sufficiency import (
    check_failures,
    check_given_partitions,
    check_partitions,
    check_rest_unchanged,
    check_selected_frames,
    check_train_frames,
    check_videos_left,
    empty_partition_warnings,
    most_frames,
)
from yt8m_pipeline.selection.duplicate_films import Cluster
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.transforms.combiners import Sum
from yt8m_pipeline.transforms.compression import load_pca, load_quantizer
from yt8m_pipeline.transforms.duplicate_films import FindSameUri
from yt8m_pipeline.transforms.monitoring import advance, announce, timed
from yt8m_pipeline.transforms.steps import FlatMap, Map, Passes

T = TypeVar("T")

WRITE = "write"
FEATURES = "features"
"""What a dataset is encoded from, in its manifest: the features of the store, not the codes of another dataset."""

Group: TypeAlias = tuple[Shard, list[StoredVideo]]
"""The videos of a shard, sorted by id."""


@dataclass
class DecideShards(beam.PTransform[PCollection[Step], PCollection[dict[str, int]]]):
    """PCollection[Step] of the PCA → PCollection[dict] of one: partition → the number of its shards.

    Attributes:
        shards: The numbers, or which of them are decided by the size of the partition.
        summaries: The summaries of the partitions.
    """

    shards: Shards
    summaries: PCollection[tuple[str, PartitionSummary]]

    def expand(self, pca: PCollection[Step]) -> PCollection[dict[str, int]]:
        return pca | Map(_numbers_of_shards, AsDict(self.summaries), self.shards)


def _numbers_of_shards(pca: Step, summaries: Mapping[str, PartitionSummary], shards: Shards) -> dict[str, int]:
    components = pca.facts.components
    decided = {part: shards_for(summaries.get(part.value, PartitionSummary()), components) for part in Partition}
    return {part.value: shards.of(part) or decided[part] for part in Partition}


@dataclass
class GroupByShard(beam.PTransform[PCollection[StoredVideo], PCollection[Group]]):
    """PCollection[StoredVideo] → PCollection[Group], shards without videos too.

    Attributes:
        salt: The salt of the hash that chooses the shard of a video.
        sizes: The number of shards of each partition, or nothing, if nothing is to be written.
    """

    salt: str
    sizes: PCollection[dict[str, int]]

    def expand(self, stored: PCollection[StoredVideo]) -> PCollection[Group]:
        empty = (
            self.sizes
            | "partitions" >> beam.FlatMap(lambda sizes: sizes.items())
            | "all shards" >> beam.FlatMapTuple(empty_shards)
        )
        keyed = stored | "shard" >> Map(_with_shard, self.salt, AsSingleton(self.sizes))
        return (keyed, empty) | beam.Flatten() | beam.GroupByKey() | "sort" >> beam.MapTuple(_sorted_group)


def empty_shards(partition: str, of: int) -> Iterator[tuple[str, None]]:
    """The name of each shard of a partition, with nothing in it. A name is a key that every engine encodes alike."""
    for index in range(of):
        yield Shard(Partition(partition), index, of).name, None


def _with_shard(stored: StoredVideo, salt: str, sizes: Mapping[str, int]) -> tuple[str, StoredVideo | None]:
    video = stored.video
    return shard_of(video.video_id, video.partition, sizes[video.partition], salt).name, stored


def _sorted_group(name: str, items: Iterable[StoredVideo | None]) -> Group:
    return Shard.of_name(name), sorted((item for item in items if item), key=lambda item: item.video.video_id)


class CountTrainLabels(beam.PTransform[PCollection[StoredVideo], PCollection[Counter[str]]]):
    """PCollection[StoredVideo] → PCollection[Counter] of one: entity id → train videos in the dataset."""

    def expand(self, stored: PCollection[StoredVideo]) -> PCollection[Counter[str]]:
        train = stored | beam.Filter(lambda item: item.video.partition == Partition.TRAIN)
        return train | Map(_labels) | beam.CombineGlobally(Sum(Counter()))


def _labels(stored: StoredVideo) -> Counter[str]:
    return Counter(stored.video.entity_ids)


@dataclass
class IndexLabels(beam.PTransform[PCollection[Counter[str]], PCollection[dict[str, int]]]):
    """PCollection[Counter] and the entity tables → PCollection[dict] of one: entity id → label index."""

    entities: PCollection[pa.Table]

    def expand(self, train_counts: PCollection[Counter[str]]) -> PCollection[dict[str, int]]:
        return train_counts | Map(_indices, AsIter(self.entities))


def _indices(train_counts: Counter[str], entities: Iterable[pa.Table]) -> dict[str, int]:
    return label_indices((entity for table in entities for entity in table["entity_id"].to_pylist()), train_counts)


class SummarizePartitions(beam.PTransform[PCollection[StoredVideo], PCollection[tuple[str, PartitionSummary]]]):
    """PCollection[StoredVideo] → PCollection[(str, PartitionSummary)], one per partition that has videos."""

    def expand(self, stored: PCollection[StoredVideo]) -> PCollection[tuple[str, PartitionSummary]]:
        return stored | Map(_summary) | beam.CombinePerKey(Sum())


def _summary(stored: StoredVideo) -> tuple[str, PartitionSummary]:
    return stored.video.partition.value, PartitionSummary.of(stored)


@dataclass
class CheckOtherSplits(beam.PTransform[PCollection[tuple[str, PartitionSummary]], PCollection[bool]]):
    """The summaries of the partitions → PCollection[bool] of one.

    False: `rebuild-split` would leave another partition out of date, which is refused.

    Attributes:
        layout: Where the dataset is.
        anew: The one partition that is written; None: all are.
        previous: What the other partitions hold.
    """

    layout: Layout
    anew: Partition | None
    previous: Mapping[Partition, PartitionSummary]

    def expand(self, summaries: PCollection[tuple[str, PartitionSummary]]) -> PCollection[bool]:
        start = summaries.pipeline | beam.Create([self.anew])
        return start | Passes(_check_others, AsDict(summaries), self.previous, self.layout)


def _check_others(
    anew: Partition | None,
    summaries: Mapping[str, PartitionSummary],
    previous: Mapping[Partition, PartitionSummary],
    layout: Layout,
) -> None:
    if anew:
        check_rest_unchanged(summaries, previous, anew, layout)


@dataclass
class CheckSelection(beam.PTransform[PCollection[Video], PCollection[bool]]):
    """PCollection[Video] that were selected → PCollection[bool] of one; False: too little can come of them.

    Attributes:
        config: What is enough.
        layout: Where the dataset goes.
    """

    config: Config
    layout: Layout

    def expand(self, videos: PCollection[Video]) -> PCollection[bool]:
        frames = videos | "most frames" >> Map(_most_frames, self.config.decoding)
        total = frames | "frames at most" >> beam.CombineGlobally(Sum(Counter()))
        is_hashed = self.config.partitioning.by == "hash"  # then no partition is given, and no film can have two
        clusters: Any = [] if is_hashed else AsSingleton(videos | FindSameUri())
        return total | Passes(_check_selected, clusters, self.config, self.layout)


def _check_selected(frames: Mapping[str, int], clusters: Sequence[Cluster], config: Config, layout: Layout) -> None:
    check_given_partitions(clusters, config, layout)
    check_selected_frames(frames, config, layout)


def _most_frames(video: Video, decoding: Decoding) -> Counter[str]:
    return Counter({video.partition.value: most_frames(video.duration_seconds, decoding)})


@dataclass
class CheckBuild(beam.PTransform[PCollection[list[StageCount]], PCollection[bool]]):
    """The counts of all stages → PCollection[bool] of one, or none at all; False: the data fall short.

    Attributes:
        layout: Where the dataset is.
        config: What is enough.
        summaries: The summaries of the partitions.
        clusters: The films that are given several times, in one list.
        unchanged: Whether the other partitions are those of the dataset; if not, nothing is checked.
        rejects: What it waits for, so that the reasons can be read when the build is refused.
    """

    layout: Layout
    config: Config
    summaries: PCollection[tuple[str, PartitionSummary]]
    clusters: PCollection[list[Cluster]]
    unchanged: PCollection[bool]
    rejects: PCollection[FileEntry]

    def expand(self, counts: PCollection[list[StageCount]]) -> PCollection[bool]:
        written = counts | OnlyIf(self.unchanged) | WaitOn(self.rejects)
        sides = (AsDict(self.summaries), AsSingleton(self.clusters))
        return written | Passes(_check_enough, *sides, self.config, self.layout)


def _check_enough(
    counts: Sequence[StageCount],
    summaries: Mapping[str, PartitionSummary],
    clusters: Sequence[Cluster],
    config: Config,
    layout: Layout,
) -> None:
    check_given_partitions(clusters, config, layout)
    check_failures(counts, config, layout)
    check_videos_left(counts, layout)
    check_train_frames(summaries, config, layout)
    check_partitions(summaries, config, layout)
    _announce_work(summaries, config)


def _announce_work(summaries: Mapping[str, PartitionSummary], config: Config) -> None:
    train = summaries[Partition.TRAIN.value].videos
    if config.pca.is_fitted:
        announce(PCA, train)
    if config.quantizer.is_fitted and config.quantizer.method == "optimal":
        announce(QUANTIZER, train)
    announce(WRITE, sum(summary.videos for summary in summaries.values()))


@dataclass
class WarnOfEmptyPartitions(beam.PTransform[PCollection[tuple[str, PartitionSummary]], PCollection[str]]):
    """The summaries of the partitions → PCollection[str]: a warning for each given partition without videos."""

    config: Config

    def expand(self, summaries: PCollection[tuple[str, PartitionSummary]]) -> PCollection[str]:
        start = summaries.pipeline | beam.Create([self.config])
        return start | FlatMap(_empty_partitions, AsDict(summaries)).with_output_types(str)


def _empty_partitions(config: Config, summaries: Mapping[str, PartitionSummary]) -> list[str]:
    return empty_partition_warnings(summaries, config)


@dataclass
class OnlyIf(beam.PTransform[PCollection[T], PCollection[T]]):
    """PCollection[T] → the same, or nothing where the verdict is bad or there is none."""

    passed: PCollection[bool]

    def expand(self, elements: PCollection[T]) -> PCollection[T]:
        return elements | beam.Filter(_is_let_through, AsSingleton(self.passed, default_value=False))


def _is_let_through(_: Any, passed: bool) -> bool:
    return passed


@dataclass(frozen=True, slots=True)
class Writing:
    """What writing shards needs.

    Attributes:
        store: Where the features are.
        journal: Which shards are written already.
        anew: The one partition that is written (`rebuild-split`); None: all are.
        published: The partitions whose labels stand in the records.
    """

    store: FeatureStore
    journal: Journal
    anew: Partition | None
    published: Collection[Partition] = PUBLISHED

    @property
    def layout(self) -> Layout:
        return self.journal.layout


@dataclass
class WriteShards(beam.PTransform[PCollection[Group], PCollection[Step]]):
    """PCollection[Group] → PCollection[Step]: both files of each shard, written or still valid."""

    writing: Writing
    pca: PCollection[Step]
    quantizer: PCollection[Step]
    indices: PCollection[dict[str, int]]

    def expand(self, groups: PCollection[Group]) -> PCollection[Step]:
        sides = (AsSingleton(self.pca), AsSingleton(self.quantizer), AsSingleton(self.indices))
        return groups | Map(_write, self.writing, *sides)


def _write(group: Group, writing: Writing, pca: Step, quantizer: Step, indices: Mapping[str, int]) -> Step:
    shard, stored = group
    members = [_member(item, indices) for item in stored]
    fitted = (pca.key, pca.digest, quantizer.key, quantizer.digest)
    key = shard_key(shard, members, *fitted, published=writing.published)
    known = writing.journal.find(shard.name, key)
    if known and shard.partition != writing.anew:
        advance(WRITE, videos=len(members))
        return known
    if writing.anew not in (None, shard.partition):
        raise _changed(shard, writing.layout)
    with timed(WRITE):
        codebook = load_quantizer(writing.layout, quantizer)
        writing.journal.forget(shard.name)
        videos = _coefficients(members, writing, pca)
        step = write_shard(writing.layout, shard, key, videos, codebook, writing.published)
    advance(WRITE, videos=len(members), frames=step.facts.frames)
    return writing.journal.record(step)


def _changed(shard: Shard, layout: Layout) -> DataError:
    return DataError(
        what="A shard of another partition would change",
        where=layout.path(shard.file("frame")),
        why="its videos, labels, features or the number of shards are not those of the dataset, or the file is gone",
        fix="run `yt8m build`, which writes every partition that changed",
    )


def _coefficients(members: Iterable[Member], writing: Writing, pca: Step) -> Iterator[tuple[Member, Float32Array]]:
    whitening = load_pca(writing.layout, pca)
    for member in members:
        yield member, whitening.transform(writing.store.read(member.video_id).features)


def _member(stored: StoredVideo, indices: Mapping[str, int]) -> Member:
    labels = tuple(sorted(indices[entity_id] for entity_id in stored.video.entity_ids))
    return Member(stored.video.video_id, stored.entry.sha256, labels)


@dataclass
class ListVideos(beam.PTransform[PCollection[Group], PCollection[pa.Table]]):
    """PCollection[Group] → PCollection[pa.Table] of the rows of videos.parquet, labels included.

    Attributes:
        indices: The label index of each entity id.
        keep_columns: The columns of the videos table that the rows get.
    """

    indices: PCollection[dict[str, int]]
    keep_columns: Sequence[str]

    def expand(self, groups: PCollection[Group]) -> PCollection[pa.Table]:
        return groups | Map(_rows, AsSingleton(self.indices), self.keep_columns)


def _rows(group: Group, indices: Mapping[str, int], keep_columns: Sequence[str]) -> pa.Table:
    return video_rows(*group, indices, keep_columns)


@dataclass
class SumUpRejects(beam.PTransform[PCollection[WrittenPart], PCollection[FileEntry]]):
    """PCollection[WrittenPart] of all rejects → PCollection[FileEntry]: the parts, and rejects/summary.json.

    Attributes:
        layout: Where the dataset is.
        unchanged: The verdict on the other partitions: nothing is written where `rebuild-split` is refused.
    """

    layout: Layout
    unchanged: PCollection[bool]

    def expand(self, parts: PCollection[WrittenPart]) -> PCollection[FileEntry]:
        layout = parts.pipeline | beam.Create([self.layout]) | OnlyIf(self.unchanged)
        return layout | FlatMap(write_summary, AsIter(parts))


@dataclass
class WriteVideos(beam.PTransform[PCollection[pa.Table], PCollection[FileEntry]]):
    """PCollection[pa.Table] of videos → PCollection[FileEntry]: videos.parquet and the withheld test labels.

    Attributes:
        layout: Where the dataset is.
        passed: The verdict on the build.
        pca: Its PCA, and
        quantizer: its codebook, which the lengths of the records depend on.
        published: The partitions whose labels are not withheld.
    """

    layout: Layout
    passed: PCollection[bool]
    pca: PCollection[Step]
    quantizer: PCollection[Step]
    published: Collection[Partition]

    def expand(self, rows: PCollection[pa.Table]) -> PCollection[FileEntry]:
        layout = rows.pipeline | beam.Create([self.layout]) | OnlyIf(self.passed)
        return layout | FlatMap(
            _write_videos, AsIter(rows), AsSingleton(self.pca), AsSingleton(self.quantizer), self.published
        )


def _write_videos(
    layout: Layout, rows: Iterable[pa.Table], pca: Step, quantizer: Step, published: Collection[Partition]
) -> list[FileEntry]:
    feature_name = load_quantizer(layout, quantizer).feature_name
    return write_videos(layout, rows, pca.facts.components, feature_name, published)


@dataclass
class WriteVocabulary(beam.PTransform[PCollection[Counter[str]], PCollection[FileEntry]]):
    """PCollection[Counter] of the train labels → PCollection[FileEntry] of one: vocabulary.csv.

    Attributes:
        layout: Where the dataset is.
        entities: The entities of the vocabulary.
        frozen: Whether the file may not change (`rebuild-split`).
    """

    layout: Layout
    entities: PCollection[pa.Table]
    frozen: bool

    def expand(self, train_counts: PCollection[Counter[str]]) -> PCollection[FileEntry]:
        return train_counts | Map(_write_vocabulary, AsIter(self.entities), self.layout, frozen=self.frozen)


def _write_vocabulary(
    train_counts: Counter[str], entities: Iterable[pa.Table], layout: Layout, *, frozen: bool
) -> FileEntry:
    return write_vocabulary(layout, vocabulary_csv(list(entities), train_counts), frozen=frozen)


@dataclass
class WriteManifest(beam.PTransform[PCollection[list[StageCount]], PCollection[None]]):
    """The counts of all stages → manifest.json and the card, when all that they describe stands.

    Attributes:
        layout: Where the dataset is.
        planned: What was known of the dataset before it was built.
        steps: The PCA, the codebook, and every shard.
        tables: Every other file.
        summaries: The summaries of the partitions.
        lacking: The entities that no video of a partition has.
        warnings: What the user should know.
    """

    layout: Layout
    planned: Mapping[str, Any]
    steps: PCollection[Step]
    tables: PCollection[FileEntry]
    summaries: PCollection[tuple[str, PartitionSummary]]
    lacking: PCollection[dict[str, list[str]]]
    warnings: PCollection[str]

    def expand(self, counts: PCollection[list[StageCount]]) -> PCollection[None]:
        return counts | Map(
            _write_manifest,
            layout=self.layout,
            planned=self.planned,
            steps=AsIter(self.steps),
            tables=AsIter(self.tables),
            summaries=AsDict(self.summaries),
            lacking=AsSingleton(self.lacking),
            warnings=AsIter(self.warnings),
        )


def _write_manifest(
    counts: Sequence[StageCount],
    *,
    layout: Layout,
    planned: Mapping[str, Any],
    steps: Iterable[Step],
    tables: Iterable[FileEntry],
    summaries: Mapping[str, PartitionSummary],
    lacking: Mapping[str, Sequence[str]],
    warnings: Iterable[str],
) -> None:
    total = sum(summaries.values(), PartitionSummary())
    by_name = {step.name: step for step in steps}
    pca, quantizer = cast(PcaStep, by_name.pop(PCA)), cast(CodebookStep, by_name.pop(QUANTIZER))
    values = {
        **planned,
        PCA: fitted_row(pca),
        QUANTIZER: fitted_row(quantizer),
        "sampling": {**planned["sampling"], "deviation_seconds": total.deviation_seconds()},
        "partitions": {part.value: summaries.get(part.value, PartitionSummary()).to_json() for part in Partition},
        "lacking_entities": lacking,
        "accounting": [count.to_json() for count in sorted(counts, key=_stage_order)],
        "warnings": sorted([*warnings, *planned["warnings"], *_fit_warnings(pca.facts, quantizer.facts, summaries)]),
        "encoded": {"from": FEATURES},
        **shard_parts(by_name.values()),
    }
    describe_dataset(layout, values, tables)


def _fit_warnings(pca: PcaFacts, codebook: CodebookFacts, summaries: Mapping[str, PartitionSummary]) -> list[str]:
    """What there is to say of how the PCA and the codebook suit the train frames."""
    train = summaries.get(Partition.TRAIN.value, PartitionSummary())
    levels, is_fitted = codebook.more["levels"], "source" not in codebook.more
    found = (
        warnings_of_few_frames(cast(Scope, codebook.scope), levels, train.frames) if is_fitted and train.frames else []
    )
    found += Whitening(**pca.more["whitening"]).warnings() if "whitening" in pca.more else []
    found += Suitability(**pca.more["on_train"]).warnings() if "on_train" in pca.more else []
    return found


def _stage_order(count: StageCount) -> tuple[int, str]:
    return list(Stage).index(count.stage), count.table
