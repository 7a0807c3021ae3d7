"""What flows through the pipeline: small, frozen values that check themselves at birth."""

import json
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import inf
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Float32Array: TypeAlias = npt.NDArray[np.float32]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]


class Partition(StrEnum):
    """The three splits of the dataset (paper §3.2)."""

    TRAIN = "train"
    VALIDATE = "validate"
    TEST = "test"


class Specificity(StrEnum):
    """How specific an entity is, by equal ranges of its mean rater score (paper Figure 4)."""

    COARSE = "coarse"
    MEDIUM = "medium"
    FINE = "fine"


class DropReason(StrEnum):
    """Why a row or a video is not in the dataset. The values are stable: they stand in rejects.parquet."""

    # Reading the tables
    MISSING_VALUE = "missing_value"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    DUPLICATE = "duplicate"
    # 1 Vocabulary
    NO_WHITELISTED_TYPE = "no_whitelisted_type"
    BLACKLISTED_TYPE = "blacklisted_type"
    # 2 Rater pruning
    TOO_FEW_RATERS = "too_few_raters"
    NOT_VISUAL = "not_visual"
    # 3 Video sampling and partitioning
    TOO_FEW_VIEWS = "too_few_views"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    UNKNOWN_ENTITY = "unknown_entity"
    UNKNOWN_VIDEO = "unknown_video"
    ENTITY_NOT_KEPT = "entity_not_kept"
    VIDEO_NOT_KEPT = "video_not_kept"
    TOO_FEW_POPULAR_VIDEOS = "too_few_popular_videos"
    NO_VOCABULARY_LABEL = "no_vocabulary_label"
    NOT_SAMPLED = "not_sampled"
    TOO_FEW_VIDEOS = "too_few_videos"
    NO_LABEL_LEFT = "no_label_left"
    # 4 Decoding
    MISSING_FILE = "missing_file"
    IO_ERROR = "io_error"
    EMPTY_FILE = "empty_file"
    NOT_A_VIDEO = "not_a_video"
    NO_VIDEO_STREAM = "no_video_stream"
    UNSUPPORTED_CODEC = "unsupported_codec"
    NO_FRAMES = "no_frames"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TOO_DAMAGED = "too_damaged"
    FRAME_TOO_LARGE = "frame_too_large"
    DECODE_TIMEOUT = "decode_timeout"
    DECODER_CRASHED = "decoder_crashed"
    # 5 Extraction
    NON_FINITE_FEATURES = "non_finite_features"
    # Conversion of MediaSequence protos
    WRONG_SHAPE = "wrong_shape"
    UNORDERED_TIMESTAMPS = "unordered_timestamps"

    @property
    def is_transient(self) -> bool:
        """Whether the same bytes may do better another time: the place or the machine failed, not the film."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {DropReason.MISSING_FILE, DropReason.IO_ERROR, DropReason.DECODE_TIMEOUT, DropReason.DECODER_CRASHED}
)


class Retry(StrEnum):
    """Which of the failures that the feature store remembers a build tries again."""

    TRANSIENT = "transient"
    ALL = "all"
    NONE = "none"

    def covers(self, reason: DropReason) -> bool:
        return self == Retry.ALL or (self == Retry.TRANSIENT and reason.is_transient)


STAGES = (
    "read",
    "unique",
    "vocabulary",
    "rater_scores",
    "eligibility",
    "labels",
    "popularity",
    "sampling",
    "frequency",
    "decode",
    "extract",
)
"""The stages that drop rows or videos, in order."""


@dataclass(frozen=True, slots=True)
class Video:
    """A selected video.

    Attributes:
        video_id: The id given in the videos table.
        uri: Where its bytes are: a local path or gs://.
        partition: The split that it belongs to.
        entity_ids: Its vocabulary labels, sorted, at least one.
    """

    video_id: str
    uri: str
    partition: Partition
    entity_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.video_id or not self.entity_ids:
            raise ValueError(f"a selected video needs an id and at least one label, got {self}")


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One decoded frame of the 1-fps grid (paper §3.3).

    Attributes:
        index: k: this is the frame on screen k / frames_per_second after the video's start.
        pts_seconds: The frame's own presentation time, seconds after the video's start: ≤ its grid time, but for
            keyframe sampling and for the first sound frame of a damaged film, which stands for those before it.
        rgb: uint8, (height, width, 3).
    """

    index: int
    pts_seconds: float
    rgb: UInt8Array

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise ValueError(f"a frame is uint8 (height, width, 3), got {self.rgb.dtype} {self.rgb.shape}")

    def __repr__(self) -> str:
        return f"SampledFrame(index={self.index}, pts_seconds={self.pts_seconds}, rgb={self.rgb.shape})"


@dataclass(frozen=True, slots=True)
class ProbedFrame:
    """One frame of the grid as the build would see it, in its own size.

    Attributes:
        k: This is the frame on screen k / frames_per_second after the film's start.
        pts_seconds: The frame's own presentation time, seconds after the film's start.
        width: Pixels, upright.
        height: Pixels, upright.
        sha256: The digest of its RGB24 bytes, row by row, hexadecimal.
    """

    k: int
    pts_seconds: float
    width: int
    height: int
    sha256: str

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"a probed frame has pixels and a SHA-256, got {self}")


@dataclass(frozen=True, slots=True)
class FilmFacts:
    """What a film is, by its header and by its content. Unknown is None.

    Attributes:
        container: FFmpeg's name of the demuxer.
        codec: FFmpeg's name of the codec.
        profile: FFmpeg's name of the codec's profile.
        pixel_format: FFmpeg's name of the first frame's pixel format.
        width: Of the first frame as it is coded, pixels.
        height: Of the first frame as it is coded, pixels.
        is_mirrored: Whether the display matrix mirrors the picture from left to right …
        rotation_degrees: … and then how far it turns it clockwise: 0, 90, 180 or 270.
        sample_aspect_ratio: Width : height of a pixel.
        frame_rate: Frames per second by the header, a rational number.
        start_seconds: The presentation time of the first frame, by the container's clock.
        duration_seconds_from_header: As the header has it, or FFmpeg estimates where it has none.
        duration_seconds_from_content: From the first frame's presentation time to the end of the last frame's.
        frames_from_header: How many frames the header counts.
        frames_from_content: How many packets there are; a packet is a frame, but for codecs with hidden ones (VP8).
        grid_frames: How many grid times the content covers: the frames that a build takes.
        decoded_fraction: The share of them that is sound; None where they were not decoded.
        frames: The frames of the grid; () where they were not decoded.
    """

    container: str
    codec: str
    profile: str | None
    pixel_format: str
    width: int
    height: int
    is_mirrored: bool
    rotation_degrees: int
    sample_aspect_ratio: str | None
    frame_rate: str | None
    start_seconds: float
    duration_seconds_from_header: float | None
    duration_seconds_from_content: float
    frames_from_header: int | None
    frames_from_content: int
    grid_frames: int
    decoded_fraction: float | None
    frames: tuple[ProbedFrame, ...]

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.frames_from_content, self.grid_frames) < 1:
            raise ValueError(f"a film has pixels, packets and frames, got {self}")
        texts = (self.container, self.codec, self.profile, self.pixel_format, self.sample_aspect_ratio, self.frame_rate)
        if not all((text or "").isprintable() for text in texts):
            raise ValueError(f"a name is one line of printable text, got {self}")

    def to_json(self) -> dict[str, Any]:
        """The attributes by name, in values that JSON knows."""
        return asdict(self) | {"frames": [asdict(frame) for frame in self.frames]}

    @classmethod
    def from_json(cls, values: object) -> "FilmFacts":
        """The inverse of `to_json`, for values that nobody vouches for.

        Raises:
            ValueError: if a name is missing or unknown, a value has the wrong type, or a number is not finite.
        """
        from pydantic import TypeAdapter  # noqa: PLC0415  `yt8m --help` does not need it

        return TypeAdapter(cls).validate_json(json.dumps(values, allow_nan=False), strict=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class VideoFeatures:
    """The features of one video, as the feature store keeps them.

    Attributes:
        video_id: The video's id.
        features: float32 or float16, (frames, dimensions), finite; row k belongs to grid time k.
        pts_seconds: float64, (frames,), the presentation time of each frame, not decreasing.
    """

    video_id: str
    features: npt.NDArray[np.floating]
    pts_seconds: Float64Array

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) == 0:
            raise ValueError(f"{self.video_id}: features are (frames, dimensions), got {self.features.shape}")
        if self.pts_seconds.shape != (len(self.features),):
            raise ValueError(f"{self.video_id}: {len(self.features)} frames, {self.pts_seconds.shape} pts")

    def __repr__(self) -> str:
        return f"VideoFeatures({self.video_id!r}, {self.features.dtype}{list(self.features.shape)})"


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """What the feature store has of one video, in brief.

    Attributes:
        frames: How many frames, at least one.
        magnitude: The largest absolute value of its features, as stored.
        sha256: Of the features and presentation times, hexadecimal: it changes when they do, and only then.
        decoded_fraction: The share of its grid times whose frame is sound.
        deviation_seconds: The largest distance of a frame's presentation time from its grid time.
    """

    frames: int
    magnitude: float
    sha256: str
    decoded_fraction: float
    deviation_seconds: float

    def __post_init__(self) -> None:
        if self.frames < 1 or not (0 <= self.magnitude < inf and 0 <= self.deviation_seconds < inf):
            raise ValueError(f"a stored video has frames, and its magnitude and deviation are finite, got {self}")
        if not 0 <= self.decoded_fraction <= 1:
            raise ValueError(f"a decoded fraction is in 0 … 1, got {self}")


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A selected video whose features are in the store: what crosses Beam in place of them."""

    video: Video
    entry: StoredEntry
