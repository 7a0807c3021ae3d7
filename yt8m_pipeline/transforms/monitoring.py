"""What a running build tells: counters for every engine, and log records that the command line turns into progress."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter

PROGRESS = logging.getLogger("yt8m_pipeline.progress")
NAMESPACE = "yt8m"


def announce(stage: str, total: int) -> None:
    """Says how many videos a stage has before it."""
    PROGRESS.info("%s: %d to do", stage, total, extra={"stage": stage, "total": total})


def say(text: str) -> None:
    """Says something once that a user wants to know while a build runs."""
    PROGRESS.info(text)


def advance(stage: str, *, videos: int = 1, frames: int = 0) -> None:
    """Says that a stage has finished with some videos, and how many frames it worked on."""
    PROGRESS.info("%s: %d done", stage, videos, extra={"stage": stage, "done": videos, "frames": frames})
    Metrics.counter(NAMESPACE, f"{stage}_videos").inc(videos)
    Metrics.counter(NAMESPACE, f"{stage}_frames").inc(frames)


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Adds the time of the block, however it ends, to the stage's counter of milliseconds."""
    start = time.perf_counter()
    try:
        yield
    finally:
        Metrics.counter(NAMESPACE, f"{stage}_msec").inc(round(1000 * (time.perf_counter() - start)))


def stage_seconds(result: Any) -> dict[str, float]:
    """The seconds that workers spent in each stage, from a finished pipeline's counters, summed over its steps."""
    milliseconds: Counter[str] = Counter()
    for counter in result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        stage, _, unit = counter.key.metric.name.rpartition("_")
        if unit == "msec":
            milliseconds[stage] += counter.committed or 0
    return {stage: value / 1000 for stage, value in sorted(milliseconds.items())}
