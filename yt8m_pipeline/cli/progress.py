"""Progress of a build on the terminal: a bar with rates and time left, or plain lines where there is no terminal."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from yt8m_pipeline.errors import printable

PLAIN_SECONDS = 5.0
"""Plain lines come at most this often, and at the end of a stage."""

UNITS = {"encode": "files", "delete": "files"}
"""What a stage counts, where it is not videos: `yt8m demo` writes broken files too, `yt8m store gc` deletes any."""


class ProgressConsole(Console):
    """The console of stderr. Where nobody reads it any more, progress falls silent, and what it tells of goes on."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def on_broken_pipe(self) -> None:
        self.quiet = True


class StageProgress(logging.Handler):
    """Turns the pipeline's progress records (`announce`, `advance`, `say`) into display."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._stages: dict[str, _Stage] = {}

    def emit(self, record: logging.LogRecord) -> None:
        event: dict[str, Any] = record.__dict__
        if "stage" not in event:
            self._console.print(printable(record.getMessage()), highlight=False, markup=False)
            ready = self._stages.get(event.get("ready", ""))
            if ready:
                ready.start()
            return
        stage, announced = event["stage"], event.get("total")
        before = self._stages[stage].total if stage in self._stages else None
        total = None if announced is None else announced + (before or 0)
        self.update(stage, total=total, done=event.get("done", 0), frames=event.get("frames", 0))

    def update(self, name: str, *, total: int | None = None, done: int = 0, frames: int = 0) -> None:
        """Shows that a stage has `total` videos before it, and has finished `done` more of them with so many frames."""
        stage = self._stages.get(name)
        if stage is None:
            unit = UNITS.get(name, "videos")
            task = self._bars.add_task(name, total=None, unit=unit, rate="")
            stage = self._stages[name] = _Stage(name, unit, task)
        stage.total = stage.total if total is None else total
        stage.count(done, frames)
        self._bars.update(stage.task, completed=stage.done, total=stage.total, rate=stage.rate)
        if not self._console.is_terminal and stage.is_due():
            self._console.print(stage.line(), highlight=False)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows progress while the block runs."""
        logger = logging.getLogger("yt8m_pipeline.progress")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self)
        try:
            with self._bars:
                yield
        finally:
            logger.removeHandler(self)


class _Stage:
    """How far a stage is.

    Its clock starts when its first videos are finished, and anew when it has been made ready (the network was loaded):
    neither the wait for the stage before it nor such a preparation is taken for the time of a video.
    """

    def __init__(self, name: str, unit: str, task: TaskID) -> None:
        self.name, self.unit, self.task = name, unit, task
        self.total: int | None = None
        self.done = self.frames = 0
        self._shown_at, self._shown_done = time.monotonic(), 0
        self._started_at: float | None = None
        self._done_before = self._frames_before = 0

    def start(self) -> None:
        """Starts the clock: what is done by now counts for no rate."""
        self._started_at = time.monotonic()
        self._done_before, self._frames_before = self.done, self.frames

    def count(self, done: int, frames: int) -> None:
        """Counts videos that are finished, and their frames."""
        self.done += done
        self.frames += frames
        if done and self._started_at is None:
            self.start()

    @property
    def rate(self) -> str:
        """The frames per second, or what is counted where a stage counts no frames; "" where no rate is known yet."""
        done, unit = (self.frames - self._frames_before, "frames") if self.frames else (self._timed, self.unit)
        return f"{done / self._elapsed:,.1f} {unit}/s" if done else ""

    @property
    def _timed(self) -> int:
        return self.done - self._done_before

    @property
    def _elapsed(self) -> float:
        return max(time.monotonic() - (self._started_at or 0), 1e-3)

    def is_due(self) -> bool:
        """Whether a line is to be shown now: it has another count than the last one, and its time has come."""
        now = time.monotonic()
        is_time = self.done == self.total or now - self._shown_at >= PLAIN_SECONDS
        if self.done == self._shown_done or not is_time:
            return False
        self._shown_at, self._shown_done = now, self.done
        return True

    def line(self) -> str:
        of = "" if self.total is None else f"/{self.total}"
        frames = [f"{self.frames} frames", *filter(None, [self.rate])] if self.frames else []
        return ", ".join([f"{self.name}: {self.done}{of} {self.unit}", *frames, *self._time_left()])

    def _time_left(self) -> list[str]:
        if self.total is None or not (self._timed or self.done == self.total):
            return []
        left = self._elapsed / self._timed * (self.total - self.done) if self._timed else 0
        return [f"{left:.0f} s left"]
