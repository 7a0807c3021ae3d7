"""Features of videos as other programs read them, beside the records: Parquet files, and .npy files of each video.

Every shard with videos has `arrays/SHARD.parquet`, with a row for each of them in the order of the records: `video_id`,
and `pts_seconds`, the presentation time of each frame. In the format `parquet` it has the column `features` as well: a
list of a row of numbers for each frame. In the format `npy`, each video has `arrays/features/ID.npy`, (frames,
dimensions), and `arrays/pts_seconds/ID.npy`, (frames,). Every file is a function of the videos in it alone.
"""

import io
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from yt8m_pipeline.data_model import Float64Array
from yt8m_pipeline.dataset.file_names import safe_name
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.steps import FileEntry, file_entry


class Form(StrEnum):
    """What features are written as."""

    RECORDS = "records"
    NPY = "npy"
    PARQUET = "parquet"


class FrameArrays(NamedTuple):
    """The features of a video: float32 or float16, (frames, dimensions), and the time of each frame, (frames,)."""

    video_id: str
    features: npt.NDArray[np.floating]
    pts_seconds: Float64Array


TIMES = pa.schema([("video_id", pa.string()), ("pts_seconds", pa.list_(pa.float64()))])


def write_arrays(layout: Layout, shard: Shard, videos: Iterable[FrameArrays], form: Form) -> Iterator[FileEntry]:
    """Writes the files of a shard. One video at a time is in memory.

    Args:
        layout: The paths of the dataset.
        shard: Which shard.
        videos: Its videos, at least one, in the order of the records.
        form: What the features are written as.
    """
    path = f"{Layout.ARRAYS}/{shard.name}.parquet"
    with layout.open_write(path) as stream:
        writer = None
        for video in videos:
            rows = _row(video, with_features=form is Form.PARQUET)
            writer = writer or pq.ParquetWriter(stream, rows.schema, compression="zstd")
            writer.write_table(rows)
            if form is Form.NPY:
                yield from _write_npy(layout, video)
        if writer:
            writer.close()
    yield file_entry(layout, path)


def _row(video: FrameArrays, *, with_features: bool) -> pa.Table:
    times = pa.table([[video.video_id], [video.pts_seconds.tolist()]], schema=TIMES)
    if not with_features:
        return times
    frames, dimensions = video.features.shape
    values = pa.FixedSizeListArray.from_arrays(pa.array(video.features.ravel()), dimensions)
    return times.append_column("features", pa.ListArray.from_arrays(pa.array([0, frames], pa.int32()), values))


def _write_npy(layout: Layout, video: FrameArrays) -> Iterator[FileEntry]:
    arrays: dict[str, npt.NDArray[Any]] = {"features": video.features, "pts_seconds": video.pts_seconds}
    for name, array in arrays.items():
        path, stream = f"{Layout.ARRAYS}/{name}/{safe_name(video.video_id)}.npy", io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        layout.write_bytes(path, stream.getvalue())
        yield file_entry(layout, path)
