"""What a user sees while a build runs: plain lines where there is no terminal, a bar where there is one."""

import io
import logging
import os
from collections.abc import Iterator

import pytest
from rich.console import Console

from tests.test_errors import HOSTILE, SHOWN
from yt8m_pipeline.cli import progress
from yt8m_pipeline.cli.progress import PLAIN_SECONDS, ProgressConsole, StageProgress
from yt8m_pipeline.transforms.monitoring import announce, say

LOGGER = logging.getLogger("yt8m_pipeline.progress")


class Clock:
    """Stands in for the module `time`: it is what the test says it is."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def printed() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def bars(clock: Clock, printed: io.StringIO) -> Iterator[StageProgress]:
    """Progress on a stream that is no terminal."""
    del clock  # it is set before the bars look at it
    bars = StageProgress(Console(file=printed, force_terminal=False))
    with bars.shown():
        yield bars


class TestPlainLines:
    def test_a_line_has_videos_frames_rate_and_the_time_left(
        self, bars: StageProgress, clock: Clock, printed: io.StringIO
    ) -> None:
        bars.update("extract", total=8)
        clock.seconds = 10
        bars.update("extract", done=2, frames=90)
        clock.seconds = 20
        bars.update("extract", done=2, frames=30)
        assert printed.getvalue().splitlines() == [
            "extract: 2/8 videos, 90 frames",
            "extract: 4/8 videos, 120 frames, 3.0 frames/s, 20 s left",
        ]

    def test_what_steps_say_is_escaped(self, bars: StageProgress, printed: io.StringIO) -> None:
        del bars
        said = HOSTILE.removesuffix("\udcff")  # pytest keeps what is logged, and its workers send no lone surrogate
        say(said)
        assert printed.getvalue() == SHOWN.removesuffix(r"\udcff") + "\n"

    def test_a_stage_without_a_total_or_frames_says_what_it_knows(
        self, bars: StageProgress, clock: Clock, printed: io.StringIO
    ) -> None:
        bars.update("records", done=3)
        assert printed.getvalue() == ""
        clock.seconds = 10
        bars.update("records", done=1)
        assert printed.getvalue() == "records: 4 videos\n"

    def test_lines_come_at_most_every_few_seconds_and_when_a_stage_ends(
        self, bars: StageProgress, clock: Clock, printed: io.StringIO
    ) -> None:
        bars.update("write", total=81)
        for _ in range(81):
            clock.seconds += PLAIN_SECONDS / 40
            bars.update("write", done=1)
        assert [line.split()[1] for line in printed.getvalue().splitlines()] == ["40/81", "80/81", "81/81"]

    def test_a_line_is_shown_once_whatever_comes_after_the_end(
        self, bars: StageProgress, clock: Clock, printed: io.StringIO
    ) -> None:
        bars.update("look", total=2)
        bars.update("look", done=2)
        bars.update("look", done=0)
        bars.update("look", total=2)
        clock.seconds = 2 * PLAIN_SECONDS
        bars.update("look", done=0)
        assert printed.getvalue() == "look: 2/2 videos, 0 s left\n"

    def test_what_is_no_video_is_not_called_one(self, bars: StageProgress, printed: io.StringIO) -> None:
        bars.update("delete", total=2, done=2)
        assert printed.getvalue() == "delete: 2/2 files, 0 s left\n"

    def test_the_time_to_load_the_network_counts_for_no_video(
        self, bars: StageProgress, clock: Clock, printed: io.StringIO
    ) -> None:
        bars.update("extract", total=10)
        clock.seconds = 20
        say("the network runs on a CPU", ready="extract")
        clock.seconds = 22
        bars.update("extract", done=1)
        assert printed.getvalue() == "the network runs on a CPU\nextract: 1/10 videos, 18 s left\n"

    def test_videos_that_failed_while_the_network_was_loaded_change_nothing_of_that(
        self, bars: StageProgress, clock: Clock, printed: io.StringIO
    ) -> None:
        bars.update("extract", total=10)
        clock.seconds = 1
        bars.update("extract", done=1)
        clock.seconds = 21
        say("the network runs on a CPU", ready="extract")
        clock.seconds = 24
        bars.update("extract", done=1)
        assert printed.getvalue().endswith("extract: 2/10 videos, 24 s left\n")

    def test_what_comes_before_a_stage_counts_for_no_video_of_it(
        self, bars: StageProgress, clock: Clock, printed: io.StringIO
    ) -> None:
        bars.update("pca", total=1)
        bars.update("write", total=4)
        clock.seconds = 100
        bars.update("pca", done=1)
        clock.seconds = 150
        bars.update("write", done=1)
        clock.seconds = 156
        bars.update("write", done=2)
        assert printed.getvalue().splitlines()[1:] == ["write: 1/4 videos", "write: 3/4 videos, 3 s left"]

    def test_what_is_said_before_other_work_starts_no_clock(
        self, bars: StageProgress, clock: Clock, printed: io.StringIO
    ) -> None:
        """The PCA is fitted after what is said of it, and the codebook's first video comes after that."""
        bars.update("quantizer", total=4)
        say("the PCA is fitted to 195 frames")
        clock.seconds = 30
        bars.update("quantizer", done=1)
        clock.seconds = 36
        bars.update("quantizer", done=2)
        assert printed.getvalue().splitlines()[1:] == ["quantizer: 1/4 videos", "quantizer: 3/4 videos, 3 s left"]


class TestRecords:
    def test_what_the_pipeline_logs_is_shown_and_goes_nowhere_else(
        self, bars: StageProgress, printed: io.StringIO
    ) -> None:
        announce("write", 2)
        LOGGER.info("done", extra={"stage": "write", "done": 2, "frames": 10})
        assert printed.getvalue().startswith("write: 2/2 videos, 10 frames, ")
        assert (bars in LOGGER.handlers, LOGGER.propagate) == (True, False)

    def test_nothing_is_shown_once_the_block_has_ended(self, printed: io.StringIO) -> None:
        bars = StageProgress(Console(file=printed, force_terminal=False))
        with bars.shown():
            pass
        say("too late")
        assert (printed.getvalue(), bars in LOGGER.handlers) == ("", False)


def test_a_terminal_shows_a_bar_and_no_plain_lines(printed: io.StringIO) -> None:
    bars = StageProgress(Console(file=printed, force_terminal=True, width=80))
    with bars.shown():
        bars.update("extract", total=3, done=1, frames=7)
        bars.update("extract", done=2, frames=7)
    shown = printed.getvalue()
    assert "3/3" in shown
    assert "frames/s" in shown
    assert "extract: " not in shown


def test_progress_that_nobody_reads_falls_silent_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True))
    bars = StageProgress(ProgressConsole())
    with bars.shown():
        say("the network runs on a CPU", ready="extract")
        bars.update("extract", total=2, done=2)
    assert bars not in LOGGER.handlers
