"""The manifest: everything that says what a dataset is and how to make it again, as deterministic JSON."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.data_model import Partition, StoredVideo
from yt8m_pipeline.dataset.layout import LEVELS, Layout
from yt8m_pipeline.dataset.steps import FileEntry, Step
from yt8m_pipeline.errors import DataError

FORMAT_VERSION = 3
PARTS = (
    "build_key",
    "pca",
    "quantizer",
    "partitions",
    "accounting",
    "warnings",
    "encoded",
    "distortion",
    "shards",
    "files",
)
"""What this version reads of a manifest of its format."""
SHARD_FILE = ("path", "level", "bytes", "sha256", "key")
"""What a row of `shards` says of its file; the rest are the facts of the shard."""


@dataclass(frozen=True, slots=True)
class PartitionSummary:
    """Totals of one partition; they add.

    Attributes:
        videos: How many videos it has.
        frames: How many frames they have.
        labels: How many labels they have.
        digest: Of the set of its videos and their labels: the sum of hashes modulo 2**256, which no order changes.
        salvaged: How many of its videos have grid times without a sound frame.
        deviation_microseconds: The sum over its videos of the largest distance of a frame from its grid time.
        largest_deviation_microseconds: The largest of these.
    """

    videos: int = 0
    frames: int = 0
    labels: int = 0
    digest: int = 0
    salvaged: int = 0
    deviation_microseconds: int = 0
    largest_deviation_microseconds: int = 0

    @classmethod
    def of(cls, stored: StoredVideo) -> "PartitionSummary":
        video, entry = stored.video, stored.entry
        digest = hashlib.sha256("\0".join([video.video_id, *video.entity_ids]).encode()).digest()
        deviation = round(1e6 * entry.deviation_seconds)
        return cls(
            videos=1,
            frames=entry.frames,
            labels=len(video.entity_ids),
            digest=int.from_bytes(digest, "big"),
            salvaged=int(entry.decoded_fraction < 1),
            deviation_microseconds=deviation,
            largest_deviation_microseconds=deviation,
        )

    def __add__(self, other: "PartitionSummary") -> "PartitionSummary":
        return PartitionSummary(
            self.videos + other.videos,
            self.frames + other.frames,
            self.labels + other.labels,
            (self.digest + other.digest) % (1 << 256),
            self.salvaged + other.salvaged,
            self.deviation_microseconds + other.deviation_microseconds,
            max(self.largest_deviation_microseconds, other.largest_deviation_microseconds),
        )

    def deviation_seconds(self) -> dict[str, float]:
        """The mean over the videos, and the largest."""
        mean = self.deviation_microseconds / max(self.videos, 1)
        return {"mean": mean / 1e6, "max": self.largest_deviation_microseconds / 1e6}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "digest": f"{self.digest:064x}"}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "PartitionSummary":
        return cls(**{**values, "digest": int(values["digest"], 16)})


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parsed manifest.json of a dataset."""

    values: Mapping[str, Any]

    @classmethod
    def read(cls, layout: Layout) -> "Manifest | None":
        """The manifest, or None where there is none.

        Raises:
            DataError: if it is not a manifest of this format.
        """
        path = layout.path(Layout.MANIFEST)
        if not files.exists(path):
            return None
        try:
            values = json.loads(files.read_bytes(path))
            version, missing = values["format"], [name for name in PARTS if name not in values]
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, repr(error)) from None
        if version != FORMAT_VERSION:
            raise DataError(
                "The manifest has another format",
                path,
                f"format {version}, this version reads {FORMAT_VERSION}",
                "use the version that wrote it, or build again in a new folder; the feature store serves both",
            )
        if missing:
            raise _unreadable(path, f"it lacks {', '.join(missing)}")
        return cls(values)

    @property
    def build_key(self) -> str:
        return str(self.values["build_key"])

    @property
    def shards(self) -> list[dict[str, Any]]:
        return list(self.values["shards"])

    @property
    def files(self) -> list[FileEntry]:
        """Every file of the dataset but the manifest and the mark of completion."""
        fitted = [*self.values["pca"]["files"], *self.values["quantizer"]["files"], *self.values["files"]]
        shards = [{name: row[name] for name in ("path", "bytes", "sha256")} for row in self.shards]
        return sorted(FileEntry(**entry) for entry in [*fitted, *shards])

    def partition(self, partition: Partition) -> PartitionSummary:
        return PartitionSummary.from_json(self.values["partitions"][partition.value])

    def steps(self) -> list[Step]:
        """The steps that this build finished, for a journal of the next one."""
        fitted = [_fitted_step(name, self.values[name]) for name in ("pca", "quantizer")]
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in self.shards:
            rows.setdefault(row["path"].rsplit("/", 1)[1].removesuffix(".tfrecord"), []).append(row)
        return fitted + [_shard_step(name, pair) for name, pair in sorted(rows.items())]


def _unreadable(path: str, why: str) -> DataError:
    return DataError("The manifest cannot be read", path, why, "build the dataset again in a new folder")


def shard_rows(step: Step) -> list[dict[str, Any]]:
    """The manifest's rows of one shard: its frame-level and its video-level file."""
    return [
        {**step.facts, "path": file.path, "level": level, "bytes": file.bytes, "sha256": file.sha256, "key": step.key}
        for level, file in zip(LEVELS, step.files, strict=True)
    ]


def shard_parts(steps: Iterable[Step]) -> dict[str, Any]:
    """The manifest's parts `shards`, and `distortion`: what quantization cost each partition."""
    ordered = sorted(steps, key=lambda step: step.name)
    rows = [row for step in ordered for row in shard_rows(step)]
    sums = {part: total_distortion(step for step in ordered if step.facts["partition"] == part) for part in Partition}
    return {
        "shards": sorted(rows, key=lambda row: row["path"]),
        "distortion": {part.value: distortion_facts(total) for part, total in sums.items()},
    }


def total_distortion(shards: Iterable[Step]) -> Distortion:
    """The sum over the steps of shards, in their order: to the bit, floating-point addition knows one."""
    return sum((Distortion(**step.facts["distortion"]) for step in shards), Distortion())


def distortion_facts(distortion: Distortion) -> dict[str, Any]:
    return {
        "coefficients": distortion.coefficients,
        "clipped": distortion.clipped,
        "clipped_fraction": distortion.clipped_fraction,
        "variance": distortion.variance,
        "mean_squared_error": distortion.mean_squared_error,
        "relative_error": distortion.relative_error,
        "overload_fraction": distortion.overload_fraction,
        "overload_error_fraction": distortion.overload_error_fraction,
    }


def fitted_row(step: Step) -> dict[str, Any]:
    """The manifest's entry of the PCA or the codebook."""
    return {**step.facts, "key": step.key, "files": step.to_json()["files"]}


def write_manifest(layout: Layout, values: Mapping[str, Any]) -> None:
    text = json.dumps({"format": FORMAT_VERSION, **values}, indent=2, sort_keys=True, ensure_ascii=False)
    files.write_bytes(layout.path(Layout.MANIFEST), text.encode() + b"\n")


def mark_complete(layout: Layout) -> None:
    """Marks a dataset complete: the last file to be written, which holds the manifest's digest."""
    digest = files.sha256(layout.path(Layout.MANIFEST))
    files.write_bytes(layout.path(Layout.COMPLETE), f"{digest}  {Layout.MANIFEST}\n".encode())


def _fitted_step(name: str, row: Mapping[str, Any]) -> Step:
    facts = {field: value for field, value in row.items() if field not in ("key", "files")}
    return Step.from_json({"name": name, "key": row["key"], "files": row["files"], "facts": facts})


def _shard_step(name: str, rows: list[dict[str, Any]]) -> Step:
    pair = sorted(rows, key=lambda row: LEVELS.index(row["level"]))
    entries = tuple(FileEntry(row["path"], row["bytes"], row["sha256"]) for row in pair)
    facts = {field: value for field, value in pair[0].items() if field not in SHARD_FILE}
    return Step(name, pair[0]["key"], entries, facts)
