"""Writes a finished dataset of vectors that nobody filmed, through the project's own writers: for tests and benchmarks.

One video at a time is in memory.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.index import VIDEOS, write_reader, write_videos, write_vocabulary
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import (
    PUBLISHED,
    PartitionSummary,
    fitted_row,
    mark_complete,
    shard_parts,
    write_manifest,
)
from yt8m_pipeline.dataset.shards import Member, write_shard
from yt8m_pipeline.dataset.steps import (
    CodebookFacts,
    CodebookStep,
    FileEntry,
    PcaFacts,
    PcaStep,
    ShardStep,
    Step,
    file_entry,
)


class SyntheticVideo(NamedTuple):
    """A video: its id, its label indices, ascending, and its coefficients, float32, (frames, dimensions)."""

    video_id: str
    labels: tuple[int, ...]
    coefficients: Float32Array


@dataclass
class _Shards:
    """What is known of the shards that have been written."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    steps: list[ShardStep] = field(default_factory=list)


def write_dataset(
    folder: str,
    shards: Mapping[Shard, Iterable[SyntheticVideo]],
    dimensions: int,
    classes: Sequence[str],
    quantizer: Quantizer | None = None,
) -> str:
    """Writes the dataset and returns its folder.

    Args:
        folder: Where it goes.
        shards: The videos of each shard of each partition, sorted by id.
        dimensions: The number of coefficients of a frame.
        classes: The ids of the classes, by their label index.
        quantizer: The codebook; the public uniform one if None.
    """
    layout, codebook, shards_written = Layout(folder), quantizer or Quantizer.uniform(), _Shards()
    codebook.save(layout.path(Layout.QUANTIZER))
    for shard, videos in shards.items():
        members = _noted(videos, shard, shards_written.rows)
        shards_written.steps.append(write_shard(layout, shard, "synthetic", members, codebook))
    _write_rest(layout, shards_written, dimensions, classes, codebook)
    return folder


def _noted(
    videos: Iterable[SyntheticVideo], shard: Shard, rows: list[dict[str, Any]]
) -> Iterator[tuple[Member, Float32Array]]:
    """The videos as `write_shard` takes them; the row of each is noted while they pass."""
    for video in videos:
        frames = len(video.coefficients)
        rows.append(
            {"video_id": video.video_id, "partition": shard.partition.value, "labels": video.labels, "frames": frames}
            | {"shard": shard.name}
        )
        yield Member(video.video_id, "synthetic", video.labels), video.coefficients


def _write_rest(layout: Layout, written: _Shards, dimensions: int, classes: Sequence[str], codebook: Quantizer) -> None:
    rows = pa.Table.from_pylist(written.rows, schema=VIDEOS)
    counts = Counter(label for row in written.rows if row["partition"] == "train" for label in row["labels"])
    vocabulary = _vocabulary(classes, counts).encode()
    tables = [
        write_vocabulary(layout, vocabulary, frozen=False),
        *write_videos(layout, [rows], dimensions, codebook.feature_name, PUBLISHED),
        write_reader(layout),
    ]
    describe(
        layout,
        codebook,
        dimensions,
        partitions={part: _summary(written.rows, part) for part in Partition},
        shards=written.steps,
        tables=tables,
    )


def describe(
    layout: Layout,
    codebook: Quantizer,
    dimensions: int,
    *,
    partitions: Mapping[Partition, PartitionSummary],
    shards: Sequence[Step],
    tables: Sequence[FileEntry],
    accounting: Sequence[StageCount] = (),
) -> None:
    """Writes the manifest and the mark of completion of a dataset whose other files stand, and which has no PCA."""
    files = (file_entry(layout, Layout.QUANTIZER),)
    facts = CodebookFacts(codebook.name, codebook.scope, codebook.fingerprint)
    pca = PcaFacts("synthetic", dimensions, epsilon=None, fingerprint=None)
    values = {
        "build_key": "synthetic",
        "versions": {},
        "config": {},
        "inputs": {},
        "feature_space": {"fingerprint": "synthetic"},
        "labels": {},
        "pca": fitted_row(PcaStep("pca", "synthetic", (), pca)),
        "quantizer": fitted_row(CodebookStep("quantizer", "synthetic", files, facts)),
        "partitions": {part.value: summary.to_json() for part, summary in partitions.items()},
        "accounting": [count.to_json() for count in accounting],
        "warnings": [],
        "encoded": {"from": "features"},
        "files": [asdict(entry) for entry in tables],
        **shard_parts(shards),
    }
    write_manifest(layout, values)
    mark_complete(layout)


def _vocabulary(classes: Sequence[str], counts: Mapping[int, int]) -> str:
    lines = [f"{index},{counts.get(index, 0)},{name},{name}" for index, name in enumerate(classes)]
    return "\n".join(["Index,TrainVideoCount,KnowledgeGraphId,Name", *lines, ""])


def _summary(rows: Sequence[Mapping[str, Any]], partition: Partition) -> PartitionSummary:
    own = [row for row in rows if row["partition"] == partition.value]
    return PartitionSummary(
        videos=len(own), frames=sum(row["frames"] for row in own), labels=sum(len(row["labels"]) for row in own)
    )
