"""The records against TensorFlow's own messages and the public YouTube-8M schema."""

import re
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.dataset.records import (
    FrameRecord,
    VideoRecord,
    frame_record,
    level_of,
    parse_frame_record,
    parse_video_record,
    video_record,
)
from yt8m_pipeline.errors import DataError

CODES = np.arange(12, dtype=np.uint8).reshape(3, 4)
MEAN = np.array([0.5, -1.25, 3e-39], np.float32)
WITHHELD: tuple[int, ...] = ()

video_ids = st.text(max_size=20).filter(str.isprintable)
label_lists = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)
code_arrays = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
means = hnp.arrays(np.float32, st.integers(1, 6), elements=st.floats(width=32))
feature_names = st.sampled_from(["rgb", "rgb_codes"])
with_module_fixture = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None
)


@pytest.fixture(scope="module")
def tf() -> ModuleType:
    return import_module("tensorflow")


def bytes_feature(tf: Any, value: bytes) -> Any:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def int64_feature(tf: Any, values: list[int]) -> Any:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


@given(video_ids, label_lists, code_arrays, feature_names)
def test_a_frame_record_reads_back(video_id: str, labels: list[int], codes: UInt8Array, feature_name: str) -> None:
    record = parse_frame_record(frame_record(video_id, labels, codes, feature_name), "x")
    assert (record.video_id, record.labels, record.feature_name) == (video_id, tuple(labels), feature_name)
    np.testing.assert_array_equal(record.codes, codes, strict=True)


@given(video_ids, label_lists, means)
def test_a_video_record_reads_back(video_id: str, labels: list[int], mean_rgb: Float32Array) -> None:
    record = parse_video_record(video_record(video_id, labels, mean_rgb), "x")
    assert (record.video_id, record.labels) == (video_id, tuple(labels))
    np.testing.assert_array_equal(record.mean_rgb, mean_rgb, strict=True)


@given(video_ids, label_lists, code_arrays, means)
def test_a_record_tells_its_level(video_id: str, labels: list[int], codes: UInt8Array, mean_rgb: Float32Array) -> None:
    assert level_of(frame_record(video_id, labels, codes, "rgb")) == "frame"
    assert level_of(video_record(video_id, labels, mean_rgb)) == "video"


@pytest.mark.parametrize("data", [b"\xff", b"a record of something else", frame_record("v", [1], CODES, "rgb")[:-1]])
def test_bytes_that_are_no_record_count_as_frame_level(data: bytes) -> None:
    assert level_of(data) == "frame"


@with_module_fixture
@given(video_id=video_ids, labels=label_lists, codes=code_arrays, feature_name=feature_names)
def test_a_frame_record_is_tensorflows_sequence_example_to_the_byte(
    tf: Any, video_id: str, labels: list[int], codes: UInt8Array, feature_name: str
) -> None:
    frames = tf.train.FeatureList(feature=[bytes_feature(tf, row.tobytes()) for row in codes])
    context = {"id": bytes_feature(tf, video_id.encode()), "labels": int64_feature(tf, labels)}
    example = tf.train.SequenceExample(
        context=tf.train.Features(feature=context),
        feature_lists=tf.train.FeatureLists(feature_list={feature_name: frames}),
    )
    assert frame_record(video_id, labels, codes, feature_name) == example.SerializeToString(deterministic=True)


@with_module_fixture
@given(video_id=video_ids, labels=label_lists, mean_rgb=means)
def test_a_video_record_is_tensorflows_example_to_the_byte(
    tf: Any, video_id: str, labels: list[int], mean_rgb: Float32Array
) -> None:
    mean = tf.train.Feature(float_list=tf.train.FloatList(value=mean_rgb))
    features = {"id": bytes_feature(tf, video_id.encode()), "labels": int64_feature(tf, labels), "mean_rgb": mean}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    assert video_record(video_id, labels, mean_rgb) == example.SerializeToString(deterministic=True)


@pytest.mark.parametrize("labels", [(3, 14, 159), WITHHELD])
def test_the_public_schema_reads_a_frame_record(tf: Any, labels: tuple[int, ...]) -> None:
    """The schema of google/youtube-8m, readers.py, YT8MFrameFeatureReader."""
    context, frames = tf.io.parse_single_sequence_example(
        frame_record("video", labels, CODES, "rgb"),
        context_features={"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)},
        sequence_features={"rgb": tf.io.FixedLenSequenceFeature([], dtype=tf.string)},
    )
    assert context["id"].numpy() == b"video"
    assert tuple(context["labels"].values.numpy()) == labels
    np.testing.assert_array_equal(tf.io.decode_raw(frames["rgb"], tf.uint8).numpy(), CODES)


@pytest.mark.parametrize("labels", [(3, 14, 159), WITHHELD])
def test_the_public_schema_reads_a_video_record(tf: Any, labels: tuple[int, ...]) -> None:
    """The schema of google/youtube-8m, readers.py, YT8MAggregatedFeatureReader."""
    example = tf.io.parse_single_example(
        video_record("video", labels, MEAN),
        {
            "id": tf.io.FixedLenFeature([], tf.string),
            "labels": tf.io.VarLenFeature(tf.int64),
            "mean_rgb": tf.io.FixedLenFeature([len(MEAN)], tf.float32),
        },
    )
    assert example["id"].numpy() == b"video"
    assert tuple(example["labels"].values.numpy()) == labels
    np.testing.assert_array_equal(example["mean_rgb"].numpy(), MEAN)


def frame_example(tf: Any, context: dict[str, Any], **frames: list[Any]) -> bytes:
    lists = {name: tf.train.FeatureList(feature=features) for name, features in frames.items()}
    example = tf.train.SequenceExample(
        context=tf.train.Features(feature=context), feature_lists=tf.train.FeatureLists(feature_list=lists)
    )
    data: bytes = example.SerializeToString()
    return data


def test_each_departure_from_the_schema_is_named(tf: Any) -> None:
    def text(*values: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    labels = int64_feature(tf, [1])
    good = {"id": text(b"v"), "labels": labels}
    cases = [
        (frame_example(tf, {"labels": labels}, rgb=[text(b"ab")]), "it has no feature id, only ['labels']"),
        (frame_example(tf, {"id": text(b"v")}, rgb=[text(b"ab")]), "it has no feature labels, only ['id']"),
        (frame_example(tf, {**good, "id": labels}, rgb=[text(b"ab")]), "id is a bytes_list, got int64_list"),
        (frame_example(tf, {**good, "id": text(b"a", b"b")}, rgb=[text(b"ab")]), "id is one bytes value, got 2"),
        (frame_example(tf, {**good, "id": text(b"\xff")}, rgb=[text(b"ab")]), "'utf-8' codec can't decode byte 0xff"),
        (
            frame_example(tf, {**good, "labels": text(b"1")}, rgb=[text(b"ab")]),
            "labels is a int64_list, got bytes_list",
        ),
        (frame_example(tf, {**good, "labels": tf.train.Feature()}, rgb=[text(b"a")]), "int64_list, got None"),
        (frame_example(tf, good), "it has one feature list, got []"),
        (frame_example(tf, good, rgb=[text(b"a")], rgb_codes=[text(b"a")]), "got ['rgb', 'rgb_codes']"),
        (frame_example(tf, good, audio=[text(b"ab")]), "one of ('rgb', 'rgb_codes'), got 'audio'"),
        (frame_example(tf, good, rgb=[]), "got 0 frames with widths []"),
        (frame_example(tf, good, rgb=[text(b"ab"), text(b"abc")]), "got 2 frames with widths [2, 3]"),
        (frame_example(tf, good, rgb=[text(b""), text(b"")]), "codes are uint8 (frames, dimensions), got uint8 (2, 0)"),
        (frame_example(tf, good, rgb=[labels]), "a frame of rgb is a bytes_list, got int64_list"),
        (frame_example(tf, good, rgb=[text()]), "a frame of rgb is one bytes value, got 0"),
    ]
    for data, why in cases:
        with pytest.raises(DataError, match=re.escape(why)):
            parse_frame_record(data, "x")


def test_a_malformed_frame_record_is_a_data_error_with_four_parts() -> None:
    text = (
        "A record is not a frame-level record of this schema\n"
        "  where: train.tfrecord, record 7\n"
        "  why:   Error parsing message with type 'tensorflow.SequenceExample'\n"
        "  fix:   rebuild the shard"
    )
    with pytest.raises(DataError, match=re.escape(text)):
        parse_frame_record(frame_record("v", [1], CODES, "rgb")[:-1], "train.tfrecord, record 7")


def test_a_frame_record_is_not_a_video_record() -> None:
    with pytest.raises(DataError, match="not a video-level record"):
        parse_video_record(frame_record("v", [1], CODES, "rgb"), "x")
    with pytest.raises(DataError, match="not a frame-level record"):
        parse_frame_record(video_record("v", [1], MEAN), "x")


@given(st.binary(max_size=60))
def test_bytes_that_are_no_record_are_a_data_error(data: bytes) -> None:
    for parse in (parse_frame_record, parse_video_record):
        with pytest.raises(DataError, match="where: x"):
            parse(data, "x")


@given(st.data())
def test_a_changed_byte_ends_in_a_record_or_a_data_error(data: st.DataObject) -> None:
    """Without its frame: a changed tag is an unknown field, which protocol buffers skip; the CRC guards against it."""
    damaged = bytearray(frame_record("video", [1, 2], CODES, "rgb"))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert parse_frame_record(bytes(damaged), "x").codes.size > 0
    except DataError as error:
        assert error.where == "x"


@pytest.mark.parametrize(
    "codes",
    [np.zeros((0, 4), np.uint8), np.zeros((3, 0), np.uint8), np.zeros(4, np.uint8), np.zeros((3, 4), np.int64)],
    ids=["no frame", "no dimension", "a vector", "int64"],
)
def test_codes_of_another_shape_or_type_are_refused(codes: Any) -> None:
    with pytest.raises(ValueError, match="codes are uint8"):
        frame_record("v", [], codes, "rgb")


@pytest.mark.parametrize("mean_rgb", [np.zeros(0, np.float32), np.zeros((1, 4), np.float32), np.zeros(4)])
def test_a_mean_of_another_shape_or_type_is_refused(mean_rgb: Any) -> None:
    with pytest.raises(ValueError, match="mean_rgb is float32"):
        video_record("v", [], mean_rgb)


def test_a_feature_list_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'audio'"):
        frame_record("v", [], CODES, "audio")


def test_a_repr_shows_shapes_and_no_data() -> None:
    assert repr(FrameRecord("v", (1,), CODES, "rgb")) == "FrameRecord('v', (1,), rgb (3, 4))"
    assert repr(VideoRecord("v", WITHHELD, MEAN)) == "VideoRecord('v', (), mean_rgb (3,))"
