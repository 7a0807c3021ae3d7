"""Whoever observes a job hears what its steps say as values, and leaves the logger as it was."""

import logging
from collections.abc import Iterator

import pytest

from yt8m_pipeline.jobs.progress import PROGRESS, OnProgress, Progress, observed
from yt8m_pipeline.transforms.monitoring import advance, announce, say


@pytest.fixture(autouse=True, params=[logging.NOTSET, logging.ERROR])
def level(request: pytest.FixtureRequest) -> Iterator[int]:
    """The level that the program has set, which is quieter than what the steps say."""
    PROGRESS.setLevel(request.param)
    yield request.param
    PROGRESS.setLevel(logging.NOTSET)


def test_what_the_steps_say_is_heard_as_values() -> None:
    heard: list[Progress] = []
    with observed(heard.append):
        announce("extract", 3)
        advance("extract", videos=2, frames=70)
        say("The PCA is fitted")
    say("nobody listens")
    assert heard == [
        Progress("extract", 3, 0, 0, "extract: 3 to do"),
        Progress("extract", 0, 2, 70, "extract: 2 done"),
        Progress("", 0, 0, 0, "The PCA is fitted"),
    ]


@pytest.mark.parametrize("on_progress", [None, lambda _: None])
def test_the_logger_is_afterwards_as_before_however_the_job_ended(level: int, on_progress: OnProgress | None) -> None:
    handlers = list(PROGRESS.handlers)

    def fail() -> None:
        with observed(on_progress):
            assert PROGRESS.level == logging.INFO
            assert len(PROGRESS.handlers) == len(handlers) + 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (PROGRESS.level, PROGRESS.handlers) == (level, handlers)
