"""Probing many videos before a build spends time on any of them: `yt8m probe`."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import nlargest
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from yt8m_pipeline import files
from yt8m_pipeline.accounting.outcome import REJECTS, Outcome, reject_videos
from yt8m_pipeline.accounting.reasons import Stage, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.damage import check_damage
from yt8m_pipeline.decoding.facts import VideoFacts
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.places import ANYWHERE, Places
from yt8m_pipeline.tables.reading import TableFiles, read_batches
from yt8m_pipeline.tables.uris import accept_uris

TOLERANCE_SECONDS = 1.0
"""How far the table's duration, which decides whether a video is eligible (paper §3.2), may be from the video's."""

SHOWN_DURATIONS = 5

UNUSED_SIZE = 1
"""Of the frames that a sandbox would hand over: a probe wants none of them."""


Probed: TypeAlias = tuple[int, VideoFacts | VideoRejected]
"""The place of a video in its list, and what it is, or why a build cannot use it."""
ProbeVideos: TypeAlias = Callable[[Sequence[str]], Iterator[Probed]]
"""Probes videos by their URIs, and gives each result as soon as it is known."""


class WrongDuration(NamedTuple):
    """A video that is not as long as its table says."""

    seconds_off: float
    video_id: str
    in_table: float
    in_video: float


@dataclass(frozen=True, slots=True)
class Probing:
    """How to probe.

    Attributes:
        decoding: The grid, the limits and the policies.
        frames: Whether to decode every frame of the grid.
        workers: How many videos at once.
        places: What a uri may name.
    """

    decoding: Decoding
    frames: bool
    workers: int
    places: Places = ANYWHERE


@dataclass(slots=True)
class Preflight:
    """What was found in a table.

    Attributes:
        videos: How many were probed.
        problems: How many rows and videos a build cannot use, by reason.
        wrong_durations: How many sound videos are longer or shorter than the table says.
        worst_durations: The first few of them, the farthest off first.
    """

    videos: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    wrong_durations: int = 0
    worst_durations: list[WrongDuration] = field(default_factory=list)

    def compare_durations(self, video_id: str, in_table: float, in_video: float) -> None:
        seconds_off = abs(in_table - in_video)
        if seconds_off > TOLERANCE_SECONDS:
            self.wrong_durations += 1
            found = WrongDuration(seconds_off, video_id, in_table, in_video)
            self.worst_durations = nlargest(SHOWN_DURATIONS, [*self.worst_durations, found])


@contextmanager
def prober(probing: Probing) -> Iterator[ProbeVideos]:
    """Threads with a sandbox each, which probe lists of videos.

    The threads are daemons: an interrupted program ends at once, and with it the sandboxes' processes.
    """
    idle: SimpleQueue[Sandbox] = SimpleQueue()

    def probe(numbered: tuple[int, str]) -> Probed:
        number, uri = numbered
        sandbox = idle.get()
        try:
            return number, _probe(sandbox, uri, probing)
        finally:
            idle.put(sandbox)

    with ExitStack() as stack, ThreadPool(probing.workers) as pool:
        for _ in range(probing.workers):
            idle.put(stack.enter_context(Sandbox(probing.decoding, UNUSED_SIZE, probing.places)))
        yield lambda uris: pool.imap_unordered(probe, enumerate(uris))


def _probe(sandbox: Sandbox, uri: str, probing: Probing) -> VideoFacts | VideoRejected:
    try:
        facts = sandbox.probe(uri, frames=probing.frames)
        if facts.decoded_fraction is not None:
            check_damage(facts.decoded_fraction, probing.decoding)
    except VideoRejected as rejection:
        return rejection
    return facts


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
    with prober(Probing(decoding or Decoding(), frames, workers or os.cpu_count() or 1)) as probe_all:
        found = dict(probe_all(uris))
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
            return bool(pq.read_schema(stream).equals(REJECTS))
    except (OSError, pa.ArrowException):
        return False


def probe_table(
    source: TableFiles, root: str, output: str, probing: Probing, progress: Callable[[], None]
) -> Preflight:
    """Probes every video of a table and writes the table of those that a build cannot use.

    Args:
        source: The files of the videos table.
        root: The folder that relative URIs are relative to.
        output: The Parquet file to write, in schema `REJECTS`: unreadable rows as a build rejects them, and videos
            with stage `decode`, in the order of the table. It appears whole or not at all.
        probing: How to probe.
        progress: Called after each video.

    Raises:
        DataError: if the table or a sandbox fails, or the output cannot be written.
    """
    found, places = Preflight(), replace(probing.places, root=root)
    with (
        files.open_atomic(output) as stream,
        pq.ParquetWriter(stream, REJECTS) as writer,
        prober(replace(probing, places=places)) as probe,
    ):
        for batch in _batches(source, places):
            rows = batch.kept.select(["video_id", "uri", "duration_seconds"]).to_pylist()
            rejected = _probe_rows(rows, places, probe, found, progress)
            problems = pa.concat_tables([batch.rejects, rejected])
            found.problems.update(problems["reason"].to_pylist())
            writer.write_table(problems)
    return found


def _batches(source: TableFiles, places: Places) -> Iterator[Outcome]:
    for name in source.files:
        for outcome in read_batches(source, name):
            yield outcome.then(partial(accept_uris, places=places))


def _probe_rows(
    rows: list[dict[str, Any]], places: Places, probe: ProbeVideos, found: Preflight, progress: Callable[[], None]
) -> pa.Table:
    """The videos that cannot be used: schema `REJECTS`."""
    uris = [places.absolute(row["uri"]) for row in rows]
    rejected: dict[int, tuple[str, str, VideoRejected]] = {}
    for number, result in probe(uris):
        video_id = rows[number]["video_id"]
        if isinstance(result, VideoRejected):
            rejected[number] = (video_id, uris[number], result)
        else:
            found.compare_durations(video_id, rows[number]["duration_seconds"], result.duration_seconds_from_content)
        progress()
    found.videos += len(rows)
    return reject_videos(Stage.DECODE, (rejected[number] for number in sorted(rejected)))
