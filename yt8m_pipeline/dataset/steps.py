"""The steps that write a dataset (the PCA, the codebook, each shard), their keys and the files that they leave."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.typed_json import from_json, json_object, to_json
from yt8m_pipeline.errors import DataError

PCA = "pca"
QUANTIZER = "quantizer"
"""The names of the two steps that are fitted; all others are shards, by the shard's name."""


@dataclass(frozen=True, order=True, slots=True)
class FileEntry:
    """A file of the dataset: its path in the dataset, its size in bytes and its SHA-256 in hexadecimal."""

    path: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if {"", ".", ".."} & set(self.path.split("/")):
            raise ValueError(f"{self.path!r} is not the path of a file in a dataset")


@dataclass(frozen=True, slots=True)
class PcaFacts:
    """What the manifest says of the PCA.

    Attributes:
        source: Where it comes from: "fitted", "imported", or what the dataset was converted from.
        components: The number of coefficients of a frame.
        epsilon: The number that is added to the eigenvalues; None if the dataset was converted and has no PCA.
        fingerprint: The PCA's fingerprint; None if the dataset has no PCA.
        more: Other facts, such as the share of the variance that is explained.
    """

    source: str
    components: int
    epsilon: float | None
    fingerprint: str | None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CodebookFacts:
    """What the manifest says of the codebook: the quantizer's name, its scope, its fingerprint, and more."""

    method: str
    scope: str
    fingerprint: str
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What the manifest says of a shard: its partition, its numbers of videos and frames, and what encoding cost."""

    partition: Partition
    records: int
    frames: int
    distortion: Distortion


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step of a build: the PCA, the codebook, or one shard.

    Attributes:
        name: The name of the step, unique in the dataset.
        key: A SHA-256 of everything that the bytes of the step's files depend on. A build whose step has the same key
            does not run it again.
        files: The files that the step wrote.
        facts: What the manifest says of the step; each kind of step has its own.
    """

    name: str
    key: str
    files: tuple[FileEntry, ...]
    facts: Any

    @property
    def digest(self) -> str:
        """SHA-256 of the digests of its files: what the key of a step contains that reads them."""
        return step_key([(file.path, file.sha256) for file in self.files])

    def to_json(self) -> dict[str, Any]:
        """The step as the journal of a build keeps it."""
        return {"name": self.name, "key": self.key, "files": to_json(self.files), "facts": to_json(self.facts)}

    @classmethod
    def from_json(cls, values: Any) -> "Step":
        """The inverse of `to_json`; which kind of step it is, its name tells.

        Raises:
            WrongJson: it is no such step.
        """
        kinds: Mapping[str, type[Step]] = {PCA: PcaStep, QUANTIZER: CodebookStep}
        return from_json(kinds.get(str(json_object(values).get("name")), ShardStep), values)


@dataclass(frozen=True, slots=True)
class PcaStep(Step):
    """The step that fits or imports the PCA."""

    facts: PcaFacts


@dataclass(frozen=True, slots=True)
class CodebookStep(Step):
    """The step that makes the codebook."""

    facts: CodebookFacts


@dataclass(frozen=True, slots=True)
class ShardStep(Step):
    """The step that writes the two files of a shard."""

    facts: ShardFacts


def step_key(*parts: Any) -> str:
    """The SHA-256 of the parts as canonical JSON (keys sorted), in hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def is_intact(layout: Layout, file: FileEntry) -> bool:
    """Whether a file stands in the dataset with this size and digest."""
    uri = layout.path(file.path)
    return files.file_size(uri) == file.bytes and files.sha256(uri) == file.sha256


def require_intact(layout: Layout, file: FileEntry) -> None:
    """Raises a DataError unless a file stands in the dataset with this size and digest."""
    if is_intact(layout, file):
        return
    uri = layout.path(file.path)
    why = "its bytes are not those that the manifest lists" if files.exists(uri) else "it is missing"
    raise DataError(
        what="A file of the dataset is damaged",
        where=uri,
        why=why,
        fix="`yt8m verify` lists all damage, and names the command that mends it",
    )


def file_entry(layout: Layout, path: str) -> FileEntry:
    """Describes a file of the dataset by reading it whole; `path` is its path in the dataset."""
    uri = layout.path(path)
    return FileEntry(path, files.describe(uri)[0], files.sha256(uri))
