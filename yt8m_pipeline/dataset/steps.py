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
    """A file of the dataset: its path in it, size in bytes and SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step.

    Attributes:
        name: Unique in the dataset.
        key: SHA-256 over everything the step's files depend on.
        files: The files it wrote.
        facts: What the manifest says of it.
    """

    name: str
    key: str
    files: tuple[FileEntry, ...]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        entries = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in self.files]
        return {"name": self.name, "key": self.key, "files": entries, "facts": self.facts}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Step":
        entries = tuple(FileEntry(**entry) for entry in values["files"])
        return cls(values["name"], values["key"], entries, values["facts"])


def step_key(*parts: Any) -> str:
    """SHA-256 of the parts as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def require_intact(layout: Layout, file: FileEntry) -> None:
    """Raises a DataError unless a file stands in the dataset with this size and digest."""
    uri = layout.path(file.path)
    size = files.file_size(uri)
    if size == file.bytes and files.sha256(uri) == file.sha256:
        return
    why = "it is missing" if size is None else "its bytes are not those that the manifest lists"
    raise DataError(
        what="A file of the dataset is damaged",
        where=uri,
        why=why,
        fix="list all damage with `yt8m verify`; build it again",
    )


def file_entry(layout: Layout, path: str) -> FileEntry:
    """Describes a file that stands in the dataset."""
    uri = layout.path(path)
    return FileEntry(path, files.describe(uri)[0], files.sha256(uri))
