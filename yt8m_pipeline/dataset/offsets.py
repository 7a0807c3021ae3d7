"""Where each record stands in its file: computed from what the record holds, without the file.

A shard holds the records of its videos in the order of their ids, with nothing between them, and the length of a record
follows from the id, the labels, and the numbers of frames and of dimensions. So the offsets of a whole dataset are a
function of videos.parquet: they are known of shards that an earlier build wrote, and no worker reports them.
"""

from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.dataset.layout import LEVELS
from yt8m_pipeline.dataset.tfrecord import FRAMING_BYTES

Bytes: TypeAlias = Int64Array | int
"""Numbers of bytes: of one record, or of many."""

OFFSET_COLUMNS = tuple(f"{level}_{what}" for level in LEVELS for what in ("offset", "bytes"))
"""The columns of videos.parquet that say where the records of a video are, at each level: the byte at which the whole
TFRecord begins, and its length with the framing."""

_VARINT_ENDS = 1 << np.arange(7, 63, 7, dtype=np.int64)
"""A varint of protocol buffers has 7 bits a byte, so one byte more from each of these numbers on."""


def frame_record_bytes(id_bytes: Bytes, label_bytes: Bytes, frames: Bytes, width: int, feature_name: str) -> Bytes:
    """The length of a frame-level TFRecord, framing included; of arrays, that of each.

    >>> int(frame_record_bytes(id_bytes=2, label_bytes=2, frames=2, width=3, feature_name="rgb_codes"))
    85

    Args:
        id_bytes: The length of the id in UTF-8.
        label_bytes: The sum of the lengths of the labels as varints.
        frames: The number of frames.
        width: The number of codes of a frame.
        feature_name: The name of the feature list.
    """
    frame = _field(_field(_field(width)))
    features = _entry(feature_name, frames * frame)
    return FRAMING_BYTES + _field(_id_and_labels(id_bytes, label_bytes)) + _field(features)


def video_record_bytes(id_bytes: Bytes, label_bytes: Bytes, width: int) -> Bytes:
    """The length of a video-level TFRecord, framing included; the arguments are those of `frame_record_bytes`."""
    mean = _entry("mean_rgb", _field(_field(4 * width)))
    return FRAMING_BYTES + _field(_id_and_labels(id_bytes, label_bytes) + mean)


def with_offsets(videos: pa.Table, width: int, feature_name: str) -> pa.Table:
    """The rows of videos.parquet with the columns `OFFSET_COLUMNS`.

    Args:
        videos: The columns `video_id`, by which it is sorted, `shard`, `frames`, and `labels`, null where withheld. All
            videos of each shard are there.
        width: The number of codes of a frame.
        feature_name: The name of the feature list.
    """
    id_bytes = _numbers(pc.binary_length(videos["video_id"]))
    label_bytes = _label_bytes(videos["labels"].combine_chunks())
    sizes = {
        "frame": frame_record_bytes(id_bytes, label_bytes, _numbers(videos["frames"]), width, feature_name),
        "video": video_record_bytes(id_bytes, label_bytes, width),
    }
    shards = videos["shard"].combine_chunks().dictionary_encode().indices.to_numpy()
    for level, own in sizes.items():
        videos = _with_column(videos, f"{level}_offset", _offsets(np.asarray(own), shards))
        videos = _with_column(videos, f"{level}_bytes", np.asarray(own))
    return videos


def _offsets(sizes: Int64Array, shards: Int64Array) -> Int64Array:
    """Where each record begins, given the length and the shard of each; those of a shard stand in their order."""
    order = np.argsort(shards, kind="stable")
    starts = np.cumsum(sizes[order]) - sizes[order]
    is_first = np.diff(shards[order], prepend=-1) != 0
    offsets = np.empty_like(starts)
    offsets[order] = starts - np.maximum.accumulate(np.where(is_first, starts, 0))
    return offsets


def _label_bytes(labels: pa.ListArray) -> Int64Array:
    """The sum of the lengths of the varints of each list; 0 of none."""
    rows = pc.list_parent_indices(labels).to_numpy()
    each = _varint(labels.flatten().to_numpy())
    return np.bincount(rows, weights=each, minlength=len(labels)).astype(np.int64)


def _with_column(table: pa.Table, name: str, values: Int64Array) -> pa.Table:
    index = table.schema.get_field_index(name)
    column = pa.array(values, pa.int64())
    return table.append_column(name, column) if index < 0 else table.set_column(index, name, column)


def _numbers(column: pa.ChunkedArray) -> Int64Array:
    return np.asarray(column.to_numpy(), np.int64)


# Protocol buffers' wire format: each field of these messages has a number below 16, and so a tag of one byte ----------


def _field(size: Bytes) -> Bytes:
    """The length of a field whose value has this length: a tag, the length as a varint, and the value."""
    return 1 + _varint(size) + size


def _varint(number: Bytes) -> Bytes:
    length: Bytes = 1 + np.searchsorted(_VARINT_ENDS, number, side="right")
    return length


def _entry(key: str, value: Bytes) -> Bytes:
    """The length of a field that is an entry of a map."""
    return _field(_field(len(key)) + _field(value))


def _id_and_labels(id_bytes: Bytes, label_bytes: Bytes) -> Bytes:
    packed = np.where(np.asarray(label_bytes) > 0, _field(label_bytes), 0)
    return _entry("id", _field(_field(id_bytes))) + _entry("labels", _field(packed))
