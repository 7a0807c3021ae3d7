"""The Beam shell of exports: the videos of a finished dataset in, their shards with another codebook out."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.pipeline import Pipeline
from apache_beam.pvalue import AsIter, AsSingleton, PCollection

from yt8m_pipeline import files
from yt8m_pipeline.compression.distortion import Distortion, relative_error_of_both, relative_error_of_facts
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.description import describe_dataset
from yt8m_pipeline.dataset.index import read_parquet, streamed, write_index
from yt8m_pipeline.dataset.layout import LEVELS, Layout, Shard
from yt8m_pipeline.dataset.manifest import Manifest, fitted_row, shard_parts, total_distortion
from yt8m_pipeline.dataset.reader import open_dataset, read_shard
from yt8m_pipeline.dataset.shards import Member, shard_key, write_shard
from yt8m_pipeline.dataset.steps import QUANTIZER, FileEntry, Step, require_intact
from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.export_plan import UNIFORM
from yt8m_pipeline.jobs.journal import Journal, finished_steps
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.transforms.compression import load_pca, quantizer_key, save_quantizer
from yt8m_pipeline.transforms.dataset import FEATURES, WRITE, OnlyIf, empty_shards
from yt8m_pipeline.transforms.monitoring import advance, announce, timed
from yt8m_pipeline.transforms.steps import FlatMap, Map, Passes

CODES = "codes"
"""What an export without a store is encoded from, in its manifest."""
NOT_WITHHELD = tuple(Partition)
"""The partitions whose labels an export writes: all, since videos.parquet of the source has no withheld ones."""
MEMBER_COLUMNS = ("video_id", "features_sha256", "labels", "shard")
ROWS_PER_BATCH = 4096

Group: TypeAlias = tuple[Shard, list[Member]]
"""The videos of a shard, sorted by id."""


@dataclass(frozen=True, slots=True)
class Copying:
    """From where to where an export or an extraction goes.

    Attributes:
        source: Where the finished dataset is.
        journal: What of the new dataset is written already.
        store: The feature store that is encoded from; None: the codes of the dataset are encoded again.
    """

    source: Layout
    journal: Journal
    store: FeatureStore | None

    @property
    def target(self) -> Layout:
        return self.journal.layout


@dataclass
class ReadMembers(beam.PTransform[Pipeline, PCollection[Group]]):
    """Pipeline → PCollection[Group]: the shards of the source, also empty ones.

    Attributes:
        source: Where the finished dataset is.
        videos: Its videos.parquet.
        sizes: How many shards each partition has.
    """

    source: Layout
    videos: FileEntry
    sizes: Mapping[Partition, int]

    def expand(self, root: Pipeline) -> PCollection[Group]:
        sizes = [(part.value, of) for part, of in self.sizes.items()]
        empty = root | "partitions" >> beam.Create(sizes) | "all shards" >> beam.FlatMapTuple(empty_shards)
        members = root | "source" >> beam.Create([self.source]) | "members" >> FlatMap(_read_members, self.videos)
        return (members, empty) | beam.Flatten() | beam.GroupByKey() | "sort" >> beam.MapTuple(_sorted_group)


def _read_members(layout: Layout, videos: FileEntry) -> Iterator[tuple[str, Member | None]]:
    """The name of its shard, and the video, for each row of videos.parquet; the labels of test are withheld there."""
    require_intact(layout, videos)
    with files.open_read(layout.path(videos.path)) as stream:
        for batch in streamed(stream).iter_batches(ROWS_PER_BATCH, columns=list(MEMBER_COLUMNS)):
            for row in batch.to_pylist():
                yield row["shard"], Member(row["video_id"], row["features_sha256"], tuple(row["labels"] or ()))


def _sorted_group(name: str, members: Iterable[Member | None]) -> Group:
    return Shard.of_name(name), sorted(member for member in members if member)


@dataclass
class CopyTables(beam.PTransform[Pipeline, PCollection[FileEntry]]):
    """Pipeline → PCollection[FileEntry]: the tables of the source; of them only the offsets of records change.

    Attributes:
        copying: From where to where.
        tables: The tables.
        width: The number of codes of a frame.
        passed: The verdict on the store.
    """

    copying: Copying
    tables: list[FileEntry]
    width: int
    passed: PCollection[bool]

    def expand(self, root: Pipeline) -> PCollection[FileEntry]:
        return root | beam.Create(self.tables) | OnlyIf(self.passed) | Map(_copy_table, self.copying, self.width)


def _copy_table(file: FileEntry, copying: Copying, width: int) -> FileEntry:
    if file.path != Layout.VIDEOS:
        return copy_file(file, copying)
    require_intact(copying.source, file)
    videos = read_parquet(copying.source, file.path)
    return write_index(copying.target, videos, width, Quantizer.uniform().feature_name)


@dataclass
class CopyStep(beam.PTransform[Pipeline, PCollection[Step]]):
    """Pipeline → PCollection[Step] of one: the PCA of the source, or its codebook.

    Attributes:
        copying: From where to where.
        step: The PCA or the codebook.
        passed: The verdict on what is written.
    """

    copying: Copying
    step: Step
    passed: PCollection[bool]

    def expand(self, root: Pipeline) -> PCollection[Step]:
        return root | beam.Create([self.step]) | OnlyIf(self.passed) | Map(_copy_step, self.copying)


def _copy_step(step: Step, copying: Copying) -> Step:
    copying.journal.forget(step.name)
    for file in step.files:
        copy_file(file, copying)
    return copying.journal.record(step)


def copy_file(file: FileEntry, copying: Copying) -> FileEntry:
    """Copies a file of a dataset whose bytes are those that its manifest lists."""
    source, target = copying.source, copying.target
    require_intact(source, file)
    with files.open_read(source.path(file.path)) as given, target.open_write(file.path) as copy:
        shutil.copyfileobj(given, copy)
    return file


@dataclass
class WriteUniform(beam.PTransform[PCollection[Step], PCollection[Step]]):
    """PCollection[Step] of the PCA → PCollection[Step] of one: the uniform codebook, as a build saves it."""

    journal: Journal

    def expand(self, pca: PCollection[Step]) -> PCollection[Step]:
        return pca | Map(_write_uniform, self.journal)


def _write_uniform(pca: Step, journal: Journal) -> Step:
    key = quantizer_key(pca, UNIFORM)
    return journal.find(QUANTIZER, key, intact=True) or save_quantizer(journal, key, Quantizer.uniform())


@dataclass
class CheckStore(beam.PTransform[PCollection[Group], PCollection[bool]]):
    """PCollection[Group] → PCollection[bool] of one; False: the store lacks videos, and the export is refused.

    Attributes:
        store: The feature store; None: none is needed.
        videos: How many videos the dataset has.
    """

    store: FeatureStore | None
    videos: int

    def expand(self, groups: PCollection[Group]) -> PCollection[bool]:
        missing = groups | FlatMap(_missing, self.store)
        return groups.pipeline | beam.Create([self.videos]) | Passes(_check_store, self.store, AsIter(missing))


def _missing(group: Group, store: FeatureStore | None) -> Iterator[str]:
    if store:
        yield from (member.video_id for member in group[1] if not files.exists(store.path(member.video_id)))


def _check_store(videos: int, store: FeatureStore | None, missing: Iterable[str]) -> None:
    names = sorted(missing)
    if names and store:
        raise DataError(
            what=f"The feature store lacks {len(names)} of the {videos} videos",
            where=store.path(names[0]),
            why="that file is not there" + f", nor are {len(names) - 1} others" * (len(names) > 1),
            fix="give the store that it was built from, or leave --store out to take its codes",
        )
    announce(WRITE, videos)


@dataclass
class EncodeAgain(beam.PTransform[PCollection[Group], PCollection[Step]]):
    """PCollection[Group] → PCollection[Step]: both files of each shard, written or still valid.

    Attributes:
        copying: From where to where.
        pca: The PCA of the source.
        origin: The codebook of the source.
        quantizer: The new codebook.
        passed: The verdict on the store.
    """

    copying: Copying
    pca: Step
    origin: Step
    quantizer: PCollection[Step]
    passed: PCollection[bool]

    def expand(self, groups: PCollection[Group]) -> PCollection[Step]:
        return (
            groups
            | OnlyIf(self.passed)
            | Map(_encode_again, self.copying, self.pca, self.origin, AsSingleton(self.quantizer))
        )


def _encode_again(group: Group, copying: Copying, pca: Step, origin: Step, quantizer: Step) -> Step:
    shard, members = group
    codes = () if copying.store else (origin.key, origin.digest)
    fitted = (pca.key, pca.digest, *codes, quantizer.key, quantizer.digest)
    key = shard_key(shard, members, *fitted, published=NOT_WITHHELD)
    step = copying.journal.find(shard.name, key)
    if step is None:
        videos = (
            _coefficients(members, copying.store, load_pca(copying.source, pca))
            if copying.store
            else (decoded_videos(shard, members, copying.source))
        )
        with timed(WRITE):
            copying.journal.forget(shard.name)
            step = write_shard(copying.target, shard, key, videos, Quantizer.uniform(), NOT_WITHHELD)
            copying.journal.record(step)
    advance(WRITE, videos=len(members), frames=step.facts.frames)
    return step


def _coefficients(members: Iterable[Member], store: FeatureStore, pca: Pca) -> Iterator[tuple[Member, Float32Array]]:
    return ((member, pca.transform(features)) for member, features in stored_videos(members, store))


def stored_videos(members: Iterable[Member], store: FeatureStore) -> Iterator[tuple[Member, npt.NDArray[np.floating]]]:
    """Yields each video of a shard with its stored features, (frames, dimensions), which are those of the dataset.

    Raises:
        DataError: if the store has other features of a video than the dataset was built from.
    """
    for member in members:
        uri = store.path(member.video_id)
        stored = store.open(uri)
        if stored.entry.sha256 != member.sha256:
            raise DataError(
                what="Stored features are not those that the dataset was built from",
                where=uri,
                why=f"their sha256 is {stored.entry.sha256}, videos.parquet says {member.sha256}",
                fix="build the dataset again and take that, or leave --store out to take its codes",
            )
        yield member, stored.video.features


def decoded_videos(shard: Shard, members: Iterable[Member], source: Layout) -> Iterator[tuple[Member, Float32Array]]:
    """Yields each video of a shard with its de-quantized coefficients: float32, (frames, components).

    Raises:
        DataError: if the shard is damaged, or the dataset is gone.
    """
    state = files.state(source.path(Layout.MANIFEST))
    if state is None:
        raise DataError(
            what="The dataset that is read is gone",
            where=source.root,
            why=f"it has no {Layout.MANIFEST} any more",
            fix="put it back, and run the same command again",
        )
    require_intact(source, finished_steps(source, state)[shard.name].files[0])
    opened = open_dataset(source.root)
    for member, example in zip(members, read_shard(opened, opened.shard(LEVELS[0], shard)), strict=True):
        yield member, example.features


@dataclass
class WriteExportManifest(beam.PTransform[PCollection[Step], PCollection[None]]):
    """PCollection[Step] of all shards → manifest.json, when all files stand.

    Attributes:
        copying: From where to where.
        planned: What the new manifest says otherwise than the source's, and was known before.
        quantizer: The new codebook.
        tables: Every other file.
        passed: The verdict on the store.
    """

    copying: Copying
    planned: Mapping[str, Any]
    quantizer: PCollection[Step]
    tables: PCollection[FileEntry]
    passed: PCollection[bool]

    def expand(self, shards: PCollection[Step]) -> PCollection[None]:
        start = shards.pipeline | beam.Create([self.planned]) | OnlyIf(self.passed)
        sides = (AsSingleton(self.quantizer), AsIter(shards), AsIter(self.tables))
        return start | Map(_write_manifest, self.copying, *sides)


def _write_manifest(
    planned: Mapping[str, Any], copying: Copying, quantizer: Step, shards: Iterable[Step], tables: Iterable[FileEntry]
) -> None:
    steps = sorted(shards, key=lambda step: step.name)
    source = Manifest.of(copying.source)
    values = {
        **source.to_json(),
        **shard_parts(steps),
        **planned,
        "quantizer": fitted_row(quantizer),
        "encoded": {"from": FEATURES},
    }
    if copying.store is None:
        values |= _origin_in_codes(source, total_distortion(steps))
    describe_dataset(copying.target, values, tables)


def _origin_in_codes(source: Manifest, added: Distortion) -> dict[str, Any]:
    """What the manifest says of codes that were made from codes."""
    distortion = to_json(source.distortion)
    more, before = added.relative_error or 0.0, relative_error_of_facts(distortion.values())
    codebook = source.quantizer.facts
    warning = (
        f"these codes were made from {codebook.method} codes, not from features: to the mean squared error of those, "
        f"{before:.2%} of the variance, this adds {more:.2%}; together they are about "
        f"{relative_error_of_both(before, more):.2%}"
    )
    origin = {"build_key": source.build_key, "quantizer": codebook.fingerprint}
    return {
        "encoded": {"from": CODES, **origin, "distortion": distortion},
        "warnings": sorted([*source.warnings, warning]),
    }
