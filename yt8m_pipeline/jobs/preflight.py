"""Probing many videos before a build spends time on any of them: `yt8m probe`."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import nlargest
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yt8m_pipeline import files
from yt8m_pipeline.accounting.outcome import REJECTS, Drop, Outcome, reject_videos, split
from yt8m_pipeline.accounting.reasons import DropReason, Measured, Stage, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import VideoFacts
from yt8m_pipeline.decoding.sandbox.threads import Probing, prober
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.measuring import Measuring, measure
from yt8m_pipeline.parsing import parquet_file
from yt8m_pipeline.places import ANYWHERE, Places
from yt8m_pipeline.selection.durations import SHOWN_DURATIONS, TOLERANCE_SECONDS
from yt8m_pipeline.tables.reading import TableFiles, read_batches
from yt8m_pipeline.tables.uris import accept_uris
from yt8m_pipeline.tables.video_files import Listed, list_videos

T = TypeVar("T")


class WrongDuration(NamedTuple):
    """A video that is not as long as its table says."""

    seconds_off: float
    video_id: str
    in_table: float
    in_video: float


@dataclass(slots=True)
class Preflight:
    """What was found in a table.

    Attributes:
        videos: How many were probed.
        problems: How many rows and videos a build cannot use, by reason.
        wrong_durations: How many sound videos are longer or shorter than the table says.
        worst_durations: The first few of them, the farthest off first.
        without_duration: How many of the videos have no duration in the table.
        seconds: The time that all sound videos take.
    """

    videos: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    wrong_durations: int = 0
    worst_durations: list[WrongDuration] = field(default_factory=list)
    without_duration: int = 0
    seconds: float = 0.0

    def book(self, video_id: str, in_table: float | None, in_video: float) -> None:
        """Adds a sound video."""
        self.seconds += in_video
        if in_table is not None:
            self.compare_durations(video_id, in_table, in_video)

    def compare_durations(self, video_id: str, in_table: float, in_video: float) -> None:
        seconds_off = abs(in_table - in_video)
        if seconds_off > TOLERANCE_SECONDS:
            self.wrong_durations += 1
            found = WrongDuration(seconds_off, video_id, in_table, in_video)
            self.worst_durations = nlargest(SHOWN_DURATIONS, [*self.worst_durations, found])


def find_videos(uris: Sequence[str]) -> Listed:
    """Finds the videos in folders and in those below them. What is no folder stays as it is.

    Args:
        uris: Files and folders, local or gs://.

    Raises:
        UsageError: if a folder has no video.
    """
    found = [(uri, list_videos(uri)) for uri in uris]
    videos = [video for uri, listed in found for video in _placed(uri, listed)]
    folders = [listed for _, listed in found if listed]
    return Listed(videos, sum(listed.hidden for listed in folders), sum(listed.others for listed in folders))


def _placed(uri: str, listed: Listed | None) -> list[str]:
    return [files.join(uri, name) for name in listed.videos] if listed else [uri]


def probe(
    uris: Sequence[str], decoding: Decoding | None = None, *, frames: bool = False, workers: int | None = None
) -> list[VideoFacts | VideoRejected]:
    """Says what videos are, or why a build cannot use them.

    Args:
        uris: Local paths or gs://.
        decoding: The grid, the limits and the policies; None: the defaults.
        frames: Whether to decode every frame of the grid.
        workers: How many videos at once; None: one for each core.

    Returns:
        What each is, in the order of the URIs.

    Raises:
        DataError: if no decoding process can be started.
    """
    return probe_all(uris, Probing(decoding or Decoding(), frames, workers or os.cpu_count() or 1), lambda: None)


def probe_all(uris: Sequence[str], probing: Probing, progress: Callable[[], None]) -> list[VideoFacts | VideoRejected]:
    """Probes videos as `probe` does, and tells after each of them."""
    with prober(probing) as probe_videos:
        found = dict(_told(probe_videos(uris), progress))
    return [found[number] for number in range(len(uris))]


def count_videos(source: TableFiles, places: Places = ANYWHERE) -> int:
    """How many rows of a videos table can be read and name a place that is accepted."""
    return sum(outcome.kept.num_rows for outcome in _batches(source, places))


def require_replaceable(output: str) -> None:
    """Refuses to write the table of problems over a file that is none, such as the videos table itself.

    Raises:
        UsageError: if there is such a file.
    """
    if files.exists(output) and not _is_of_problems(output):
        raise UsageError(
            what="The table of problems would replace another file",
            where=output,
            why="the file that is there is no table of problems",
            fix="give another name with --output, or move the file away",
        )


def _is_of_problems(uri: str) -> bool:
    try:
        with files.open_read(uri) as stream:
            return bool(parquet_file(stream).schema_arrow.equals(REJECTS))
    except (OSError, pa.ArrowException):
        return False


def probe_table(
    source: TableFiles,
    root: str,
    output: str,
    probing: Probing,
    progress: Callable[[], None],
    store: str | None = None,
) -> Preflight:
    """Probes every video of a table and writes the table of those that a build cannot use.

    Args:
        source: The files of the videos table.
        root: The folder that relative URIs are relative to.
        output: The Parquet file to write, in schema `REJECTS`: unreadable rows and repeated ids as a build rejects
            them, and videos with stage `decode`, in the order of the table. It appears whole or not at all.
        probing: How to probe.
        progress: Called after each video, also for those whose id is repeated.
        store: The folder of the feature store that keeps durations, by which a video that was measured before is not
            opened again; None: there is none. It is not asked where every frame is decoded.

    Raises:
        DataError: if the table or a sandbox fails, or the output cannot be written.
    """
    found, places, seen = Preflight(), replace(probing.places, root=root), set[str]()
    measuring = Measuring(probing.decoding, places, None if probing.frames else store)
    with (
        files.open_atomic(output) as stream,
        pq.ParquetWriter(stream, REJECTS) as writer,
        prober(replace(probing, places=places)) as probe,
    ):
        for batch in _batches(source, places):
            first = batch.then(partial(_first_of_their_ids, seen=seen))
            for _ in range(batch.kept.num_rows - first.kept.num_rows):
                progress()
            rows = first.kept.select(["video_id", "uri", "duration_seconds"]).to_pylist()
            uris = [places.absolute(row["uri"]) for row in rows]
            measured = dict(_told(measure(uris, measuring, probe), progress))
            problems = pa.concat_tables([first.rejects, _booked(rows, uris, measured, found)])
            found.problems.update(problems["reason"].to_pylist())
            writer.write_table(problems)
    return found


def _batches(source: TableFiles, places: Places) -> Iterator[Outcome]:
    for name in source.files:
        for outcome in read_batches(source, name):
            yield outcome.then(partial(accept_uris, places=places))


def _first_of_their_ids(videos: pa.Table, seen: set[str]) -> Outcome:
    """Keeps the rows whose id no row before has, as a build does, and adds their ids to those seen."""
    repeated = np.zeros(videos.num_rows, np.bool_)
    for row, video_id in enumerate(videos["video_id"].to_pylist()):
        repeated[row] = video_id in seen
        seen.add(video_id)
    drop = Drop(DropReason.DUPLICATE, repeated, "an earlier row has the id {video_id}, too")
    return split(videos, [drop], Stage.UNIQUE, "videos")


def _told(results: Iterator[T], progress: Callable[[], None]) -> Iterator[T]:
    """The same results, each of which is told when it has been taken."""
    for found in results:
        yield found
        progress()


def _booked(
    rows: Sequence[dict[str, Any]], uris: Sequence[str], measured: Mapping[int, Measured], found: Preflight
) -> pa.Table:
    """Books what was found out about videos, and gives those that cannot be used: schema `REJECTS`."""
    rejected = []
    for number, (row, uri) in enumerate(zip(rows, uris, strict=True)):
        duration = measured[number]
        if isinstance(duration, VideoRejected):
            rejected.append((row["video_id"], uri, duration))
        else:
            found.book(row["video_id"], row["duration_seconds"], duration)
    found.videos += len(rows)
    found.without_duration += sum(row["duration_seconds"] is None for row in rows)
    return reject_videos(Stage.DECODE, rejected)
