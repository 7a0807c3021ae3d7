"""Writing the vectors of a shard, as TFRecord and as Parquet, some videos at a time.

The bytes depend on the videos, their labels and their vectors alone. Between φ and the vectors, φ of the videos of a
shard stands in a file of float32 numbers, little-endian, one row after the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yt8m_pipeline import files
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.records import vector_record
from yt8m_pipeline.dataset.tfrecord import write_record
from yt8m_pipeline.video_level.feature_list import FEATURE

ROWS = 512
"""The number of videos that are worked on at a time, and of a row group of Parquet: 29 MB of 14,336 float32. The slices
of the PCA's matrix, which each product makes anew (`exact_products`), then cost little beside the product."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A video of a shard: its id, and its label indices, ascending; None where they are withheld."""

    video_id: str
    labels: tuple[int, ...] | None


def parquet_file(shard: Shard) -> str:
    """The path of a shard's Parquet file in a feature set."""
    return f"parquet/{shard.partition.value}/{shard.name}.parquet"


def write_vectors(layout: Layout, shard: Shard, videos: Sequence[Labelled], vectors: Iterable[Float32Array]) -> None:
    """Writes both files of a shard.

    Args:
        layout: The folder.
        shard: The shard.
        videos: Its videos.
        vectors: Their vectors, in the same order, in blocks of float32 (videos, dimensions).
    """
    with ExitStack() as stack:
        records = stack.enter_context(layout.open_write(shard.file("video")))
        stream = stack.enter_context(layout.open_write(parquet_file(shard)))
        table = stack.enter_context(pq.ParquetWriter(stream, _SCHEMA, compression="zstd", store_schema=True))
        start = 0
        for block in vectors:
            group = videos[start : start + len(block)]
            for video, vector in zip(group, block, strict=True):
                write_record(records, vector_record(video.video_id, video.labels or (), FEATURE, vector))
            table.write_table(_table(group, block))
            start += len(block)


_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("labels", pa.list_(pa.int64())),
        (FEATURE, pa.list_(pa.float32())),
    ]
)


def _table(videos: Sequence[Labelled], vectors: Float32Array) -> pa.Table:
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    features = pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.ravel()))
    ids, labels = [video.video_id for video in videos], [video.labels for video in videos]
    return pa.table([pa.array(ids), pa.array(labels, _SCHEMA.field("labels").type), features], schema=_SCHEMA)


def write_rows(stream: IO[bytes], rows: Iterable[Float32Array]) -> None:
    """Writes rows of φ, float32 (dimensions,) each."""
    for row in rows:
        stream.write(row.astype("<f4").tobytes())


def read_rows(uri: str, dimensions: int) -> Iterator[Float32Array]:
    """Yields what `write_rows` wrote, in blocks of at most `ROWS` rows: float32, (rows, dimensions)."""
    with files.open_read(uri) as stream:
        while data := stream.read(4 * dimensions * ROWS):
            yield np.frombuffer(data, "<f4").reshape(-1, dimensions)
