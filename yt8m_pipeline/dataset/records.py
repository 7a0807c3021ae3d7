"""The records of the dataset, in the public YouTube-8M schema: TensorFlow's protocol buffers, without TensorFlow.

A frame-level record is a `tf.train.SequenceExample`: context `id` (one bytes value) and `labels` (an int64 list), and
one feature list of one bytes value per frame. A video-level record is a `tf.train.Example`: `id`, `labels` and
`mean_rgb` (a float list). Serialisation is deterministic (map keys sorted), so equal records are equal bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.dataset.layout import LEVELS
from yt8m_pipeline.errors import DataError

FRAME_FEATURE_NAMES = ("rgb", "rgb_codes")
"""The name of the feature list says how its codes are read. Public YouTube-8M readers know `rgb` and de-quantize it by
their fixed formula, so only `uniform` codes have this name. All other codes need the dataset's own quantizer.npz and
are `rgb_codes`: a public reader does not find them and stops, rather than read wrong values."""

_EXAMPLE_PROTO = """
  # tensorflow/core/example/{feature,example}.proto
  name: "yt8m_pipeline/example.proto"  package: "tensorflow"  syntax: "proto3"
  message_type { name: "BytesList"
    field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
  message_type { name: "FloatList"
    field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT } }
  message_type { name: "Int64List"
    field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
  message_type { name: "Feature"
    oneof_decl { name: "kind" }
    field { name: "bytes_list" number: 1 type: TYPE_MESSAGE type_name: "BytesList" oneof_index: 0 }
    field { name: "float_list" number: 2 type: TYPE_MESSAGE type_name: "FloatList" oneof_index: 0 }
    field { name: "int64_list" number: 3 type: TYPE_MESSAGE type_name: "Int64List" oneof_index: 0 } }
  message_type { name: "Features"
    field { name: "feature" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "FeatureEntry" }
    nested_type { name: "FeatureEntry" options { map_entry: true }
      field { name: "key" number: 1 type: TYPE_STRING }
      field { name: "value" number: 2 type: TYPE_MESSAGE type_name: "Feature" } } }
  message_type { name: "FeatureList"
    field { name: "feature" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "Feature" } }
  message_type { name: "FeatureLists"
    field { name: "feature_list" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "FeatureListEntry" }
    nested_type { name: "FeatureListEntry" options { map_entry: true }
      field { name: "key" number: 1 type: TYPE_STRING }
      field { name: "value" number: 2 type: TYPE_MESSAGE type_name: "FeatureList" } } }
  message_type { name: "Example"
    field { name: "features" number: 1 type: TYPE_MESSAGE type_name: "Features" } }
  message_type { name: "SequenceExample"
    field { name: "context" number: 1 type: TYPE_MESSAGE type_name: "Features" }
    field { name: "feature_lists" number: 2 type: TYPE_MESSAGE type_name: "FeatureLists" } }
"""


def message_classes(descriptor: str) -> Mapping[str, Any]:
    """The message classes that a file descriptor describes, by name.

    They stand in a descriptor pool of their own, since the program that the messages are those of (TensorFlow,
    MediaPipe) may be imported in the same process and registers them in the default pool.

    Args:
        descriptor: A `FileDescriptorProto` in protocol buffers' text format.
    """
    file = text_format.Parse(descriptor, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = {message.name: f"{file.package}.{message.name}" for message in file.message_type}
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(full)) for name, full in names.items()}


MESSAGES = message_classes(_EXAMPLE_PROTO)
"""The message classes by name, e.g. SequenceExample."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameRecord:
    """A frame-level record.

    Attributes:
        video_id: The video's id.
        labels: Indices into vocabulary.csv, ascending; empty in the test partition, whose labels `shards` withholds.
        codes: uint8, (frames, dimensions), at least one frame.
        feature_name: One of `FRAME_FEATURE_NAMES`.
    """

    video_id: str
    labels: tuple[int, ...]
    codes: UInt8Array
    feature_name: str

    def __post_init__(self) -> None:
        if self.codes.dtype != np.uint8 or self.codes.ndim != 2 or self.codes.size == 0:
            raise ValueError(f"codes are uint8 (frames, dimensions), got {self.codes.dtype} {self.codes.shape}")
        if self.feature_name not in FRAME_FEATURE_NAMES:
            raise ValueError(f"a feature list is one of {FRAME_FEATURE_NAMES}, got {self.feature_name!r}")

    def __repr__(self) -> str:
        return f"FrameRecord({self.video_id!r}, {self.labels}, {self.feature_name} {self.codes.shape})"


@dataclass(frozen=True, slots=True, eq=False)
class VideoRecord:
    """A video-level record.

    Attributes:
        video_id: The video's id.
        labels: Indices into vocabulary.csv, ascending; empty in the test partition, whose labels `shards` withholds.
        mean_rgb: float32, (dimensions,), the mean of the de-quantized frames, which `shards` computes.
    """

    video_id: str
    labels: tuple[int, ...]
    mean_rgb: Float32Array

    def __post_init__(self) -> None:
        if self.mean_rgb.dtype != np.float32 or self.mean_rgb.ndim != 1 or self.mean_rgb.size == 0:
            raise ValueError(f"mean_rgb is float32 (dimensions,), got {self.mean_rgb.dtype} {self.mean_rgb.shape}")

    def __repr__(self) -> str:
        return f"VideoRecord({self.video_id!r}, {self.labels}, mean_rgb {self.mean_rgb.shape})"


def frame_record(video_id: str, labels: Sequence[int], codes: UInt8Array, feature_name: str) -> bytes:
    """Serialises a frame-level record; the arguments are the attributes of `FrameRecord`."""
    record = FrameRecord(video_id, tuple(labels), codes, feature_name)
    frames = MESSAGES["FeatureList"](feature=[bytes_feature(row.tobytes()) for row in record.codes])
    return serialise(
        MESSAGES["SequenceExample"](
            context=_id_and_labels(record.video_id, record.labels),
            feature_lists={"feature_list": {feature_name: frames}},
        )
    )


def video_record(video_id: str, labels: Sequence[int], mean_rgb: Float32Array) -> bytes:
    """Serialises a video-level record; the arguments are the attributes of `VideoRecord`."""
    record = VideoRecord(video_id, tuple(labels), mean_rgb)
    return vector_record(record.video_id, record.labels, "mean_rgb", record.mean_rgb)


def vector_record(video_id: str, labels: Sequence[int], name: str, vector: Float32Array) -> bytes:
    """Serialises a `tf.train.Example` of a video that has one vector, a float list of this name."""
    features = _id_and_labels(video_id, labels)
    features.feature[name].float_list.value.extend(vector.tolist())
    return serialise(MESSAGES["Example"](features=features))


def level_of(data: bytes) -> str:
    """The level of a record (one of `LEVELS`), told from what it holds: frame-level records have feature lists.

    Bytes that are no record at all count as frame-level.
    """
    try:
        has_frames = MESSAGES["SequenceExample"].FromString(data).HasField("feature_lists")
    except DecodeError:
        return LEVELS[0]
    return LEVELS[0 if has_frames else 1]


def parse_frame_record(data: bytes, where: str) -> FrameRecord:
    """Parses a frame-level record.

    Args:
        data: The serialised `SequenceExample`.
        where: The place that an error names: the file and the record's number.

    Raises:
        DataError: the bytes are not a frame-level record.
    """
    with _data_error("frame-level", where):
        example = MESSAGES["SequenceExample"].FromString(data)
        feature_name, feature_list = _only_item(example.feature_lists.feature_list, "feature list")
        frames = [single_bytes(feature, f"a frame of {feature_name}") for feature in feature_list.feature]
        return FrameRecord(*_parse_id_and_labels(example.context), _stack(frames), feature_name)


def parse_video_record(data: bytes, where: str) -> VideoRecord:
    """Parses a video-level record; the arguments and errors are those of `parse_frame_record`."""
    with _data_error("video-level", where):
        return VideoRecord(*parse_vector_record(data, "mean_rgb", where))


def vector_name(data: bytes) -> str:
    """The name of the vector of a video-level record: "mean_rgb" unless it has another float list alone."""
    features = MESSAGES["Example"].FromString(data).features.feature
    names = [name for name in sorted(features) if features[name].WhichOneof("kind") == "float_list"]
    return names[0] if len(names) == 1 else "mean_rgb"


def parse_vector_record(data: bytes, name: str, where: str) -> tuple[str, tuple[int, ...], Float32Array]:
    """The id, the labels and the vector of what `vector_record` wrote; the errors are those of `parse_frame_record`."""
    with _data_error("video-level", where):
        features = MESSAGES["Example"].FromString(data).features
        vector = np.array(list_values(_feature(features, name), "float_list", name), np.float32)
        return *_parse_id_and_labels(features), vector


def serialise(message: Any) -> bytes:
    """The bytes of a message: map entries are sorted by their keys, so equal messages are equal bytes."""
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def bytes_feature(value: bytes) -> Any:
    """A `Feature` of one bytes value."""
    return MESSAGES["Feature"](bytes_list={"value": [value]})


def _id_and_labels(video_id: str, labels: Sequence[int]) -> Any:
    indices = MESSAGES["Feature"](int64_list={"value": labels})
    return MESSAGES["Features"](feature={"id": bytes_feature(video_id.encode()), "labels": indices})


def _parse_id_and_labels(features: Any) -> tuple[str, tuple[int, ...]]:
    video_id = single_bytes(_feature(features, "id"), "id").decode()
    return video_id, tuple(list_values(_feature(features, "labels"), "int64_list", "labels"))


def _feature(features: Any, name: str) -> Any:
    if name not in features.feature:
        raise ValueError(f"it has no feature {name}, only {sorted(features.feature)}")
    return features.feature[name]


def list_values(feature: Any, kind: str, name: str) -> Sequence[Any]:
    """The values of a `Feature` of a kind, e.g. "int64_list"; it raises ValueError if the feature is of another."""
    found = feature.WhichOneof("kind")
    if found != kind:
        raise ValueError(f"{name} is a {kind}, got {found}")
    values: Sequence[Any] = getattr(feature, kind).value
    return values


def single_bytes(feature: Any, name: str) -> bytes:
    """The only value of a `Feature`; it raises ValueError if that is not exactly one bytes value."""
    values = list_values(feature, "bytes_list", name)
    if len(values) != 1:
        raise ValueError(f"{name} is one bytes value, got {len(values)}")
    value: bytes = values[0]
    return value


def _only_item(mapping: Mapping[str, Any], name: str) -> tuple[str, Any]:
    if len(mapping) != 1:
        raise ValueError(f"it has one {name}, got {sorted(mapping)}")
    return next(iter(mapping.items()))


def _stack(frames: Sequence[bytes]) -> UInt8Array:
    widths = {len(frame) for frame in frames}
    if len(widths) != 1:
        raise ValueError(f"all frames have one width, got {len(frames)} frames with widths {sorted(widths)}")
    return np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1)


@contextmanager
def _data_error(level: str, where: str) -> Iterator[None]:
    try:
        yield
    except (DecodeError, ValueError) as error:
        raise DataError(
            what=f"A record is not a {level} record of this schema",
            where=where,
            why=str(error),
            fix="rebuild the shard; if another program wrote it, make it write the public YouTube-8M schema",
        ) from None
