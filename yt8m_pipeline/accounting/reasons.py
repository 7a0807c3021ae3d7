"""The stages at which a row or a video leaves the pipeline, and the reasons. selection/README.md explains each reason.

The decoding child process imports this module, which therefore imports no heavy library.
"""

from enum import StrEnum
from typing import TypeAlias


class Stage(StrEnum):
    """The stages that reject rows or videos, in their order. Tables of rejects hold the values, so they never change.

    `yt8m convert` has the one stage `CONVERT`, and none of the others.
    """

    READ = "read"
    UNIQUE = "unique"
    VOCABULARY = "vocabulary"
    RATER_SCORES = "rater_scores"
    ELIGIBILITY = "eligibility"
    PARTITIONING = "partitioning"
    LABELS = "labels"
    DURATION = "duration"
    POPULARITY = "popularity"
    SAMPLING = "sampling"
    FREQUENCY = "frequency"
    SAME_URI = "same_uri"
    DECODE = "decode"
    EXTRACT = "extract"
    SAME_FEATURES = "same_features"
    RECOUNT = "recount"
    CONVERT = "convert"


class DropReason(StrEnum):
    """The reasons why a row or a video is not in the dataset. Rejects hold the values, so they never change."""

    # Reading the tables
    MISSING_VALUE = "missing_value"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    DUPLICATE = "duplicate"
    URI_NOT_ACCEPTED = "uri_not_accepted"
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
    NO_PARTITION = "no_partition"
    UNKNOWN_ENTITY = "unknown_entity"
    UNKNOWN_VIDEO = "unknown_video"
    LOW_SCORE = "low_score"
    OTHER_SEGMENT = "other_segment"
    ENTITY_NOT_KEPT = "entity_not_kept"
    VIDEO_NOT_KEPT = "video_not_kept"
    TOO_FEW_POPULAR_VIDEOS = "too_few_popular_videos"
    NO_VOCABULARY_LABEL = "no_vocabulary_label"
    NOT_SAMPLED = "not_sampled"
    TOO_FEW_VIDEOS = "too_few_videos"
    NO_LABEL_LEFT = "no_label_left"
    DUPLICATE_FILM = "duplicate_film"
    # 4 Decoding
    MISSING_FILE = "missing_file"
    IO_ERROR = "io_error"
    EMPTY_FILE = "empty_file"
    NOT_A_VIDEO = "not_a_video"
    CONTAINER_NOT_ACCEPTED = "container_not_accepted"
    TOO_MANY_STREAMS = "too_many_streams"
    ENCRYPTED = "encrypted"
    NO_VIDEO_STREAM = "no_video_stream"
    UNSUPPORTED_CODEC = "unsupported_codec"
    NO_FRAMES = "no_frames"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TOO_DAMAGED = "too_damaged"
    FRAME_TOO_LARGE = "frame_too_large"
    DECODE_TIMEOUT = "decode_timeout"
    DECODER_CRASHED = "decoder_crashed"
    INTERNAL_ERROR = "internal_error"
    # 5 Extraction
    NON_FINITE_FEATURES = "non_finite_features"
    # Conversion of MediaSequence protos
    WRONG_SHAPE = "wrong_shape"
    UNORDERED_TIMESTAMPS = "unordered_timestamps"

    @property
    def is_transient(self) -> bool:
        """Whether the same video may succeed another time, since the place, the machine or the program failed."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        DropReason.MISSING_FILE,
        DropReason.IO_ERROR,
        DropReason.DECODE_TIMEOUT,
        DropReason.DECODER_CRASHED,
        DropReason.INTERNAL_ERROR,
    }
)


BY_DURATION = frozenset({DropReason.TOO_SHORT, DropReason.TOO_LONG})
"""The reasons of stage `DURATION` that filter on purpose; its others are failures, those of decoding."""


class Retry(StrEnum):
    """The failures in the feature store that a build tries again."""

    TRANSIENT = "transient"
    ALL = "all"
    NONE = "none"

    def covers(self, reason: DropReason) -> bool:
        return self == Retry.ALL or (self == Retry.TRANSIENT and reason.is_transient)


class VideoRejected(Exception):
    """One video cannot be used. Only that video is lost, and the reason goes to the table of rejects.

    Args:
        reason: The reason.
        detail: What was seen, and where; one line.
        decoded_fraction: The share of its grid times whose frame is sound; None where it is not known.
    """

    def __init__(self, reason: DropReason, detail: str, decoded_fraction: float | None = None) -> None:
        super().__init__(reason, detail, decoded_fraction)
        self.reason, self.detail, self.decoded_fraction = reason, detail, decoded_fraction


Measured: TypeAlias = float | VideoRejected
"""The duration of a video in seconds, by its content, or why it cannot be measured."""
