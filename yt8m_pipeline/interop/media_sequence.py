"""One video as MediaPipe's YouTube-8M feature extraction writes it: a MediaSequence proto.

A MediaSequence is a `tf.train.SequenceExample` with agreed keys (mediapipe/util/sequence/media_sequence.h). The graph
mediapipe/graphs/youtube8m/feature_extraction.pbtxt stores whitened PCA coefficients, not yet quantized: one float list
per second in the feature list `RGB/feature/floats`, their microseconds in `RGB/feature/timestamp`, and of the sound
the same under `AUDIO/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.data_model import Float32Array, Int64Array
from yt8m_pipeline.dataset.records import MESSAGES, bytes_feature, list_values, serialise, single_bytes

MICROSECONDS = 1_000_000
"""Microseconds in a second: MediaSequence tells times in microseconds."""

EXAMPLE_ID = "example/id"
CLIP_START = "clip/start/timestamp"
CLIP_END = "clip/end/timestamp"
LABEL_INDEX = "clip/label/index"
LABEL_STRING = "clip/label/string"
DIMENSIONS = "RGB/feature/dimensions"
RATE = "RGB/feature/rate"
FLOATS = "RGB/feature/floats"
TIMESTAMP = "RGB/feature/timestamp"

KEYS = (EXAMPLE_ID, CLIP_START, CLIP_END, LABEL_INDEX, LABEL_STRING, DIMENSIONS, RATE, FLOATS, TIMESTAMP)
"""Of these keys a MediaSequence of frames has some, and no record of a dataset has any."""


@dataclass(frozen=True, slots=True, eq=False)
class MediaSequence:
    """What a MediaSequence says of a video's frames.

    Attributes:
        video_id: `example/id`, or "" where it has none.
        labels: `clip/label/index`.
        label_names: `clip/label/string`, one for each of `labels`; or ().
        coefficients: float32, (frames, dimensions), at least one frame, finite: `RGB/feature/floats`.
        timestamps: int64, (frames,), microseconds: `RGB/feature/timestamp`; or (0,), where it has none.
        left_out: The keys of what a dataset has no place for: other feature lists, and names that fit no label.
    """

    video_id: str
    labels: tuple[int, ...]
    label_names: tuple[str, ...]
    coefficients: Float32Array
    timestamps: Int64Array
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        found, times = self.coefficients, self.timestamps
        if found.dtype != np.float32 or found.ndim != 2 or found.size == 0 or not np.isfinite(found).all():
            raise ValueError(f"coefficients are finite float32 (frames, dimensions), got {found.dtype} {found.shape}")
        if times.dtype != np.int64 or times.shape not in ((0,), (len(found),)):
            raise ValueError(f"timestamps are int64, one per frame, got {times.dtype} {times.shape}")
        if self.label_names and len(self.label_names) != len(self.labels):
            raise ValueError(f"{len(self.label_names)} names of {len(self.labels)} labels")

    def __repr__(self) -> str:
        return f"MediaSequence({self.video_id!r}, labels={self.labels}, coefficients={self.coefficients.shape})"


def media_sequence(sequence: MediaSequence, rate: float) -> bytes:
    """Serialises a video as MediaPipe's graph does; the same video is the same bytes.

    Args:
        sequence: The video; `left_out` is not written.
        rate: Frames per second.
    """
    frames, dimensions = sequence.coefficients.shape
    context = {
        EXAMPLE_ID: bytes_feature(sequence.video_id.encode()),
        CLIP_START: _integers([0]),
        CLIP_END: _integers([round(frames / rate * MICROSECONDS)]),
        DIMENSIONS: _integers([dimensions]),
        RATE: _floats([rate]),
        **({LABEL_INDEX: _integers(sequence.labels)} if sequence.labels else {}),
        **({LABEL_STRING: _texts(sequence.label_names)} if sequence.label_names else {}),
    }
    lists = {
        FLOATS: MESSAGES["FeatureList"](feature=[_floats(row.tolist()) for row in sequence.coefficients]),
        TIMESTAMP: MESSAGES["FeatureList"](feature=[_integers([time]) for time in sequence.timestamps.tolist()]),
    }
    return serialise(MESSAGES["SequenceExample"](context={"feature": context}, feature_lists={"feature_list": lists}))


def is_media_sequence(data: bytes) -> bool:
    """Whether bytes are a SequenceExample with a key of MediaPipe's graph: `RGB/feature/…`, `clip/…`.

    Bytes that are no message at all are taken for one that was cut short if such a key stands in them.
    """
    try:
        example = MESSAGES["SequenceExample"].FromString(data)
    except DecodeError:
        return any(key.encode() in data for key in KEYS)
    found = (*example.context.feature, *example.feature_lists.feature_list)
    return any("/feature/" in key or key in KEYS for key in found)


def parse_media_sequence(data: bytes) -> MediaSequence:
    """Parses what MediaPipe's graph, or `media_sequence`, has written.

    Raises:
        VideoRejected: the bytes are no such proto, or its frames cannot be used: none of them, lists of unequal or
            undeclared lengths, values that are not finite, timestamps that do not rise.
    """
    if not data:
        raise VideoRejected(DropReason.EMPTY_FILE, "the proto has no bytes")
    try:
        return _parse(MESSAGES["SequenceExample"].FromString(data))
    except DecodeError as error:
        raise VideoRejected(DropReason.DAMAGED, str(error)) from None
    except ValueError as error:
        raise VideoRejected(DropReason.WRONG_TYPE, str(error)) from None


def _parse(example: Any) -> MediaSequence:
    context, lists = example.context.feature, example.feature_lists.feature_list
    coefficients = _coefficients(lists)
    declared = _optional(context, DIMENSIONS, "int64_list")
    if declared and prod(declared) != coefficients.shape[1]:
        detail = f"{DIMENSIONS} says {list(declared)}, a frame has {coefficients.shape[1]} values"
        raise VideoRejected(DropReason.WRONG_SHAPE, detail)
    video_id = single_bytes(context[EXAMPLE_ID], EXAMPLE_ID).decode() if EXAMPLE_ID in context else ""
    labels = tuple(_optional(context, LABEL_INDEX, "int64_list"))
    names = tuple(text.decode() for text in _optional(context, LABEL_STRING, "bytes_list"))
    left_out = {key for key in lists if not key.endswith("/timestamp")} - {FLOATS}
    if len(names) != len(labels):
        left_out |= {LABEL_STRING} if names else set()
        names = ()
    return MediaSequence(
        video_id, labels, names, coefficients, _timestamps(lists, len(coefficients)), tuple(sorted(left_out))
    )


def _coefficients(lists: Mapping[str, Any]) -> Float32Array:
    if FLOATS not in lists:
        raise VideoRejected(DropReason.MISSING_VALUE, f"it has no feature list {FLOATS}, only {sorted(lists)}")
    frames = [list_values(feature, "float_list", f"a frame of {FLOATS}") for feature in lists[FLOATS].feature]
    if not frames:
        raise VideoRejected(DropReason.NO_FRAMES, f"{FLOATS} is empty")
    widths = sorted({len(frame) for frame in frames})
    if len(widths) > 1 or not widths[0]:
        raise VideoRejected(DropReason.WRONG_SHAPE, f"the frames of {FLOATS} have {widths} values")
    coefficients = np.stack([np.array(frame, np.float32) for frame in frames])
    unsound = np.count_nonzero(~np.isfinite(coefficients))
    if unsound:
        detail = f"{unsound} of {coefficients.size} values of {FLOATS} are NaN or infinite"
        raise VideoRejected(DropReason.NON_FINITE_FEATURES, detail)
    return coefficients


def _timestamps(lists: Mapping[str, Any], frames: int) -> Int64Array:
    features = lists[TIMESTAMP].feature if TIMESTAMP in lists else ()
    times = [time for feature in features for time in list_values(feature, "int64_list", TIMESTAMP)]
    if times and len(times) != frames:
        raise VideoRejected(DropReason.WRONG_SHAPE, f"{len(times)} of {TIMESTAMP}, {frames} of {FLOATS}")
    timestamps = np.array(times, np.int64)
    (late,) = np.nonzero(timestamps[1:] <= timestamps[:-1])
    if late.size:
        before, after = timestamps[late[0] : late[0] + 2]
        detail = f"after frame {late[0]} at {before} µs comes one at {after} µs"
        raise VideoRejected(DropReason.UNORDERED_TIMESTAMPS, detail)
    return timestamps


def _optional(context: Mapping[str, Any], key: str, kind: str) -> Sequence[Any]:
    """The values of a key of the context; none if the key is missing, or its feature is an empty one without a kind."""
    if key not in context or context[key].WhichOneof("kind") is None:
        return ()
    return list_values(context[key], kind, key)


def _integers(values: Sequence[int]) -> Any:
    return MESSAGES["Feature"](int64_list={"value": values})


def _floats(values: Sequence[float]) -> Any:
    return MESSAGES["Feature"](float_list={"value": values})


def _texts(values: Sequence[str]) -> Any:
    return MESSAGES["Feature"](bytes_list={"value": [text.encode() for text in values]})
