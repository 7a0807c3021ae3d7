"""What a model reads of a dataset, and the identity of it: a model fits no other feature space, codes or classes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow.compute as pc

from yt8m_pipeline.baselines.settings import FRAME_MODELS, ModelName
from yt8m_pipeline.data_model import Int64Array, Partition
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import FinishedDataset, ShardFile, open_dataset
from yt8m_pipeline.dataset.steps import step_key
from yt8m_pipeline.errors import DataError, UsageError

Kind: TypeAlias = Literal["frames", "mean_rgb", "features"]
"""What a record holds: codes of frames, the mean of the de-quantized frames, or the vector of a feature set."""


@dataclass(frozen=True)
class Identity:
    """What the numbers that a model reads, and its classes, mean.

    Attributes:
        feature_space: The fingerprint of the features that the dataset was made of.
        pca: The fingerprint of the dataset's PCA; None if it has none.
        quantizer: The fingerprint of the codebook.
        vocabulary: The SHA-256 of the ids of the classes, in their order, one a line.
        input: "frames", "mean_rgb", or {"features": …} with what tells one feature set from another.
    """

    feature_space: str
    pca: str | None
    quantizer: str
    vocabulary: str
    input: Any

    def differences(self, other: "Identity") -> list[str]:
        """The names of the fields that differ."""
        return [field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)]


@dataclass(frozen=True)
class Source:
    """What a model reads.

    Attributes:
        dataset: The dataset.
        kind: What its records hold.
        dimensions: The length of a vector.
        files: The files of each partition that has any.
        identity: What its numbers and classes mean.
        key: A digest of what the very files that are read hold.
    """

    dataset: FinishedDataset
    kind: Kind
    dimensions: int
    files: Mapping[Partition, Sequence[ShardFile]]
    identity: Identity
    key: str

    @property
    def classes(self) -> int:
        return self.dataset.count_classes()

    def videos(self, partition: Partition) -> int:
        return sum(file.records for file in self.files[partition])

    def require_videos(self, partition: Partition, why: str) -> None:
        """Raises a DataError if a partition has no video."""
        if not self.videos(partition):
            raise DataError(
                what=f"The dataset has no {partition.value} videos",
                where=self.dataset.layout.root,
                why=why,
                fix="build a dataset in which each partition has videos (`partitioning` in its config)",
            )

    def train_counts(self) -> Int64Array:
        """The number of train videos that each class labels: int64, (classes,)."""
        rows = read_parquet(self.dataset.layout, Layout.VIDEOS, ["partition", "labels"])
        labels = rows.filter(pc.equal(rows["partition"], Partition.TRAIN.value))["labels"]
        return np.bincount(np.asarray(pc.list_flatten(labels), np.int64), minlength=self.classes)


def open_source(model: ModelName, dataset: str, features: str | None = None) -> Source:
    """What a model reads of a dataset.

    Args:
        model: The model.
        dataset: The folder of a finished dataset.
        features: The folder of a feature set of it (`yt8m features`), for models of video-level features. Without it
            these read the dataset's own `mean_rgb`.

    Raises:
        UsageError: there is no dataset, or the features are of another one, or the model reads frames.
        DataError: something is unfinished or damaged.
    """
    opened = open_dataset(dataset)
    manifest = Manifest.of(opened.layout)
    if features is not None:
        return _of_features(model, opened, manifest, features)
    kind: Kind = "frames" if model in FRAME_MODELS else "mean_rgb"
    files = {part: opened.shards("frame" if kind == "frames" else "video", part) for part in Partition}
    folders = tuple(f"{'frame' if kind == 'frames' else 'video'}/{part.value}/" for part in Partition)
    key = step_key(sorted((row.path, row.sha256) for row in manifest.shards if row.path.startswith(folders)))
    return Source(opened, kind, opened.dimensions, files, _identity(opened, manifest, kind), key)


def _of_features(model: ModelName, opened: FinishedDataset, manifest: Manifest, folder: str) -> Source:
    from yt8m_pipeline.video_level.feature_set import open_features  # noqa: PLC0415  only who has one needs it

    if model in FRAME_MODELS:
        raise UsageError(
            what=f"{model} takes no feature set",
            where=f"--features {folder}",
            why="it reads frames (paper §4.1), and a feature set has one vector of each video",
            fix="leave --features out, or train hinge, logistic or moe",
        )
    found = open_features(folder)
    if found.told.build_key != manifest.build_key:
        raise UsageError(
            what="The features are those of another dataset",
            where=folder,
            why=f"they were made of the build {found.told.build_key[:12]}, and {opened.layout.root} is "
            f"{manifest.build_key[:12]}",
            fix="make them anew: `yt8m features DATASET --output DIR`",
        )
    files = {part: found.shards(part) for part in Partition}
    identity = _identity(opened, manifest, {"features": found.told.identity})
    return Source(opened, "features", found.dimensions, files, identity, found.told.key)


def _identity(opened: FinishedDataset, manifest: Manifest, read: Any) -> Identity:
    ids = "\n".join(entity.entity_id or entity.name for entity in opened.vocabulary)
    return Identity(
        manifest.feature_space.fingerprint,
        manifest.pca.facts.fingerprint,
        manifest.quantizer.facts.fingerprint,
        hashlib.sha256(ids.encode()).hexdigest(),
        read,
    )


def require_same(expected: Identity, found: Identity, model_dir: str, dataset: str, but: Sequence[str] = ()) -> None:
    """Raises a UsageError if a dataset is not what a model was trained on, with the fields that differ.

    Args:
        expected: The identity of the model.
        found: That of the dataset.
        model_dir: The folder of the model, which the error names.
        dataset: The folder of the dataset, which the error names.
        but: The fields that may differ.
    """
    wrong = [name for name in expected.differences(found) if name not in but]
    if wrong:
        told = [f"{name}: {_short(getattr(expected, name))} and {_short(getattr(found, name))}" for name in wrong]
        raise UsageError(
            what="The model was trained on other features or classes than these",
            where=f"{model_dir}, {dataset}",
            why="; ".join(told),
            fix="give what it was trained on: videos extracted with `yt8m extract --like`, or the same --features",
        )


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
