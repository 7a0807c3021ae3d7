"""`yt8m verify --deep`: computes every fact of a dataset again from the feature store that it was built from.

`dataset.verify` compares the files with the manifest, so whoever writes a false manifest, or a build with a bug, passes
it. Here nothing that can be computed is taken from the manifest: the totals, the labels, the PCA, the codebook, the
shards and what encoding cost them.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from math import ceil
from operator import add
from typing import Any

import numpy as np

from yt8m_pipeline import __version__, files
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.moments import Magnitudes, Moments
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.compression.whiteness import Whitening
from yt8m_pipeline.data_model import Float32Array, Partition, StoredVideo, Video
from yt8m_pipeline.dataset.index import read_parquet, recorded_entry
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import (
    PUBLISHED,
    Manifest,
    PartitionSummary,
    distortion_facts,
    label_policy,
    total_distortion,
)
from yt8m_pipeline.dataset.reader import open_dataset, open_pca
from yt8m_pipeline.dataset.shards import Member, write_shard
from yt8m_pipeline.dataset.steps import ShardStep
from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.dataset.verify import Fault, verify
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.jobs.build_plan import build_key
from yt8m_pipeline.selection.partitioning import lacking_entities
from yt8m_pipeline.store.feature_store import DESCRIPTION, FeatureStore, describe, feature_space

SHARE = 0.05
"""The share of the shards of each partition that are written again, if not all are; at least one."""
SALT = "yt8m-verify"
TOLERANCE = 1e-6
"""How far the PCA may be from that of its frames, relative to the largest variance. An eigendecomposition of 2,048
dimensions in float64 is good to about 1e-12; what this is to find is a PCA of other frames."""
LEVEL_TOLERANCE = 1e-3
"""How far a level may be from the optimum, relative to the spread of the levels: the last bits of coefficients depend
on the machine, and move a value of the histogram to the next bucket here and there."""


@dataclass(frozen=True, slots=True)
class Built:
    """A finished dataset with all that it was built from.

    Attributes:
        layout: The paths of the dataset.
        manifest: Its manifest, whose facts are in question.
        pca: Its PCA.
        quantizer: Its codebook.
        store: The feature store that it was built from.
        rows: The rows of videos.parquet, with the withheld labels in their place, sorted by id.
        entity_ids: The entity of each label.
        advance: Called with the name of a stage, after each video of it.
    """

    layout: Layout
    manifest: Manifest
    pca: Pca
    quantizer: Quantizer
    store: FeatureStore
    rows: Sequence[Mapping[str, Any]]
    entity_ids: Sequence[str]
    advance: Callable[[str], None]

    def of(self, partition: Partition) -> list[Mapping[str, Any]]:
        """The rows of a partition."""
        return [row for row in self.rows if row["partition"] == partition.value]

    def features(self, rows: Sequence[Mapping[str, Any]], stage: str) -> Iterator[Float32Array]:
        """Reads the features of each video."""
        for row in rows:
            yield self.store.read(row["video_id"]).features.astype(np.float32)
            self.advance(stage)

    def coefficients(self, rows: Sequence[Mapping[str, Any]], stage: str) -> Iterator[Float32Array]:
        """Reads the features of each video, and projects them."""
        for row in rows:
            yield self.pca.transform(self.store.read(row["video_id"]).features)
            self.advance(stage)


def deep_verify(dataset: str, store: str, *, every_shard: bool, advance: Callable[[str], None]) -> list[Fault]:
    """Computes the facts of a dataset again, and compares.

    Args:
        dataset: The folder of a finished dataset that was built from features.
        store: The root of the feature store that it was built from.
        every_shard: Whether all shards are written again, rather than `SHARE` of them, chosen by hash.
        advance: Called with the name of a stage ("features", "pca", "quantizer", "shards") after each video of it.

    Returns:
        The faults found, sorted. Where `verify` finds faults, these alone: with damaged files nothing can be compared;
        likewise where the store has other features.

    Raises:
        UsageError: there is no dataset, it was not built from features or is an extraction, or the store has none of
            its feature space.
        DataError: the manifest cannot be read, or the dataset is not finished.
    """
    manifest = Manifest.of(Layout(dataset))
    if manifest.is_extraction:
        raise UsageError(
            what="An extraction of new videos fitted nothing that could be computed again",
            where=dataset,
            why="its PCA, codebook and vocabulary are those of the dataset that it was extracted like",
            fix="leave --deep out, or verify that dataset",
        )
    faults = verify(dataset)
    if faults:
        return faults
    built = _open(dataset, store, advance)
    faults = [*_check_space(built), *_check_features(built)]
    if faults:
        return sorted(faults)
    checks = (_check_build_key, _check_totals, _check_distortion, _check_pca, _check_codebook)
    shards = _check_shards(built, every=every_shard)
    return sorted([*chain.from_iterable(check(built) for check in checks), *shards])


def _open(dataset: str, root: str, advance: Callable[[str], None]) -> Built:
    opened = open_dataset(dataset)
    manifest = Manifest.of(opened.layout)
    if manifest.encoded.source != "features":
        raise UsageError(
            what="The dataset was not built from features",
            where=dataset,
            why=f"its codes were made from {manifest.encoded.source}",
            fix="verify the dataset that these came from, or leave --deep out",
        )
    store = FeatureStore(root, manifest.feature_space.fingerprint)
    if not files.exists(files.join(store.folder, DESCRIPTION)):
        raise UsageError(
            what="The feature store has no features of this dataset's feature space",
            where=root,
            why=f"it has no folder {store.space} with a {DESCRIPTION}",
            fix="give the store that the dataset was built from with --store",
        )
    pca, rows = open_pca(dataset), _rows(opened.layout)
    return Built(opened.layout, manifest, pca, opened.quantizer, store, rows, _entity_ids(opened.layout), advance)


def _rows(layout: Layout) -> list[Mapping[str, Any]]:
    is_withheld = files.exists(layout.path(Layout.TEST_LABELS))
    rows = read_parquet(layout, Layout.TEST_LABELS).to_pylist() if is_withheld else []
    withheld = {row["video_id"]: row["labels"] for row in rows}
    videos = read_parquet(layout, Layout.VIDEOS).to_pylist()
    return [row | {"labels": row["labels"] or withheld.get(row["video_id"], [])} for row in videos]


def _entity_ids(layout: Layout) -> list[str]:
    return [row["KnowledgeGraphId"] for row in vocabulary_rows(files.read_bytes(layout.path(Layout.VOCABULARY)))]


# Against the store ----------------------------------------------------------------------------------------------------


def _check_space(built: Built) -> Iterator[Fault]:
    stated = dict(built.manifest.feature_space.more)
    false_facts = list(_compare("feature_space", stated, describe(built.store) or {}))
    yield from false_facts or _compare("feature_space.fingerprint", built.store.space, feature_space(stated))


def _check_features(built: Built) -> Iterator[Fault]:
    """Checks that every video has labels of the vocabulary, and the features in the store that videos.parquet says."""
    for row in built.rows:
        name, labels = f"video {row['video_id']}", row["labels"]
        if not labels or not 0 <= min(labels) <= max(labels) < len(built.entity_ids):
            yield Fault(Layout.VIDEOS, f"{name}: the labels {labels} are not labels of {Layout.VOCABULARY}")
        try:
            found = built.store.open(built.store.path(row["video_id"])).entry
        except DataError as error:
            yield Fault(Layout.VIDEOS, f"{name}: {error.what}: {error.why}")
            continue
        said = recorded_entry(row)
        if found != (said if said.media else replace(said, transfer=found.transfer, media=found.media)):
            yield Fault(Layout.VIDEOS, f"{name}: the store has {found}, the table says {said}")
        built.advance("features")


# Against the tables ---------------------------------------------------------------------------------------------------


def _check_build_key(built: Built) -> Iterator[Fault]:
    """Checks that the key is that of the config, the inputs and the feature space, if this version computes it."""
    manifest = built.manifest
    if manifest.versions.get("yt8m_pipeline") == __version__:
        key = build_key(__version__, manifest.config, manifest.inputs, manifest.feature_space.fingerprint)
        yield from _compare("build_key, of config, inputs and feature_space", manifest.build_key, key)


def _check_totals(built: Built) -> Iterator[Fault]:
    """Checks the totals of each partition, the labels among them, and the deviation from the grid."""
    totals = {part: _total(built, part) for part in Partition}
    for part, total in totals.items():
        yield from _compare(f"partitions.{part}", to_json(built.manifest.partitions[part]), total.to_json())
    everything = reduce(add, totals.values())
    asked = built.manifest.config.get("labels")
    are_all = isinstance(asked, Mapping) and asked.get("test") == "published"
    policy = label_policy(tuple(Partition) if are_all else PUBLISHED)
    stated = built.manifest.more
    deviation = stated.get("sampling", {}).get("deviation_seconds")
    yield from _compare("sampling.deviation_seconds", deviation, everything.deviation_seconds())
    yield from _compare("labels", stated.get("labels"), policy)
    decoding = built.manifest.config.get("decoding")
    if "sampling" in stated and isinstance(decoding, Mapping):
        yield from _compare("sampling.policy", stated["sampling"].get("policy"), decoding.get("sampling"))
    if "lacking_entities" in stated:
        labels = {(row["partition"], built.entity_ids[label]) for row in built.rows for label in row["labels"]}
        lacking = lacking_entities(labels, built.entity_ids, built.manifest.published)
        yield from _compare("lacking_entities", stated["lacking_entities"], lacking)


def _total(built: Built, partition: Partition) -> PartitionSummary:
    total = PartitionSummary()
    for row in built.of(partition):
        labels = tuple(sorted(built.entity_ids[label] for label in row["labels"]))
        total += PartitionSummary.of(StoredVideo(Video(row["video_id"], "", partition, labels), recorded_entry(row)))
    return total


def _check_distortion(built: Built) -> Iterator[Fault]:
    """Checks that what encoding cost a partition is the sum of what it cost its shards."""
    steps = built.manifest.shard_steps()
    for part in Partition:
        total = total_distortion(step for step in steps if step.facts.partition is part)
        yield from _compare(f"distortion.{part}", to_json(built.manifest.distortion[part]), distortion_facts(total))


# Against what is fitted -----------------------------------------------------------------------------------------------


def _check_pca(built: Built) -> Iterator[Fault]:
    """Checks the PCA's facts, that its rows are orthonormal, and, if it was fitted, that it is of the train frames."""
    pca, stated = built.pca, to_json(built.manifest.pca.facts)
    found: dict[str, Any] = {"components": pca.components, "dimensions": len(pca.mean), "epsilon": pca.epsilon}
    found |= {"fingerprint": pca.fingerprint, "whitening": Whitening.of(pca).facts()}
    told = {name: stated.get(name) for name in found}
    if told["whitening"] is None:  # version 0.1.0 did not tell it
        del told["whitening"], found["whitening"]
    yield from _compare("pca", told, found)
    if stated["source"] != "fitted":
        return
    yield from _too_far("the rows of eigenvecs", "orthonormal", pca.eigenvectors @ pca.eigenvectors.T, 1.0)
    train = built.of(Partition.TRAIN)
    moments = _moments(built, train)
    explained = float(pca.explained_variance_ratio.sum())
    facts = {"frames": moments.count, "explained_variance_ratio": None if np.isnan(explained) else explained}
    yield from _compare("pca", {name: stated.get(name) for name in facts}, facts)
    covariance, scale = moments.covariance(), float(pca.eigenvalues.max(initial=0)) or 1.0
    projected = pca.eigenvectors @ covariance @ pca.eigenvectors.T
    yield from _too_far("the train coefficients before whitening", "as eigenvals say", projected, pca.eigenvalues)
    if np.abs(pca.mean - moments.mean()).max() > TOLERANCE * np.sqrt(scale):
        yield Fault(Layout.PCA, "mean is not that of the train frames")
    if abs(pca.total_variance - np.trace(covariance)) > TOLERANCE * pca.total_variance:
        yield Fault(Layout.PCA, "total_variance is not that of the train frames")


def _moments(built: Built, train: Sequence[Mapping[str, Any]]) -> Moments:
    magnitudes = (Magnitudes.of(row["features_magnitude"], row["video_id"]) for row in train)
    exponent = reduce(add, magnitudes).grid_exponent()
    return Moments.from_blocks(built.features(train, "pca"), len(built.pca.mean), exponent)


def _too_far(what: str, expected: str, found: Any, diagonal: Any) -> Iterator[Fault]:
    """A fault if a matrix is not diagonal with these values, beside the largest of them."""
    wanted = np.eye(len(found)) * diagonal
    distance = np.abs(found - wanted).max() / (np.abs(wanted).max() or 1.0)
    if not distance <= TOLERANCE:
        yield Fault(Layout.PCA, f"{what} are not {expected}: off by {distance:.2g} of the largest")


def _check_codebook(built: Built) -> Iterator[Fault]:
    """Checks the codebook's facts, and that an optimal one is optimal on the histogram of the train coefficients."""
    quantizer, stated = built.quantizer, to_json(built.manifest.quantizer.facts)
    facts = {
        "method": quantizer.name,
        "scope": quantizer.scope,
        "levels": quantizer.length,
        "feature_name": quantizer.feature_name,
    }
    yield from _compare("quantizer", {name: stated.get(name) for name in facts}, facts)
    if quantizer.name != "optimal" or "source" in stated:  # it is imported, and need not be the best of these frames
        return
    asked = built.manifest.config.get("quantizer")
    levels = asked.get("levels") if isinstance(asked, Mapping) else None
    if not isinstance(levels, int):
        yield Fault(Layout.MANIFEST, f"config.quantizer.levels: {levels} is no number of levels")
        return
    exponents = built.pca.scale_exponents(quantizer.scope)
    blocks = built.coefficients(built.of(Partition.TRAIN), "quantizer")
    best = Quantizer.fit(Histogram.from_blocks(blocks, len(exponents), exponents), levels)
    if best.levels.shape != quantizer.levels.shape:
        yield Fault(Layout.QUANTIZER, f"the optimum has {best.length} levels, the codebook {quantizer.length}")
        return
    spread = np.ptp(best.levels, axis=-1, keepdims=True)
    distance = (np.abs(best.levels - quantizer.levels) / np.where(spread, spread, 1.0)).max()
    if distance > LEVEL_TOLERANCE:
        yield Fault(Layout.QUANTIZER, f"its levels are not the optimum: off by {distance:.2g} of their spread")


# Against what is encoded ----------------------------------------------------------------------------------------------


def _check_shards(built: Built, *, every: bool) -> Iterator[Fault]:
    """Writes shards again from the store, into a folder that is thrown away, and compares files and facts."""
    members: dict[str, list[Mapping[str, Any]]] = {step.name: [] for step in built.manifest.shard_steps()}
    for row in built.rows:
        members[row["shard"]].append(row)
    for step in built.manifest.shard_steps():
        stated, frames = step.facts, sum(row["frames"] for row in members[step.name])
        of_rows = {"records": len(members[step.name]), "frames": frames}
        yield from _compare(f"shards, {step.name}", {"records": stated.records, "frames": stated.frames}, of_rows)
    for step in built.manifest.shard_steps() if every else _chosen(built.manifest.shard_steps()):
        again = _write_again(built, step, members[step.name])
        yield from _compare(f"shards, {step.name}", _of_encoding(step), _of_encoding(again))
        for file, found in zip(step.files, again.files, strict=True):
            if file != found:
                yield Fault(file.path, "is not what the features in the store are encoded to")


def _of_encoding(step: ShardStep) -> dict[str, Any]:
    """What the manifest says of a shard beside what the table of its videos tells."""
    return {name: fact for name, fact in to_json(step.facts).items() if name not in ("records", "frames")}


def _chosen(steps: Sequence[ShardStep]) -> list[ShardStep]:
    """`SHARE` of the shards with records of each partition, at least one, by hash."""
    of = {part: [step for step in steps if step.facts.partition is part and step.facts.records] for part in Partition}
    ranked = [sorted(own, key=lambda step: salted_hash(SALT, step.name)) for own in of.values()]
    return [step for own in ranked for step in own[: ceil(SHARE * len(own))]]


def _write_again(built: Built, step: ShardStep, rows: Sequence[Mapping[str, Any]]) -> ShardStep:
    shard = Shard.of_name(step.name)
    members = [Member(row["video_id"], row["features_sha256"], tuple(row["labels"])) for row in rows]
    videos = zip(members, built.coefficients(rows, "shards"), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        return write_shard(Layout(folder), shard, step.key, videos, built.quantizer, built.manifest.published)


def _compare(where: str, stated: Any, found: Any) -> Iterator[Fault]:
    """A fault for each fact that the manifest states otherwise than it was found."""
    if isinstance(stated, Mapping) and isinstance(found, Mapping):
        for name in sorted(stated.keys() | found.keys()):
            yield from _compare(f"{where}.{name}", stated.get(name), found.get(name))
    elif stated != found:
        yield Fault(Layout.MANIFEST, f"{where}: it says {stated}, found {found}")
