"""The values that flow through the pipeline. They are small and frozen, and check themselves when they are made."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Float32Array: TypeAlias = npt.NDArray[np.float32]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]


VIDEO_COLUMNS = (
    "video_id",
    "partition",
    "labels",
    "frames",
    "shard",
    "features_sha256",
    "features_magnitude",
    "decoded_fraction",
    "deviation_seconds",
    "uri",
    "duration_seconds",
    "view_count",
    "transfer",
    "container",
    "codec",
    "file_bytes",
    "width",
    "height",
    "frame_rate",
    "packets",
    "decoded_packets",
    "frame_offset",
    "frame_bytes",
    "video_offset",
    "video_bytes",
)
"""The names of the columns of videos.parquet, which no column of a user's own may have."""


class Partition(StrEnum):
    """The three parts of the dataset (paper §3.2)."""

    TRAIN = "train"
    VALIDATE = "validate"
    TEST = "test"


class Specificity(StrEnum):
    """How specific an entity is, by equal ranges of its mean rater score (paper Figure 4)."""

    COARSE = "coarse"
    MEDIUM = "medium"
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Video:
    """A video that was selected for the dataset, or whose features are wanted (`yt8m extract`).

    Attributes:
        video_id: The id given in the videos table.
        uri: The place of its bytes, a local path or gs://.
        partition: The part of the dataset that it belongs to.
        entity_ids: Its labels, ids of entities in the vocabulary; sorted. Those of a dataset have at least one.
        unit: What was put into the partition as a whole: its group's id, or its own where it has no group.
        listed_uri: Its place as the videos table has it.
        duration_seconds: Its duration, as far as it is known.
        kept_columns: The texts of the columns that `tables.keep_columns` names.
        is_given: Whether the user gave its partition, so that nothing may change it.
        view_count: How often it was viewed, as far as the videos table tells.
    """

    video_id: str
    uri: str
    partition: Partition
    entity_ids: tuple[str, ...]
    unit: str = ""
    listed_uri: str = ""
    duration_seconds: float | None = None
    kept_columns: tuple[str, ...] = ()
    is_given: bool = False
    view_count: int | None = None

    def __post_init__(self) -> None:
        if not self.video_id:
            raise ValueError(f"a video needs an id, got {self}")


MAX_FRAMES = 1 << 31
"""The frames of a stored video are fewer, so that sums of them fit the 64-bit columns of tables."""

HIGHEST_RATE = 1000
"""A video has at most so many frames per second; a header that tells more tells the unit of its clock."""

MAX_COUNT, MAX_NAME = 1 << 53, 100
"""The bytes, packets and pixels of a file are fewer than the one; the names of its kinds have no more letters than the
other."""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """What the file of a video is, and what decoding it took. The same file and decoder make the same values.

    Attributes:
        container: FFmpeg's name of the demuxer.
        codec: FFmpeg's name of the codec.
        file_bytes: The size of the file.
        width: The width of the last frame as it is coded, in pixels.
        height: Its height, in pixels.
        frame_rate: Frames per second by the header; None where it tells none, or nonsense.
        packets: How many packets the file has up to the last sampled frame. Nearly all are a frame each.
        decoded_packets: How many packets were decoded. Those that no sampled frame depends on are not; some count twice
            where decoding began anew.
    """

    container: str
    codec: str
    file_bytes: int
    width: int
    height: int
    frame_rate: float | None
    packets: int
    decoded_packets: int

    def __post_init__(self) -> None:
        counts = (self.file_bytes, self.width, self.height, self.packets, self.decoded_packets)
        if not all(0 <= count < MAX_COUNT for count in counts):
            raise ValueError(f"counts are not negative, and fit the 64-bit columns of tables, got {self}")
        if self.frame_rate is not None and not 0 < self.frame_rate < inf:
            raise ValueError(f"a frame rate is above 0 and finite, got {self}")
        if not all(text.isprintable() and len(text) <= MAX_NAME for text in (self.container, self.codec)):
            raise ValueError(f"a name is one short line of printable text, got {self}")


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """What the feature store says of one video.

    Attributes:
        frames: The number of its frames, at least one.
        magnitude: The largest absolute value of its features, as stored.
        sha256: The SHA-256 of its features and presentation times, in hexadecimal.
        decoded_fraction: The share of its grid times whose frame is sound, in [0, 1].
        deviation_seconds: The largest distance of a frame's presentation time from its grid time, in seconds.
        transfer: "PQ" or "HLG" for a video of high dynamic range, whose frames are not tone-mapped; '' for others.
        media: What its file is; None for videos that were stored by version 0.1.0.
    """

    frames: int
    magnitude: float
    sha256: str
    decoded_fraction: float
    deviation_seconds: float
    transfer: str = ""
    media: MediaFile | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.frames < MAX_FRAMES or not (0 <= self.magnitude < inf and 0 <= self.deviation_seconds < inf):
            raise ValueError(f"a stored video has 1 … 2³¹ - 1 frames, and finite magnitude and deviation, got {self}")
        if not 0 <= self.decoded_fraction <= 1:
            raise ValueError(f"a decoded fraction is in 0 … 1, got {self}")


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A selected video whose features are in the store. It crosses Beam in their place."""

    video: Video
    entry: StoredEntry
