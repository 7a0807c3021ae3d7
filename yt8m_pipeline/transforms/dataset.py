"""The Beam shell of the dataset on disk: stored videos in, shards, tables and manifest out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsDict, AsIter, AsSingleton

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.compression.whitening import Suitability, Whitening, warnings_of_few_frames
from yt8m_pipeline.config import Shards
from yt8m_pipeline.data_model import Float32Array, Partition, StoredVideo
from yt8m_pipeline.dataset.index import (
    label_indices,
    video_rows,
    vocabulary_csv,
    write_rejects,
    write_videos,
    write_vocabulary,
)
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import PartitionSummary, fitted_row, shard_parts, write_manifest
from yt8m_pipeline.dataset.shards import PUBLISHED, Member, shard_key, shard_of, write_shard
from yt8m_pipeline.dataset.steps import FileEntry, Step
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.build_plan import BuildPlan, library_versions, recipe
from yt8m_pipeline.jobs.sufficiency import check_failures, check_rest_unchanged, check_train_frames, check_videos_left
from yt8m_pipeline.transforms.combiners import Sum
from yt8m_pipeline.transforms.compression import PCA, QUANTIZER
from yt8m_pipeline.transforms.monitoring import advance, announce, timed

WRITE = "write"
FEATURES = "features"
"""What a dataset is encoded from, in its manifest: the features of the store, not the codes of another dataset."""

ShardKey: TypeAlias = tuple[str, int, int]
"""A `Shard` as a key that every engine encodes alike: partition, index, of."""
Group: TypeAlias = tuple[Shard, list[StoredVideo]]


class GroupByShard(beam.PTransform):
    """PCollection[StoredVideo] → PCollection[(Shard, [StoredVideo])], sorted by id; shards without videos too."""

    def __init__(self, shards: Shards) -> None:
        super().__init__()
        self._shards = shards

    def expand(self, stored: Any) -> Any:
        empty = stored.pipeline | "all shards" >> beam.Create([(key, None) for key in self._all_keys()])
        keyed = stored | "shard" >> beam.Map(lambda item: (self._key(item), item))
        return (keyed, empty) | beam.Flatten() | beam.GroupByKey() | "sort" >> beam.MapTuple(_sorted_group)

    def _all_keys(self) -> list[ShardKey]:
        sizes = [(part.value, self._shards.of(part)) for part in Partition]
        return [(part, index, of) for part, of in sizes for index in range(of)]

    def _key(self, stored: StoredVideo) -> ShardKey:
        video = stored.video
        shard = shard_of(video.video_id, video.partition, self._shards.of(video.partition), self._shards.salt)
        return shard.partition.value, shard.index, shard.of


class CountTrainLabels(beam.PTransform):
    """PCollection[StoredVideo] → PCollection[Counter] of one: entity id → train videos in the dataset."""

    def expand(self, stored: Any) -> Any:
        return (
            stored
            | beam.Filter(lambda item: item.video.partition == Partition.TRAIN)
            | beam.Map(lambda item: Counter(item.video.entity_ids))
            | beam.CombineGlobally(lambda counters: sum(counters, Counter()))
        )


class IndexLabels(beam.PTransform):
    """PCollection[Counter] and the entity tables → PCollection[dict] of one: entity id → label index."""

    def __init__(self, entities: Any) -> None:
        super().__init__()
        self._entities = entities

    def expand(self, train_counts: Any) -> Any:
        return train_counts | beam.Map(_indices, AsIter(self._entities))


class SummarizePartitions(beam.PTransform):
    """PCollection[StoredVideo] → PCollection[(str, PartitionSummary)], one per partition that has videos."""

    def expand(self, stored: Any) -> Any:
        return (
            stored
            | beam.Map(lambda item: (item.video.partition.value, PartitionSummary.of(item)))
            | beam.CombinePerKey(Sum())
        )


class CheckOtherSplits(beam.PTransform):
    """Pipeline → PCollection[bool] of one, True; raises a DataError where `rebuild-split` would leave others stale."""

    def __init__(self, plan: BuildPlan, summaries: Any) -> None:
        super().__init__()
        self._plan, self._summaries = plan, summaries

    def expand(self, root: Any) -> Any:
        return root | beam.Create([self._plan]) | beam.Map(_check_other_splits, AsDict(self._summaries))


def _check_other_splits(plan: BuildPlan, summaries: Mapping[str, PartitionSummary]) -> bool:
    if plan.anew and plan.previous:
        check_rest_unchanged(summaries, plan.previous, plan.anew, plan.layout)
    return True


class CheckBuild(beam.PTransform):
    """Pipeline → PCollection[bool] of one, True; raises a DataError where the data fall short.

    It waits for rejects.parquet, so that the reasons can be read when it raises.
    """

    def __init__(self, plan: BuildPlan, counts: Any, summaries: Any, rejects: Any) -> None:
        super().__init__()
        self._plan, self._counts, self._summaries, self._rejects = plan, counts, summaries, rejects

    def expand(self, root: Any) -> Any:
        sides = (AsSingleton(self._counts), AsDict(self._summaries), AsSingleton(self._rejects))
        return root | beam.Create([self._plan]) | beam.Map(_check_build, *sides)


def _check_build(
    plan: BuildPlan, counts: Sequence[StageCount], summaries: Mapping[str, PartitionSummary], _: FileEntry
) -> bool:
    check_failures(counts, plan.config, plan.layout)
    check_videos_left(counts, plan.layout)
    check_train_frames(summaries, plan.config, plan.layout)
    if plan.pca is None:
        announce(PCA, summaries[Partition.TRAIN.value].videos)
    if plan.config.quantizer.method == "optimal":
        announce(QUANTIZER, summaries[Partition.TRAIN.value].videos)
    announce(WRITE, sum(summary.videos for summary in summaries.values()))
    return True


class WriteShards(beam.PTransform):
    """PCollection[(Shard, [StoredVideo])] → PCollection[Step]: both files of each shard, written or still valid."""

    def __init__(self, plan: BuildPlan, pca: Any, quantizer: Any, indices: Any) -> None:
        super().__init__()
        self._plan, self._pca, self._quantizer, self._indices = plan, pca, quantizer, indices

    def expand(self, groups: Any) -> Any:
        sides = (AsSingleton(self._pca), AsSingleton(self._quantizer), AsSingleton(self._indices))
        return groups | beam.Map(_write, self._plan, *sides)


def _write(group: Group, plan: BuildPlan, pca: Step, quantizer: Step, indices: Mapping[str, int]) -> Step:
    shard, stored = group
    members = [_member(item, indices) for item in stored]
    key = shard_key(shard, members, pca.key, quantizer.key)
    known = plan.journal.find(shard.name, key)
    if known and shard.partition != plan.anew:
        advance(WRITE, videos=len(members))
        return known
    if plan.anew not in (None, shard.partition):
        raise _changed(shard, plan.layout)
    with timed(WRITE):
        codebook = Quantizer.load(plan.layout.path(Layout.QUANTIZER))
        step = write_shard(plan.layout, shard, key, _coefficients(members, plan, pca), codebook)
    advance(WRITE, videos=len(members), frames=step.facts["frames"])
    return plan.journal.record(step)


def _changed(shard: Shard, layout: Layout) -> DataError:
    return DataError(
        "A shard of another split would change",
        layout.path(shard.file("frame")),
        "its videos, labels, features or the number of shards are not those of the dataset, or the file is gone",
        "run `yt8m build`, which writes every split that changed",
    )


def _coefficients(members: Iterable[Member], plan: BuildPlan, pca: Step) -> Iterator[tuple[Member, Float32Array]]:
    whitening = Pca.load(plan.layout.path(Layout.PCA), epsilon=pca.facts["epsilon"])
    for member in members:
        yield member, whitening.transform(plan.store.read(member.video_id).features)


def _member(stored: StoredVideo, indices: Mapping[str, int]) -> Member:
    labels = tuple(sorted(indices[entity_id] for entity_id in stored.video.entity_ids))
    return Member(stored.video.video_id, stored.entry.sha256, labels)


class ListVideos(beam.PTransform):
    """PCollection[(Shard, [StoredVideo])] → PCollection[pa.Table] of the rows of videos.parquet, labels included."""

    def __init__(self, indices: Any) -> None:
        super().__init__()
        self._indices = indices

    def expand(self, groups: Any) -> Any:
        return groups | beam.Map(
            lambda group, indices: video_rows(group[0], group[1], indices), AsSingleton(self._indices)
        )


class WriteRejects(beam.PTransform):
    """Pipeline → PCollection[FileEntry] of one: rejects.parquet, once `unchanged` is there."""

    def __init__(self, layout: Layout, rejects: Any, unchanged: Any) -> None:
        super().__init__()
        self._layout, self._rejects, self._unchanged = layout, rejects, unchanged

    def expand(self, root: Any) -> Any:
        sides = (AsIter(self._rejects), AsSingleton(self._unchanged))
        return root | beam.Create([self._layout]) | beam.Map(_write_rejects, *sides)


def _write_rejects(layout: Layout, tables: Iterable[pa.Table], _: bool) -> FileEntry:
    return write_rejects(layout, tables)


class WriteVideos(beam.PTransform):
    """Pipeline → PCollection[FileEntry]: videos.parquet and the withheld test labels."""

    def __init__(self, layout: Layout, rows: Any) -> None:
        super().__init__()
        self._layout, self._rows = layout, rows

    def expand(self, root: Any) -> Any:
        return root | beam.Create([self._layout]) | beam.FlatMap(write_videos, AsIter(self._rows))


class WriteVocabulary(beam.PTransform):
    """Pipeline → PCollection[FileEntry] of one: vocabulary.csv."""

    def __init__(self, plan: BuildPlan, entities: Any, train_counts: Any) -> None:
        super().__init__()
        self._plan, self._entities, self._train_counts = plan, entities, train_counts

    def expand(self, root: Any) -> Any:
        sides = (AsIter(self._entities), AsSingleton(self._train_counts))
        return root | beam.Create([self._plan]) | beam.Map(_write_vocabulary, *sides)


def _write_vocabulary(plan: BuildPlan, entities: Iterable[pa.Table], train_counts: Counter[str]) -> FileEntry:
    text = vocabulary_csv(list(entities), train_counts)
    return write_vocabulary(plan.layout, text, frozen=plan.anew is not None)


class WriteManifest(beam.PTransform):
    """Pipeline → PCollection[None] of one: manifest.json."""

    def __init__(self, plan: BuildPlan, **parts: Any) -> None:
        super().__init__()
        self._plan, self._parts = plan, parts

    def expand(self, root: Any) -> Any:
        parts = self._parts
        return (
            root
            | beam.Create([self._plan])
            | beam.Map(
                _write_manifest,
                pca=AsSingleton(parts["pca"]),
                quantizer=AsSingleton(parts["quantizer"]),
                shards=AsIter(parts["shards"]),
                tables=AsIter(parts["tables"]),
                summaries=AsDict(parts["summaries"]),
                counts=AsSingleton(parts["counts"]),
                warnings=AsIter(parts["warnings"]),
            )
        )


def _write_manifest(
    plan: BuildPlan,
    *,
    pca: Step,
    quantizer: Step,
    shards: Iterable[Step],
    tables: Iterable[FileEntry],
    summaries: Mapping[str, PartitionSummary],
    counts: Sequence[StageCount],
    warnings: Iterable[str],
) -> None:
    total = sum(summaries.values(), PartitionSummary())
    fitting = _fit_warnings(pca, quantizer, summaries.get(Partition.TRAIN.value, PartitionSummary()))
    values = {
        "build_key": plan.key,
        "versions": library_versions(),
        "config": recipe(plan.config),
        "inputs": plan.inputs,
        "feature_space": {"fingerprint": plan.store.space, **plan.space},
        "pca": fitted_row(pca),
        "quantizer": fitted_row(quantizer),
        "labels": {part.value: "published" if part in PUBLISHED else "withheld" for part in Partition},
        "sampling": {"policy": plan.config.decoding.sampling, "deviation_seconds": total.deviation_seconds()},
        "partitions": {part.value: summaries.get(part.value, PartitionSummary()).to_json() for part in Partition},
        "accounting": [count.to_json() for count in sorted(counts, key=_stage_order)],
        "warnings": sorted([*warnings, *plan.warnings, *fitting]),
        "encoded": {"from": FEATURES},
        **shard_parts(shards),
        "files": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in sorted(tables)],
    }
    write_manifest(plan.layout, values)


def _fit_warnings(pca: Step, quantizer: Step, train: PartitionSummary) -> list[str]:
    """What there is to say of how the PCA and the codebook suit the train frames."""
    found = warnings_of_few_frames(quantizer.facts["scope"], quantizer.facts["levels"], train.frames)
    found += Whitening(**pca.facts["whitening"]).warnings() if "whitening" in pca.facts else []
    found += Suitability(**pca.facts["on_train"]).warnings() if "on_train" in pca.facts else []
    return found


def _stage_order(count: StageCount) -> tuple[int, str]:
    return list(Stage).index(count.stage), count.table


def _sorted_group(key: ShardKey, items: Iterable[StoredVideo | None]) -> Group:
    shard = Shard(Partition(key[0]), key[1], key[2])
    return shard, sorted((item for item in items if item), key=lambda item: item.video.video_id)


def _indices(train_counts: Counter[str], entities: Iterable[pa.Table]) -> dict[str, int]:
    return label_indices((entity for table in entities for entity in table["entity_id"].to_pylist()), train_counts)
