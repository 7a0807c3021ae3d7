"""Writing the shards: frame-level records, and video-level records with the mean of each video's frames.

A shard's bytes are a function of its sorted videos, their whitened coefficients and the codebook, and of nothing else:
any engine, and any run after a crash, writes the same file. No shard holds labels that are withheld: those of the test
partition, unless a config publishes them (paper §3.2).
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import IO

import numpy as np

from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.compression.quantization import ENCODE_REVISION, Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.layout import LEVELS, Layout, Shard
from yt8m_pipeline.dataset.manifest import PUBLISHED, PartitionSummary
from yt8m_pipeline.dataset.records import frame_record, video_record
from yt8m_pipeline.dataset.steps import FileEntry, ShardFacts, ShardStep, step_key
from yt8m_pipeline.dataset.tfrecord import write_record

REVISION = 1
"""The revision of what a shard is made of, which its key contains: raise it when the same videos get other bytes."""


@dataclass(frozen=True, order=True, slots=True)
class Member:
    """A video of a shard.

    Attributes:
        video_id: The video's id.
        sha256: The SHA-256 of its stored features, in hexadecimal.
        labels: Its label indices, ascending, also where they are withheld.
    """

    video_id: str
    sha256: str
    labels: tuple[int, ...]


def shard_of(video_id: str, partition: Partition, of: int, salt: str) -> Shard:
    """The shard that a video belongs to, by the salted hash of its id."""
    return Shard(partition, salted_hash(salt, video_id) % of, of)


SHARD_BYTES = 200_000_000
"""The bytes that both files of a shard have together at most, on average, where the number of shards is decided. So
they have 100 to 200 MB, unless the partition is smaller: what one worker reads or downloads at a time."""


def shards_for(summary: PartitionSummary, components: int) -> int:
    """The number of shards that a partition is divided into where the config has `auto`.

    A frame has a byte for each component, and the mean of a video four. There are never more shards than videos.

    >>> shards_for(PartitionSummary(videos=100, frames=23_000), components=1024)
    1
    >>> shards_for(PartitionSummary(videos=100_000, frames=23_000_000), components=1024)
    120
    """
    codes = (summary.frames + 4 * summary.videos) * components
    return max(min(-(-codes // SHARD_BYTES), summary.videos), 1)


def published_labels(
    partition: Partition, labels: Sequence[int], published: Collection[Partition] = PUBLISHED
) -> Sequence[int]:
    """The labels that may stand in a published file: none of a partition whose labels are withheld."""
    return labels if partition in published else ()


def shard_key(
    shard: Shard, members: Iterable[Member], *dependencies: str, published: Collection[Partition] = PUBLISHED
) -> str:
    """The key of a shard: a digest of everything that its bytes depend on.

    Args:
        shard: Which shard.
        members: Its videos, sorted by id. Withheld labels do not count: they are not in the file.
        dependencies: The keys of what it is encoded with, such as the PCA and the codebook.
        published: The partitions whose labels are not withheld.
    """
    labels = partial(published_labels, shard.partition, published=published)
    contents = [(item.video_id, item.sha256, labels(item.labels)) for item in members]
    return step_key(shard.name, REVISION, ENCODE_REVISION, contents, *dependencies)


def write_shard(
    layout: Layout,
    shard: Shard,
    key: str,
    videos: Iterable[tuple[Member, Float32Array]],
    quantizer: Quantizer,
    published: Collection[Partition] = PUBLISHED,
) -> ShardStep:
    """Writes the frame-level and the video-level file of a shard. One video at a time is in memory.

    Args:
        layout: The paths of the dataset.
        shard: Which shard.
        key: The step's key, which `shard_key` makes.
        videos: Its videos, sorted by id, each with its whitened coefficients: float32, (frames, components).
        quantizer: The codebook.
        published: The partitions whose labels are not withheld.

    Returns:
        The step. Its facts are the number of records and of frames, and the sums of their `Distortion`.
    """
    with ExitStack() as stack:
        outputs = [_Output(stack.enter_context(layout.open_write(shard.file(level)))) for level in LEVELS]
        records, frames, distortion = 0, 0, Distortion()
        for member, coefficients in videos:
            codes = quantizer.encode(coefficients)
            decoded = quantizer.decode(codes)
            labels = published_labels(shard.partition, member.labels, published)
            mean = decoded.mean(axis=0, dtype=np.float64).astype(np.float32)
            write_record(outputs[0], frame_record(member.video_id, labels, codes, quantizer.feature_name))
            write_record(outputs[1], video_record(member.video_id, labels, mean))
            records, frames = records + 1, frames + len(codes)
            distortion += Distortion.of(quantizer, coefficients, decoded)
    entries = tuple(output.entry(shard.file(level)) for level, output in zip(LEVELS, outputs, strict=True))
    return ShardStep(shard.name, key, entries, ShardFacts(shard.partition, records, frames, distortion))


class _Output:
    """A file that is being written, with the size and the digest of what it has so far."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._digest, self._bytes = stream, hashlib.sha256(), 0

    def write(self, data: bytes, /) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def entry(self, path: str) -> FileEntry:
        return FileEntry(path, self._bytes, self._digest.hexdigest())
