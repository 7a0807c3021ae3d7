"""The manifest: everything that says what a dataset is and how to make it again.

It is one JSON file, deterministic to the byte. In memory it is a tree of frozen dataclasses whose fields are named and
typed as those of the JSON; what this version does not know of is kept, and written back when a dataset is exported.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import inf
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.data_model import Partition, StoredVideo
from yt8m_pipeline.dataset.layout import LEVELS, Layout
from yt8m_pipeline.dataset.steps import (
    PCA,
    QUANTIZER,
    CodebookStep,
    FileEntry,
    PcaStep,
    ShardFacts,
    ShardStep,
    Step,
    require_intact,
)
from yt8m_pipeline.dataset.typed_json import JSON_NAME, from_json, json_object, to_json
from yt8m_pipeline.errors import DataError, PipelineError, UsageError
from yt8m_pipeline.parsing import parse_json

FORMAT_VERSION = 4
"""The format that this version writes: the rejects are a folder of parts."""

OLDEST_FORMAT = 3
"""The oldest format that this version reads: that of version 0.1.0, which has all rejects in one table."""

LIKE = "like"
"""What the manifest of an extraction has, and that of no other dataset: the dataset that it is like."""

PUBLISHED = frozenset({Partition.TRAIN, Partition.VALIDATE})
"""The partitions whose labels are published unless a config says otherwise: not those of test (paper §3.2)."""


def label_policy(published: Collection[Partition]) -> dict[str, str]:
    """What a manifest says of the labels of each partition.

    >>> label_policy(PUBLISHED)
    {'train': 'published', 'validate': 'published', 'test': 'withheld'}
    """
    return {part.value: "published" if part in published else "withheld" for part in Partition}


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


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A `PartitionSummary` as the manifest has it: 2**256 does not fit a JSON number, the digest is hexadecimal."""

    videos: int
    frames: int
    labels: int
    digest: str
    salvaged: int
    deviation_microseconds: int
    largest_deviation_microseconds: int

    def __post_init__(self) -> None:
        int(self.digest, 16)

    def summary(self) -> PartitionSummary:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return PartitionSummary(**{**values, "digest": int(self.digest, 16)})


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What a stage did with the rows of a table: rows_in = kept + the sum of rejected, which is by reason."""

    stage: str
    table: str
    rows_in: int
    kept: int
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DistortionRow:
    """What quantization cost a partition; `distortion_facts` says what the fields are."""

    coefficients: int
    clipped: int
    clipped_fraction: float
    variance: float
    mean_squared_error: float
    relative_error: float | None
    overload_fraction: float | None = None
    overload_error_fraction: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the codes were made from.

    Attributes:
        source: "features", "codes" of another dataset, or "mediasequence" protos.
        distortion: What quantization had cost the codes that these codes were made from.
        more: Of codes from codes, the build key and the codebook of their dataset.
    """

    source: str = field(metadata={JSON_NAME: "from"})
    distortion: Mapping[Partition, DistortionRow] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """The features that the dataset was made of: their fingerprint, and what it is made from (model, frames, …)."""

    fingerprint: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fingerprint in ("", ".", "..") or "/" in self.fingerprint:
            raise ValueError(f"{self.fingerprint!r} is no fingerprint: it names a folder of the feature store")


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One file of a shard: its level, and the facts and the key of the shard, which its two files share."""

    path: str
    level: str
    bytes: int
    sha256: str
    key: str
    partition: Partition
    records: int
    frames: int
    distortion: Distortion

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"{self.level!r} is no level of a dataset")
        _ = self.file

    @property
    def file(self) -> FileEntry:
        return FileEntry(self.path, self.bytes, self.sha256)

    @property
    def facts(self) -> ShardFacts:
        return ShardFacts(self.partition, self.records, self.frames, self.distortion)

    @property
    def name(self) -> str:
        """The name of the shard, e.g. train-00000-of-00004."""
        return self.path.rpartition("/")[2].removesuffix(".tfrecord")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parsed manifest.json of a dataset.

    Attributes:
        build_key: A SHA-256 of everything that the dataset depends on but for the videos themselves.
        config: The config of the build, as its own version has it; {} of a dataset that was converted.
        inputs: The files of each table that was read, with their sizes and digests.
        versions: The versions of this package and of the libraries that made the dataset.
        feature_space: The features that the dataset was made of.
        pca: The step that made the PCA.
        quantizer: The step that made the codebook.
        partitions: The totals of each partition.
        accounting: What each stage did with the rows of each table.
        warnings: What who uses the dataset should know.
        encoded: What the codes were made from.
        distortion: What quantization cost each partition.
        shards: The files of all shards.
        tables: The other files.
        more: Everything else that the file says.
    """

    build_key: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    versions: Mapping[str, str]
    feature_space: FeatureSpace
    pca: PcaStep
    quantizer: CodebookStep
    partitions: Mapping[Partition, PartitionRow]
    accounting: tuple[AccountRow, ...]
    warnings: tuple[str, ...]
    encoded: Encoded
    distortion: Mapping[Partition, DistortionRow]
    shards: tuple[ShardRow, ...]
    tables: tuple[FileEntry, ...] = field(metadata={JSON_NAME: "files"})
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, of in (("partitions", self.partitions), ("distortion", self.distortion)):
            if set(of) != set(Partition):
                raise ValueError(f"{name}: it has {', '.join(sorted(of))}, not every partition")
        if not 0 < self.frames_per_second < inf:
            raise ValueError(f"config.decoding.frames_per_second: {self.frames_per_second} is no frame rate")
        _ = self.published

    @classmethod
    def of(cls, layout: Layout) -> "Manifest":
        """The manifest of a dataset.

        Raises:
            UsageError: there is none.
            DataError: it is damaged, of another format, or not yet written.
        """
        manifest = cls.find(layout)
        if manifest is None:
            raise _no_dataset(layout)
        return manifest

    @classmethod
    def find(cls, layout: Layout) -> "Manifest | None":
        """The manifest of a dataset, or None if there is none.

        Raises:
            DataError: it is damaged, or of another format.
        """
        path = layout.path(Layout.MANIFEST)
        if not files.exists(path):
            return None
        try:
            values = json_object(parse_json(files.read_bytes(path)))
            version = from_json(int, values.get("format"))
            if OLDEST_FORMAT <= version <= FORMAT_VERSION:
                return cls.from_json(values)
        except ValueError as error:
            raise DataError(
                what="The manifest cannot be read",
                where=path,
                why=str(error),
                fix="copy the dataset again, or build it again in a new folder",
            ) from None
        newer = version > FORMAT_VERSION
        raise DataError(
            what="The manifest has another format",
            where=path,
            why=f"format {version}, this version reads {OLDEST_FORMAT} to {FORMAT_VERSION}",
            fix="upgrade yt8m_pipeline: a later version wrote it"
            if newer
            else "use the version that wrote it, or build again in a new folder; the feature store serves both",
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Manifest":
        """The manifest of the values of its file.

        Raises:
            WrongJson: a value is missing, or not of its type.
        """
        fitted = {name: {"name": name, **_unflattened(values.get(name))} for name in (PCA, QUANTIZER)}
        rest = {name: value for name, value in values.items() if name != "format"}
        return from_json(cls, {**rest, **fitted})

    def to_json(self) -> dict[str, Any]:
        """The values of its file, but for the number of the format."""
        values: dict[str, Any] = to_json(self)
        return {**values, PCA: fitted_row(self.pca), QUANTIZER: fitted_row(self.quantizer)}

    @property
    def is_extraction(self) -> bool:
        """Whether `yt8m extract` made it, with the PCA, the codebook and the vocabulary of another dataset."""
        return LIKE in self.more

    @property
    def files(self) -> list[FileEntry]:
        """Every file of the dataset but the manifest and the mark of completion, sorted by path."""
        return sorted([*self.pca.files, *self.quantizer.files, *(row.file for row in self.shards), *self.tables])

    @property
    def rejects(self) -> list[str]:
        """The paths of the files that hold its rejects, in order."""
        return sorted(file.path for file in self.tables if Layout.is_rejects(file.path))

    @property
    def frames_per_second(self) -> float:
        """The rate of the frames; 1 if the config does not say, as of a dataset that was converted."""
        return from_json(float, json_object(self.config.get("decoding", {})).get("frames_per_second", 1))

    @property
    def published(self) -> frozenset[Partition]:
        """The partitions whose labels are in the published files: train and validate, if the manifest does not say."""
        policy = label_policy(PUBLISHED) | json_object(self.more.get("labels", {}))
        return frozenset(part for part in Partition if policy[part.value] == "published")

    def partition(self, partition: Partition) -> PartitionSummary:
        """The totals of a partition."""
        return self.partitions[partition].summary()

    def steps(self) -> list[Step]:
        """The steps that this build finished, for the journal of the next one."""
        return [self.pca, self.quantizer, *self.shard_steps()]

    def shard_steps(self) -> list[ShardStep]:
        """The steps of the shards of which the manifest has a row of each level, sorted by name."""
        rows: dict[str, dict[str, ShardRow]] = {}
        for row in self.shards:
            rows.setdefault(row.name, {})[row.level] = row
        pairs = [(name, tuple(of[level] for level in LEVELS if level in of)) for name, of in sorted(rows.items())]
        return [
            ShardStep(name, pair[0].key, tuple(row.file for row in pair), pair[0].facts)
            for name, pair in pairs
            if len(pair) == len(LEVELS)
        ]


def not_finished(layout: Layout, lacks: str) -> DataError:
    """The error of a dataset that lacks a file because its build has not ended."""
    return DataError(
        what="This is not a finished dataset",
        where=layout.root,
        why=f"it has no {lacks}: its build has not ended",
        fix="run `yt8m build` with its config again: it goes on where it stopped",
    )


def _no_dataset(layout: Layout) -> PipelineError:
    if files.exists(layout.path(Layout.UNFINISHED)):
        return not_finished(layout, Layout.MANIFEST)
    return UsageError(
        what="There is no dataset",
        where=layout.root,
        why="it is a file" if files.exists(layout.root) else f"the folder has no {Layout.MANIFEST}",
        fix="give the folder that `output` in the config names",
    )


def _unflattened(row: Any) -> dict[str, Any]:
    """An entry of the PCA or the codebook, in which the facts stand beside the key and the files, as of a step."""
    values = dict(row) if isinstance(row, Mapping) else {}
    own = {name: values.pop(name) for name in ("key", "files") if name in values}
    return {**own, "facts": values}


def shard_rows(step: Step) -> list[dict[str, Any]]:
    """The manifest's rows of one shard: its frame-level and its video-level file."""
    return [
        {**to_json(step.facts), **asdict(file), "level": level, "key": step.key}
        for level, file in zip(LEVELS, step.files, strict=True)
    ]


def shard_parts(steps: Iterable[Step]) -> dict[str, Any]:
    """The manifest's parts `shards`, and `distortion`: what quantization cost each partition."""
    ordered = sorted(steps, key=lambda step: step.name)
    rows = [row for step in ordered for row in shard_rows(step)]
    sums = {part: total_distortion(step for step in ordered if step.facts.partition == part) for part in Partition}
    return {
        "shards": sorted(rows, key=lambda row: row["path"]),
        "distortion": {part.value: distortion_facts(total) for part, total in sums.items()},
    }


def total_distortion(shards: Iterable[Step]) -> Distortion:
    """The sum over the steps of shards, in their order, which the last bits of a sum of floats depend on."""
    return sum((step.facts.distortion for step in shards), Distortion())


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
    return {**to_json(step.facts), "key": step.key, "files": to_json(step.files)}


def require_intact_tables(layout: Layout, manifest: Manifest, *paths: str) -> None:
    """Raises a DataError unless the tables of these paths that the manifest lists stand as it lists them."""
    for file in manifest.tables:
        if file.path in paths:
            require_intact(layout, file)


def write_manifest(layout: Layout, values: Mapping[str, Any]) -> None:
    """Writes manifest.json, of values as `Manifest.from_json` takes them.

    Raises:
        WrongJson: the manifest could not be read again.
    """
    manifest = {"format": FORMAT_VERSION, **Manifest.from_json(values).to_json()}
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
    layout.write_bytes(Layout.MANIFEST, text.encode() + b"\n")


def mark_complete(layout: Layout, name: str = Layout.MANIFEST) -> None:
    """Marks a folder complete: writes its last file, which holds the digest of the one that lists all others."""
    digest = files.sha256(layout.path(name))
    layout.write_bytes(Layout.COMPLETE, f"{digest}  {name}\n".encode())
