"""The Beam shell of video-level features: the shards of a finished dataset in, one normalised vector a video out.

φ of the videos of each shard is written to a file first, since the PCA needs all of train before the first vector can
be made; these files are a quarter of the codes or less, and go when the features are finished. Only ids, labels and
paths cross a shuffle.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pipeline import Pipeline
from apache_beam.pvalue import AsIter, AsSingleton, PCollection
from apache_beam.transforms.combiners import ToListCombineFn

from yt8m_pipeline import files
from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.compression.moments import Magnitudes, Moments
from yt8m_pipeline.compression.pca import REVISION as PCA_REVISION
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.file_list import ListedFile, write_list
from yt8m_pipeline.dataset.layout import Shard
from yt8m_pipeline.dataset.reader import open_pca
from yt8m_pipeline.dataset.shards import Member
from yt8m_pipeline.dataset.steps import PCA, FileEntry, ShardFacts, ShardStep, Step, file_entry, step_key
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.features_plan import REVISION, VECTORS, WHITENING, FeaturesPlan
from yt8m_pipeline.transforms.combiners import AddUp, Sum
from yt8m_pipeline.transforms.compression import load_pca, save_pca
from yt8m_pipeline.transforms.dataset import WRITE, OnlyIf
from yt8m_pipeline.transforms.exporting import Copying, Group, copy_file, decoded_videos, stored_videos
from yt8m_pipeline.transforms.monitoring import advance, announce, say, timed
from yt8m_pipeline.transforms.steps import FlatMap, Map
from yt8m_pipeline.video_level.feature_list import LIST, PHI, FeatureList
from yt8m_pipeline.video_level.names import Source, Space
from yt8m_pipeline.video_level.statistics import PARTS, Frames, by_batches, describe, normalize_length
from yt8m_pipeline.video_level.writing import Labelled, parquet_file, read_rows, write_rows, write_vectors

DESCRIBE = "describe"
"""The stage that computes φ, in progress and metrics."""

UNITS = 16
"""The number of sums of moments that workers make of φ of the train videos, each of some shards. At 14,336 dimensions
one takes 4.9 GB of memory while it is made, and 2.5 GB when it travels: few large ones, not one for each shard."""

FIT_SECONDS = 127.0
"""The time that the decomposition of a matrix of 4,096 × 4,096 takes one core (scripts/bench_features.py). It grows
with at most the third power of the size."""

ACCUMULATORS = 4
"""The number of partial sums that the last addition meets."""


class Described(NamedTuple):
    """A shard whose vectors stand in a file, one row for each of its videos in their order."""

    shard: Shard
    members: list[Member]
    step: Step

    @property
    def file(self) -> FileEntry:
        file: FileEntry = self.step.files[0]
        return file


@dataclass
class DescribeVideos(beam.PTransform[PCollection[Group], PCollection[Described]]):
    """PCollection[Group] → PCollection[Described]: φ of each video, written or still valid.

    Attributes:
        plan: The plan.
        passed: The verdict on the store.
    """

    plan: FeaturesPlan
    passed: PCollection[bool]

    def expand(self, groups: PCollection[Group]) -> PCollection[Described]:
        announce(DESCRIBE, self.plan.number_of_videos)
        return groups | OnlyIf(self.passed) | Map(_describe, self.plan)


def _describe(group: Group, plan: FeaturesPlan) -> Described:
    shard, members = group
    name, path = f"{PHI}/{shard.name}", f"{PHI}/{shard.name}.f32"
    key = step_key(plan.told.key, name, [(member.video_id, member.sha256) for member in members])
    step = plan.journal.find(name, key, intact=True)
    if step is None:
        plan.journal.forget(name)
        with timed(DESCRIBE), plan.layout.open_write(path) as stream:
            write_rows(stream, vectors(shard, members, plan))
        step = _record(plan, shard, name, key, [path], len(members))
    advance(DESCRIBE, videos=len(members))
    return Described(shard, members, step)


def _record(plan: FeaturesPlan, shard: Shard, name: str, key: str, paths: Iterable[str], videos: int) -> Step:
    written = tuple(file_entry(plan.layout, path) for path in paths)
    return plan.journal.record(ShardStep(name, key, written, ShardFacts(shard.partition, videos, 0, Distortion())))


def vectors(shard: Shard, members: Sequence[Member], plan: FeaturesPlan) -> Iterator[Float32Array]:
    """What stands for each video of a shard: φ of its stored features, φ of its codes, or the states of a model."""
    told = plan.told
    match told.source:
        case Source.STORE:
            return map(_describing(told), _stored_frames(members, plan))
        case Source.CODES:
            return map(_describing(told), _decoded_frames(shard, members, plan))
        case Source.STATES:
            return map(_states(plan.model or "", told.model or ""), _coefficients(shard, members, plan))


def _describing(told: FeatureList) -> Callable[[Frames], Float32Array]:
    """φ of the frames of a video (paper §4.2.1, equation 2)."""
    return partial(describe, blocks=PARTS[told.blocks] if told.blocks else (), top=told.top)


def _coefficients(shard: Shard, members: Sequence[Member], plan: FeaturesPlan) -> Iterator[Float32Array]:
    return (coefficients for _, coefficients in decoded_videos(shard, members, plan.dataset.layout))


def _decoded_frames(shard: Shard, members: Sequence[Member], plan: FeaturesPlan) -> Iterator[Frames]:
    """What the codes tell of the features of frames: quantization and PCA inverted (paper §5.2), or the first alone."""
    coefficients = _coefficients(shard, members, plan)
    return coefficients if plan.told.space is Space.PCA else by_batches(_pca_of(plan).inverse_transform, coefficients)


def _stored_frames(members: Sequence[Member], plan: FeaturesPlan) -> Iterator[Frames]:
    """The features of frames as they are, or their coefficients without the error of any code."""
    assert plan.store  # noqa: S101  this is its source
    features = (stored for _, stored in stored_videos(members, plan.store))
    return by_batches(_pca_of(plan).transform, features) if plan.told.space is Space.PCA else features


def _pca_of(plan: FeaturesPlan) -> Pca:
    """The PCA of the dataset; a process reads it once."""
    return _opened_pca(plan.dataset.layout.root)


@lru_cache(maxsize=1)
def _opened_pca(root: str) -> Pca:
    return open_pca(root)


@lru_cache(maxsize=1)
def _states(model: str, weights: str) -> Callable[[Float32Array], Float32Array]:
    """The states of a model at the last frame of a video (paper §4.1.3); a process loads it once.

    Raises:
        DataError: if its weights are not those that were planned with.
    """
    from yt8m_pipeline.baselines.saved import BEST  # noqa: PLC0415  a model: only where there is one
    from yt8m_pipeline.baselines.states import open_states  # noqa: PLC0415

    if files.sha256(files.join(model, BEST)) != weights:
        raise DataError(
            what="The model has changed while its states were computed",
            where=files.join(model, BEST),
            why="its bytes are not those that it had when the command was started",
            fix="run the same command again in a new folder",
        )
    return open_states(model)


@dataclass
class FitToTrain(beam.PTransform[PCollection[Described], PCollection[Step]]):
    """PCollection[Described] → PCollection[Step] of one: the PCA of φ, of the train videos alone (paper §4.2.2)."""

    plan: FeaturesPlan

    def expand(self, described: PCollection[Described]) -> PCollection[Step]:
        plan = self.plan
        train = described | "train" >> beam.Filter(_is_of_train)
        if plan.by_gram:
            together = train | "together" >> beam.CombineGlobally(ToListCombineFn()).without_defaults()
            return together | "fit" >> Map(_fit_by_gram, plan)
        exponent = (
            train
            | "magnitudes" >> Map(_magnitudes, plan)
            | "all magnitudes" >> beam.CombineGlobally(Sum()).without_defaults()
            | "grid" >> Map(Magnitudes.grid_exponent)
        )
        files = train | "file" >> Map(_file) | "files" >> beam.CombineGlobally(ToListCombineFn()).without_defaults()
        moments = (
            files
            | "units" >> FlatMap(_units, plan)
            | beam.Reshuffle()
            | "moments" >> Map(_moments, plan, AsSingleton(exponent))
            | "sum" >> AddUp(ACCUMULATORS)
        )
        return files | "fit" >> Map(_fit_by_moments, plan, AsSingleton(moments, default_value=None))


def _is_of_train(described: Described) -> bool:
    return described.shard.partition == Partition.TRAIN and bool(described.members)


def _file(described: Described) -> FileEntry:
    return described.file


def _rows(file: FileEntry, plan: FeaturesPlan) -> Iterator[Float32Array]:
    return read_rows(plan.layout.path(file.path), plan.told.described)


def _pca_key(files: Iterable[FileEntry], plan: FeaturesPlan) -> str:
    return step_key(PCA, PCA_REVISION, REVISION, plan.told.dimensions, WHITENING, sorted(file.sha256 for file in files))


def _fit_by_gram(train: Sequence[Described], plan: FeaturesPlan) -> Step:
    """The PCA of φ of so few videos that all of them are in memory, in the order of their ids."""
    key = _pca_key(map(_file, train), plan)
    step = plan.journal.find(PCA, key, intact=True)
    if step:
        return step
    ids = [member.video_id for described in train for member in described.members]
    rows = np.concatenate([block for described in train for block in _rows(described.file, plan)])
    say(f"the PCA is fitted to {len(rows)} videos by their Gram matrix, {time_of_fit(len(rows))}")
    with timed(PCA):
        ordered = rows[sorted(range(len(ids)), key=ids.__getitem__)]
        pca = Pca.fit_by_gram(ordered, components=plan.told.dimensions, relative_epsilon=WHITENING, to=VECTORS)
    return save_pca(plan.journal, key, pca, "fitted", {"videos": len(rows), "by": "gram"})


def time_of_fit(size: int) -> str:
    """How long the PCA takes by a matrix of this size, in words."""
    minutes = FIT_SECONDS * (size / 4096) ** 3 / 60
    return "which takes less than a minute" if minutes < 1 else f"which takes about {minutes:.0f} minutes"


def _magnitudes(described: Described, plan: FeaturesPlan) -> Magnitudes:
    largest = (np.abs(block).max(axis=1).tolist() for block in _rows(described.file, plan))
    videos = zip(described.members, chain.from_iterable(largest), strict=True)
    found = [Magnitudes.of(magnitude, member.video_id) for member, magnitude in videos]
    return sum(found[1:], found[0])


def _units(files: Sequence[FileEntry], plan: FeaturesPlan) -> Iterator[list[FileEntry]]:
    """The files of φ in some groups, unless the PCA is fitted to them already."""
    if plan.journal.find(PCA, _pca_key(files, plan), intact=True) is None:
        ordered = sorted(files)
        yield from (ordered[start::UNITS] for start in range(min(UNITS, len(ordered))))


def _moments(unit: Sequence[FileEntry], plan: FeaturesPlan, exponent: int) -> Moments:
    with timed(PCA):
        blocks = (block for file in unit for block in _rows(file, plan))
        return Moments.from_blocks(blocks, plan.told.described, exponent)


def _fit_by_moments(files: Sequence[FileEntry], plan: FeaturesPlan, moments: Moments | None) -> Step:
    key = _pca_key(files, plan)
    step = plan.journal.find(PCA, key, intact=True)
    if step:
        return step
    assert moments  # noqa: S101  there are units unless the PCA is fitted
    dimensions = moments.dimensions
    say(f"the PCA is fitted to {moments.count} videos by moments of {dimensions} values, {time_of_fit(dimensions)}")
    with timed(PCA):
        pca = Pca.fit(moments, components=plan.told.dimensions, relative_epsilon=WHITENING, to=VECTORS)
    return save_pca(plan.journal, key, pca, "fitted", {"videos": moments.count, "by": "moments"})


@dataclass
class TakePca(beam.PTransform[Pipeline, PCollection[Step | None]]):
    """Pipeline → PCollection[Step] of one: the PCA of other features (paper §5.3); None of the states of a model."""

    plan: FeaturesPlan

    def expand(self, root: Pipeline) -> PCollection[Step | None]:
        return root | beam.Create([self.plan]) | Map(_take_pca)


def _take_pca(plan: FeaturesPlan) -> Step | None:
    if plan.like is None:
        return None
    told = plan.like.told
    key = step_key(PCA, told.key, told.identity)
    step = plan.journal.find(PCA, key, intact=True)
    return step or save_pca(plan.journal, key, plan.like.pca, "like", {"build_key": told.build_key})


@dataclass
class WriteVectors(beam.PTransform[PCollection[Described], PCollection[ListedFile]]):
    """PCollection[Described] → PCollection[ListedFile]: both files of each shard, written or still valid.

    Attributes:
        plan: The plan.
        pca: The PCA of φ; one None: the rows are the vectors, as they are.
    """

    plan: FeaturesPlan
    pca: PCollection[Step | None]

    def expand(self, described: PCollection[Described]) -> PCollection[ListedFile]:
        return described | FlatMap(_write_vectors, self.plan, AsSingleton(self.pca))


def _write_vectors(described: Described, plan: FeaturesPlan, pca: Step | None) -> Iterator[ListedFile]:
    shard, name = described.shard, described.shard.name
    videos = [_labelled(member, shard.partition, plan) for member in described.members]
    labels = [video.labels for video in videos]
    key = step_key(plan.told.key, name, described.step.key, described.step.digest, pca and pca.digest, labels)
    step = plan.journal.find(name, key)
    if step is None:
        plan.journal.forget(name)
        with timed(WRITE):
            write_vectors(plan.layout, shard, videos, _normalised(described, plan, pca))
        step = _record(plan, shard, name, key, [shard.file("video"), parquet_file(shard)], len(videos))
    advance(WRITE, videos=len(videos))
    yield from (ListedFile.of(file, len(videos), shard.partition) for file in step.files)


def _labelled(member: Member, partition: Partition, plan: FeaturesPlan) -> Labelled:
    return Labelled(member.video_id, member.labels if partition in plan.published else None)


def _normalised(described: Described, plan: FeaturesPlan, pca: Step | None) -> Iterator[Float32Array]:
    """The vectors of a shard: without mean, decorrelated, whitened, and of unit length (paper §4.2.2)."""
    rows = _rows(described.file, plan)
    if pca is None:
        return rows
    fitted = load_pca(plan.layout, pca)
    return (normalize_length(fitted.transform(block)) for block in rows)


@dataclass
class CopyVocabularyFile(beam.PTransform[Pipeline, PCollection[ListedFile]]):
    """Pipeline → PCollection[ListedFile] of one: the vocabulary of the dataset, which the labels are indices into."""

    plan: FeaturesPlan

    def expand(self, root: Pipeline) -> PCollection[ListedFile]:
        return root | beam.Create([self.plan]) | Map(_copy_vocabulary)


def _copy_vocabulary(plan: FeaturesPlan) -> ListedFile:
    return ListedFile.of(copy_file(plan.vocabulary, Copying(plan.dataset.layout, plan.journal, None)))


@dataclass
class WriteFeatureList(beam.PTransform[PCollection[ListedFile], PCollection[None]]):
    """PCollection[ListedFile] of all files but the PCA's → features.json, when all of them stand.

    Attributes:
        plan: The plan.
        pca: The PCA of φ; one None: there is none.
        passed: The verdict on the store.
    """

    plan: FeaturesPlan
    pca: PCollection[Step | None]
    passed: PCollection[bool]

    def expand(self, written: PCollection[ListedFile]) -> PCollection[None]:
        start = written.pipeline | beam.Create([self.plan]) | OnlyIf(self.passed)
        return start | Map(_write_list, AsSingleton(self.pca), AsIter(written))


def _write_list(plan: FeaturesPlan, pca: Step | None, written: Iterable[ListedFile]) -> None:
    fitted = map(ListedFile.of, pca.files) if pca else ()
    listed = tuple(sorted([*written, *fitted], key=lambda file: file.path))
    write_list(plan.layout, LIST, replace(plan.told, pca=pca.facts if pca else None, files=listed))
