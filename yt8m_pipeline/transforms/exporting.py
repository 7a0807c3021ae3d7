"""The Beam shell of exports: the videos of a finished dataset in, their shards with another codebook out."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.pvalue import AsIter, AsSingleton

from yt8m_pipeline import files
from yt8m_pipeline.compression.distortion import Distortion, relative_error_of_both, relative_error_of_facts
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import fitted_row, shard_parts, total_distortion, write_manifest
from yt8m_pipeline.dataset.reader import read_shard
from yt8m_pipeline.dataset.shards import Member, shard_key, write_shard
from yt8m_pipeline.dataset.steps import FileEntry, Step, require_intact
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.export_plan import UNIFORM, ExportPlan
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.transforms.compression import QUANTIZER, quantizer_key, save_quantizer
from yt8m_pipeline.transforms.dataset import FEATURES, WRITE
from yt8m_pipeline.transforms.monitoring import advance, announce, timed

CODES = "codes"
"""What an export without a store is encoded from, in its manifest."""
MEMBER_COLUMNS = ("video_id", "features_sha256", "labels", "shard")
ROWS_PER_BATCH = 4096

Group: TypeAlias = tuple[Shard, list[Member]]


class ReadMembers(beam.PTransform):
    """Pipeline → PCollection[(Shard, [Member])]: the shards of the source, also empty ones, members sorted by id."""

    def __init__(self, plan: ExportPlan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, root: Any) -> Any:
        source = self._plan.source
        shards = [
            Shard(part, index, of)
            for part in Partition
            for of in [len(source.shards("frame", part))]
            for index in range(of)
        ]
        empty = root | "all shards" >> beam.Create([(shard.name, None) for shard in shards])
        members = root | "source" >> beam.Create([self._plan]) | "members" >> beam.FlatMap(_read_members)
        grouped = (members, empty) | beam.Flatten() | beam.GroupByKey()
        return grouped | "sort" >> beam.Map(_sorted_group, {shard.name: shard for shard in shards})


def _read_members(plan: ExportPlan) -> Iterator[tuple[str, Member]]:
    """The name of its shard, and the video, for each row of videos.parquet; the labels of test are not there."""
    layout = plan.source.layout
    require_intact(layout, plan.files[Layout.VIDEOS])
    with files.open_read(layout.path(Layout.VIDEOS)) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(ROWS_PER_BATCH, columns=list(MEMBER_COLUMNS)):
            for row in batch.to_pylist():
                yield row["shard"], Member(row["video_id"], row["features_sha256"], tuple(row["labels"] or ()))


def _sorted_group(group: tuple[str, Iterable[Member | None]], shards: Mapping[str, Shard]) -> Group:
    name, members = group
    return shards[name], sorted(member for member in members if member)


class CopyTables(beam.PTransform):
    """Pipeline → PCollection[FileEntry]: the tables of the source, which no codebook changes."""

    def __init__(self, plan: ExportPlan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, root: Any) -> Any:
        tables = [FileEntry(**entry) for entry in self._plan.manifest.values["files"]]
        return root | beam.Create(tables) | beam.Map(_copy, self._plan)


class CopyPca(beam.PTransform):
    """Pipeline → PCollection[Step] of one: the PCA of the source."""

    def __init__(self, plan: ExportPlan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, root: Any) -> Any:
        return root | beam.Create([self._plan]) | beam.Map(_copy_pca)


def _copy_pca(plan: ExportPlan) -> Step:
    for file in plan.pca.files:
        _copy(file, plan)
    return plan.journal.record(plan.pca)


def _copy(file: FileEntry, plan: ExportPlan) -> FileEntry:
    source = plan.source.layout
    require_intact(source, file)
    with files.open_read(source.path(file.path)) as given, files.open_atomic(plan.layout.path(file.path)) as copy:
        shutil.copyfileobj(given, copy)
    return file


class WriteUniform(beam.PTransform):
    """PCollection[Step] of the PCA → PCollection[Step] of one: the uniform codebook, as a build saves it."""

    def __init__(self, plan: ExportPlan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, pca: Any) -> Any:
        return pca | beam.Map(_write_uniform, self._plan)


def _write_uniform(pca: Step, plan: ExportPlan) -> Step:
    key = quantizer_key(pca, UNIFORM)
    return plan.journal.find(QUANTIZER, key) or save_quantizer(plan.journal, key, Quantizer.uniform())


class CheckStore(beam.PTransform):
    """PCollection[(Shard, [Member])] → PCollection[bool] of one, True; raises a DataError if the store lacks videos."""

    def __init__(self, plan: ExportPlan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, groups: Any) -> Any:
        missing = groups | beam.FlatMap(_missing, self._plan.store)
        return groups.pipeline | beam.Create([self._plan]) | beam.Map(_check_store, AsIter(missing))


def _missing(group: Group, store: FeatureStore | None) -> Iterator[str]:
    if store:
        yield from (member.video_id for member in group[1] if not files.exists(store.path(member.video_id)))


def _check_store(plan: ExportPlan, missing: Iterable[str]) -> bool:
    total = sum(plan.manifest.partition(part).videos for part in Partition)
    names = sorted(missing)
    if names and plan.store:
        raise DataError(
            f"The feature store lacks {len(names)} of the {total} videos",
            plan.store.path(names[0]),
            "that file is not there" + f", nor are {len(names) - 1} others" * (len(names) > 1),
            "give the store that it was built from, or leave --store out to encode its codes again",
        )
    announce(WRITE, total)
    return True


class EncodeAgain(beam.PTransform):
    """PCollection[(Shard, [Member])] → PCollection[Step]: both files of each shard, written or still valid."""

    def __init__(self, plan: ExportPlan, quantizer: Any, checked: Any) -> None:
        super().__init__()
        self._plan, self._quantizer, self._checked = plan, quantizer, checked

    def expand(self, groups: Any) -> Any:
        return groups | beam.Map(_encode_again, self._plan, AsSingleton(self._quantizer), AsSingleton(self._checked))


def _encode_again(group: Group, plan: ExportPlan, quantizer: Step, _: bool) -> Step:
    shard, members = group
    origin = () if plan.store else (plan.manifest.values["quantizer"]["key"],)
    key = shard_key(shard, members, plan.pca.key, *origin, quantizer.key)
    step = plan.journal.find(shard.name, key)
    if step is None:
        videos = _from_store(members, plan, plan.store) if plan.store else _from_codes(shard, members, plan)
        with timed(WRITE):
            step = plan.journal.record(write_shard(plan.layout, shard, key, videos, Quantizer.uniform()))
    advance(WRITE, videos=len(members), frames=step.facts["frames"])
    return step


def _from_store(
    members: Iterable[Member], plan: ExportPlan, store: FeatureStore
) -> Iterator[tuple[Member, Float32Array]]:
    whitening = Pca.load(plan.source.layout.path(Layout.PCA), epsilon=plan.pca.facts["epsilon"])
    for member in members:
        uri = store.path(member.video_id)
        stored = store.open(uri)
        if stored.entry.sha256 != member.sha256:
            raise DataError(
                "Stored features are not those that the dataset was built from",
                uri,
                f"their sha256 is {stored.entry.sha256}, videos.parquet says {member.sha256}",
                "build the dataset again and export that, or leave --store out to encode its codes again",
            )
        yield member, whitening.transform(stored.video.features)


def _from_codes(shard: Shard, members: Iterable[Member], plan: ExportPlan) -> Iterator[tuple[Member, Float32Array]]:
    require_intact(plan.source.layout, plan.files[shard.file("frame")])
    for member, example in zip(members, read_shard(plan.source, shard), strict=True):
        yield member, example.features


class WriteExportManifest(beam.PTransform):
    """Pipeline → PCollection[None] of one: manifest.json, when all files stand."""

    def __init__(self, plan: ExportPlan, quantizer: Any, shards: Any, tables: Any) -> None:
        super().__init__()
        self._plan, self._quantizer, self._shards, self._tables = plan, quantizer, shards, tables

    def expand(self, root: Any) -> Any:
        sides = (AsSingleton(self._quantizer), AsIter(self._shards), AsIter(self._tables))
        return root | beam.Create([self._plan]) | beam.Map(_write_manifest, *sides)


def _write_manifest(plan: ExportPlan, quantizer: Step, shards: Iterable[Step], _: Iterable[FileEntry]) -> None:
    steps = sorted(shards, key=lambda step: step.name)
    values = {
        **plan.manifest.values,
        **shard_parts(steps),
        "build_key": plan.key,
        "config": plan.config,
        "quantizer": fitted_row(quantizer),
        "encoded": {"from": FEATURES},
    }
    if plan.store is None:
        values |= _origin_in_codes(plan, total_distortion(steps))
    write_manifest(plan.layout, values)


def _origin_in_codes(plan: ExportPlan, added: Distortion) -> dict[str, Any]:
    """What the manifest says of codes that were made from codes."""
    source = plan.manifest.values
    more, before = added.relative_error or 0.0, relative_error_of_facts(source["distortion"].values())
    warning = (
        f"these codes were made from {plan.source.quantizer.name} codes, not from features: to the mean squared error "
        f"of those, {before:.2%} of the variance, this adds {more:.2%}; together they are about "
        f"{relative_error_of_both(before, more):.2%}"
    )
    origin = {"build_key": plan.manifest.build_key, "quantizer": source["quantizer"]["fingerprint"]}
    return {
        "encoded": {"from": CODES, **origin, "distortion": source["distortion"]},
        "warnings": sorted([*source["warnings"], warning]),
    }
