"""The steps that write a dataset (the PCA, the codebook, each shard), their keys and the files that they leave."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import DataError


@dataclass(frozen=True, order=True, slots=True)
class FileEntry:
    """A file of the dataset: its path in the dataset, its size in bytes and its SHA-256 in hexadecimal."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step of a build: the PCA, the codebook, or one shard.

    Attributes:
        name: The name of the step, unique in the dataset.
        key: A SHA-256 of everything that the bytes of the step's files depend on. A build whose step has the same key
            does not run it again.
        files: The files that the step wrote.
        facts: What the manifest says of the step.
    """

    name: str
    key: str
    files: tuple[FileEntry, ...]
    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the digests of its files: what the key of a step contains that reads them."""
        return step_key([(file.path, file.sha256) for file in self.files])

    def to_json(self) -> dict[str, Any]:
        entries = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in self.files]
        return {"name": self.name, "key": self.key, "files": entries, "facts": self.facts}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Step":
        entries = tuple(FileEntry(**entry) for entry in values["files"])
        return cls(values["name"], values["key"], entries, values["facts"])


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
        fix="list all damage with `yt8m verify`; build it again",
    )


def file_entry(layout: Layout, path: str) -> FileEntry:
    """Describes a file of the dataset by reading it whole; `path` is its path in the dataset."""
    uri = layout.path(path)
    return FileEntry(path, files.describe(uri)[0], files.sha256(uri))
