"""Writing a shard: a function of its sorted videos, their whitened coefficients and the codebook (DESIGN §1)."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import IO

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.layout import LEVELS, Layout, Shard
from yt8m_pipeline.dataset.records import frame_record, video_record
from yt8m_pipeline.dataset.steps import FileEntry, Step, step_key
from yt8m_pipeline.dataset.tfrecord import write_record

PUBLISHED = frozenset({Partition.TRAIN, Partition.VALIDATE})
"""The partitions whose labels are published (paper §3.2)."""


@dataclass(frozen=True, order=True, slots=True)
class Member:
    """A video of a shard: its id, the SHA-256 of its stored features, and its label indices, ascending."""

    video_id: str
    sha256: str
    labels: tuple[int, ...]


def shard_of(video_id: str, partition: Partition, of: int, salt: str) -> Shard:
    return Shard(partition, salted_hash(salt, video_id) % of, of)


def published_labels(partition: Partition, labels: Sequence[int]) -> Sequence[int]:
    """The labels that may stand in a published file: none for the test partition."""
    return labels if partition in PUBLISHED else ()


def shard_key(shard: Shard, members: Iterable[Member], *dependencies: str) -> str:
    """The key of a shard: of its videos, what is published of their labels, and the keys of what it is encoded with."""
    contents = [(item.video_id, item.sha256, published_labels(shard.partition, item.labels)) for item in members]
    return step_key(shard.name, contents, *dependencies)


def write_shard(
    layout: Layout, shard: Shard, key: str, videos: Iterable[tuple[Member, Float32Array]], quantizer: Quantizer
) -> Step:
    """Writes the frame-level and the video-level file of a shard; memory is bounded by one video.

    Args:
        layout: Where the dataset is.
        shard: Which shard.
        key: The step's key.
        videos: Its videos, sorted by id, each with its whitened coefficients: float32, (frames, components).
        quantizer: The codebook.

    Returns:
        The step; its facts say how many records and frames there are, and the sums of their `Distortion`.
    """
    with ExitStack() as stack:
        outputs = [_Output(stack.enter_context(files.open_atomic(layout.path(shard.file(level))))) for level in LEVELS]
        records, frames, distortion = 0, 0, Distortion()
        for member, coefficients in videos:
            codes = quantizer.encode(coefficients)
            decoded = quantizer.decode(codes)
            labels = published_labels(shard.partition, member.labels)
            mean = decoded.mean(axis=0, dtype=np.float64).astype(np.float32)
            write_record(outputs[0], frame_record(member.video_id, labels, codes, quantizer.feature_name))
            write_record(outputs[1], video_record(member.video_id, labels, mean))
            records, frames = records + 1, frames + len(codes)
            distortion += Distortion.of(quantizer, coefficients, decoded)
    entries = tuple(output.entry(shard.file(level)) for level, output in zip(LEVELS, outputs, strict=True))
    counts = {"partition": shard.partition.value, "records": records, "frames": frames}
    facts = {**counts, "distortion": asdict(distortion)}
    return Step(shard.name, key, entries, facts)


class _Output:
    """A file being written that knows its size and digest."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._digest, self._bytes = stream, hashlib.sha256(), 0

    def write(self, data: bytes, /) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def entry(self, path: str) -> FileEntry:
        return FileEntry(path, self._bytes, self._digest.hexdigest())
