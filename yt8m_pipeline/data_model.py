"""What flows through the pipeline: small, frozen values that check themselves at birth."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

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
    DECODE_TIMEOUT = "decode_timeout"
    DECODER_CRASHED = "decoder_crashed"
    # 5 Extraction
    NON_FINITE_FEATURES = "non_finite_features"

    @property
    def is_transient(self) -> bool:
        """Whether the same bytes may do better another time: the place or the machine failed, not the film."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {DropReason.MISSING_FILE, DropReason.IO_ERROR, DropReason.DECODE_TIMEOUT, DropReason.DECODER_CRASHED}
)


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
        pts_seconds: The frame's own presentation time, seconds after the video's start, ≤ its grid time.
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
class StoredVideo:
    """A selected video whose features are in the store: what crosses Beam in place of them.

    Attributes:
        video: The video.
        frames: How many frames the store has of it, at least one.
        magnitude: The largest absolute value of its features.
        sha256: The digest of its features and presentation times.
    """

    video: Video
    frames: int
    magnitude: float
    sha256: str

    def __post_init__(self) -> None:
        if self.frames < 1 or not self.magnitude >= 0:
            raise ValueError(f"a stored video has frames and a finite magnitude, got {self}")
