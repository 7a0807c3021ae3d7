"""Writing a shard: a function of its sorted videos, their features, the PCA and the codebook (DESIGN §1)."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition, UInt8Array, VideoFeatures
from yt8m_pipeline.dataset.journal import FileEntry, Step
from yt8m_pipeline.dataset.layout import LEVELS, Layout, Shard
from yt8m_pipeline.dataset.records import frame_record, video_record
from yt8m_pipeline.dataset.tfrecord import write_record

PUBLISHED = frozenset({Partition.TRAIN, Partition.VALIDATE})
"""The partitions whose labels are published (paper §3.2)."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """The compression of the dataset: PCA with whitening, then one byte per coefficient (paper §3.3)."""

    pca: Pca
    quantizer: Quantizer

    def encode(self, features: np.ndarray) -> UInt8Array:
        """Features (frames, dimensions) → codes uint8 (frames, components)."""
        return self.quantizer.encode(self.pca.transform(features))

    def decode(self, codes: UInt8Array) -> Float32Array:
        """Codes uint8 (frames, components) → whitened coefficients float32 of the same shape."""
        return self.quantizer.decode(codes)


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


def write_shard(
    layout: Layout,
    shard: Shard,
    key: str,
    members: Iterable[Member],
    read: Callable[[str], VideoFeatures],
    encoding: Encoding,
) -> Step:
    """Writes the frame-level and the video-level file of a shard; memory is bounded by one video.

    Args:
        layout: Where the dataset is.
        shard: Which shard.
        key: The step's key.
        members: Its videos, sorted by id.
        read: Gives the features of a video.
        encoding: PCA and codebook.
    """
    with ExitStack() as stack:
        outputs = [_Output(stack.enter_context(files.open_atomic(layout.path(shard.file(level))))) for level in LEVELS]
        records = frames = 0
        for member in members:
            codes = encoding.encode(read(member.video_id).features)
            labels = published_labels(shard.partition, member.labels)
            mean = encoding.decode(codes).mean(axis=0, dtype=np.float64).astype(np.float32)
            write_record(outputs[0], frame_record(member.video_id, labels, codes, encoding.quantizer.feature_name))
            write_record(outputs[1], video_record(member.video_id, labels, mean))
            records, frames = records + 1, frames + len(codes)
    entries = tuple(output.entry(shard.file(level)) for level, output in zip(LEVELS, outputs, strict=True))
    facts = {"partition": shard.partition.value, "records": records, "frames": frames}
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
