"""Progress of a job as values, for programs that show it in their own way."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

PROGRESS = logging.getLogger("yt8m_pipeline.progress")
"""Steps log their progress here; of the workers of an engine, only those in this process are heard."""


class Progress(NamedTuple):
    """Something that a stage has to say.

    Attributes:
        stage: The stage; "" where the text says all.
        announced: How many more videos it has before it.
        done: How many more videos it has finished.
        frames: How many frames these had.
        text: The same in words.
    """

    stage: str
    announced: int
    done: int
    frames: int
    text: str


OnProgress: TypeAlias = Callable[[Progress], None]


@contextmanager
def observed(on_progress: OnProgress | None) -> Iterator[None]:
    """Tells what the steps of a job say while the block runs."""
    handler = _Handler(on_progress) if on_progress else logging.NullHandler()
    level = PROGRESS.level
    PROGRESS.addHandler(handler)
    PROGRESS.setLevel(logging.INFO)
    try:
        yield
    finally:
        PROGRESS.removeHandler(handler)
        PROGRESS.setLevel(level)


class _Handler(logging.Handler):
    def __init__(self, on_progress: OnProgress) -> None:
        super().__init__(logging.INFO)
        self._on_progress = on_progress

    def emit(self, record: logging.LogRecord) -> None:
        said: dict[str, Any] = record.__dict__
        announced, done, frames = (int(said.get(name) or 0) for name in ("total", "done", "frames"))
        self._on_progress(Progress(said.get("stage", ""), announced, done, frames, record.getMessage()))
