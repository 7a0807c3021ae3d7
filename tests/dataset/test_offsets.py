"""Where a record stands is computed from what it holds; here it is compared with the files that are written."""

import io

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.dataset.offsets import OFFSET_COLUMNS, frame_record_bytes, video_record_bytes, with_offsets
from yt8m_pipeline.dataset.records import frame_record, video_record
from yt8m_pipeline.dataset.tfrecord import write_record

ids = st.text(min_size=1, max_size=50)
labels = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1)), max_size=90)
feature_names = st.sampled_from(["rgb", "rgb_codes"])
SCHEMA = {"video_id": pa.string(), "shard": pa.string(), "frames": pa.int64(), "labels": pa.list_(pa.int64())}


def framed(data: bytes) -> bytes:
    stream = io.BytesIO()
    write_record(stream, data)
    return stream.getvalue()


def written(
    video_id: str, label_list: list[int] | None, frames: int, width: int, feature_name: str
) -> tuple[bytes, bytes]:
    """Both records of a video, with their framing."""
    codes, mean = np.zeros((frames, width), np.uint8), np.zeros(width, np.float32)
    frame = frame_record(video_id, label_list or (), codes, feature_name)
    return framed(frame), framed(video_record(video_id, label_list or (), mean))


@given(ids, labels, st.integers(1, 400), st.integers(1, 300), feature_names)
def test_the_length_of_a_record_is_known_from_what_it_holds(
    video_id: str, label_list: list[int], frames: int, width: int, feature_name: str
) -> None:
    frame, video = written(video_id, label_list, frames, width, feature_name)
    id_bytes = len(video_id.encode())
    label_bytes = sum(max(1, -(-label.bit_length() // 7)) for label in label_list)
    assert frame_record_bytes(id_bytes, label_bytes, frames, width, feature_name) == len(frame)
    assert video_record_bytes(id_bytes, label_bytes, width) == len(video)


videos = st.tuples(ids, st.sampled_from(["train-00000", "train-00001", "test"]), st.none() | labels, st.integers(1, 40))


@given(st.lists(videos, max_size=12, unique_by=lambda video: video[0]), st.integers(1, 20), feature_names)
def test_each_record_stands_where_the_table_says(
    rows: list[tuple[str, str, list[int] | None, int]], width: int, feature_name: str
) -> None:
    rows.sort()
    names = ("video_id", "shard", "labels", "frames")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=pa.schema(SCHEMA))
    shards: dict[tuple[str, str], bytes] = {}
    expected = []
    for video_id, shard, label_list, frames in rows:
        place = []
        for level, record in zip(
            ("frame", "video"), written(video_id, label_list, frames, width, feature_name), strict=True
        ):
            before = shards.get((level, shard), b"")
            place += [len(before), len(record)]
            shards[level, shard] = before + record
        expected.append(tuple(place))
    found = with_offsets(table, width, feature_name)
    assert list(zip(*(found[name].to_pylist() for name in OFFSET_COLUMNS), strict=True)) == expected
    assert with_offsets(found, width, feature_name).equals(found)
