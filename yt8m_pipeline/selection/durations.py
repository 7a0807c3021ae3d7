"""Stage 3: the durations that the videos table lacks, or that the config wants measured (paper §3.2: 120 to 500 s).

Measuring opens a video, so it comes after the labels: a video without a label in the vocabulary is never opened.

>>> checked = ComparedDurations.of([("a", 100.0, 100.5), ("b", 100.0, 9.0)])
>>> checked.warnings()
['durations of the videos table that the videos contradict by more than 1 s: 1 of 2 rows; first b: 100 s, not 9 s']
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import BoolArray, Outcome, mask, reject_videos, split
from yt8m_pipeline.accounting.reasons import Measured, Stage, VideoRejected
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.selection.video_sampling import duration_drops

TOLERANCE_SECONDS = 1.0
"""A duration of the table that is this far from the video's own is still the same: tables hold whole seconds."""

SHOWN_DURATIONS = 5
"""The number of contradicted durations that a warning shows."""


class Contradiction(NamedTuple):
    """A video whose duration is not what the videos table says, both in seconds."""

    video_id: str
    in_table: float
    in_video: float

    def __str__(self) -> str:
        return f"{self.video_id}: {self.in_table:.10g} s, not {self.in_video:.10g} s"


@dataclass(frozen=True, slots=True)
class ComparedDurations:
    """How the durations of the videos table agree with those of the videos. It is a monoid.

    Attributes:
        rows: The number of rows with both durations.
        contradicted: The number of them that differ by more than `TOLERANCE_SECONDS`.
        first: The first `SHOWN_DURATIONS` of these, by id.
    """

    rows: int = 0
    contradicted: int = 0
    first: tuple[Contradiction, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[tuple[str, float | None, Measured]]) -> "ComparedDurations":
        """Compares the id, the duration in the table and the measured one of each row; either may not be known."""
        both = [
            Contradiction(video_id, in_table, in_video)
            for video_id, in_table, in_video in rows
            if in_table is not None and isinstance(in_video, float)
        ]
        found = [row for row in both if abs(row.in_table - row.in_video) > TOLERANCE_SECONDS]
        return cls(len(both), len(found), tuple(nsmallest(SHOWN_DURATIONS, found)))

    def __add__(self, other: "ComparedDurations") -> "ComparedDurations":
        first = tuple(nsmallest(SHOWN_DURATIONS, self.first + other.first))
        return ComparedDurations(self.rows + other.rows, self.contradicted + other.contradicted, first)

    def warnings(self) -> list[str]:
        """One warning for all contradicted durations; none where there is none."""
        if not self.contradicted:
            return []
        what = f"durations of the videos table that the videos contradict by more than {TOLERANCE_SECONDS:g} s"
        return [f"{what}: {self.contradicted} of {self.rows} rows; first {', '.join(map(str, self.first))}"]


def to_measure(videos: pa.Table, config: VideoSampling) -> BoolArray:
    """Whether each video is measured: bool, (videos,). Under `durations: table`, those without a duration are."""
    if config.durations == "measured":
        return np.ones(videos.num_rows, np.bool_)
    return mask(videos["duration_seconds"].is_null())


def settle_durations(
    videos: pa.Table, uris: Sequence[str], measured: Sequence[Measured], config: VideoSampling
) -> Outcome:
    """Gives videos their measured durations, and keeps those that are neither too short nor too long (paper §3.2).

    Args:
        videos: Columns `video_id`, `duration_seconds` float64 or null, provenance.
        uris: The place of each, for the rejects of those that cannot be measured.
        measured: What was found out about each.
        config: The thresholds.
    """
    seconds = pa.array([item if isinstance(item, float) else None for item in measured], pa.float64())
    with_durations = videos.set_column(videos.column_names.index("duration_seconds"), "duration_seconds", seconds)
    ids = videos["video_id"].to_pylist()
    rows = zip(ids, uris, measured, strict=True)
    failed = reject_videos(Stage.DURATION, ((*row, item) for *row, item in rows if isinstance(item, VideoRejected)))
    known = Outcome(Stage.DURATION, "videos", with_durations.filter(pc.is_valid(seconds)), failed)
    return known.then(partial(_filter, config=config))


def _filter(videos: pa.Table, config: VideoSampling) -> Outcome:
    return split(videos, duration_drops(videos, config), Stage.DURATION, "videos")
