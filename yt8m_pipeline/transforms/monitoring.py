"""What a running build tells: counters for every engine, and log records that the command line turns into progress."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

from yt8m_pipeline.jobs.progress import PROGRESS

NAMESPACE = "yt8m"


def announce(stage: str, total: int) -> None:
    """Says that a stage has so many more videos before it."""
    PROGRESS.info("%s: %d to do", stage, total, extra={"stage": stage, "total": total})


def say(text: str, *, ready: str | None = None) -> None:
    """Says something once that a user wants to know while a build runs.

    Args:
        text: What is said.
        ready: The stage that is ready only now, so that the time until now is not that of its videos.
    """
    PROGRESS.info(text, extra={"ready": ready})


def advance(stage: str, *, videos: int = 1, frames: int = 0) -> None:
    """Says that a stage has finished with some videos, and how many frames it worked on."""
    PROGRESS.info("%s: %d done", stage, videos, extra={"stage": stage, "done": videos, "frames": frames})
    Metrics.counter(NAMESPACE, f"{stage}_videos").inc(videos)
    Metrics.counter(NAMESPACE, f"{stage}_frames").inc(frames)


def observe(stage: str, seconds: float) -> None:
    """Adds a time to the stage's distribution of milliseconds: for stages 4 and 5, there is one for each video."""
    Metrics.distribution(NAMESPACE, f"{stage}_msec").update(round(1000 * seconds))


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Observes the time of the block, however it ends."""
    start = time.perf_counter()
    try:
        yield
    finally:
        observe(stage, time.perf_counter() - start)


def stage_seconds(result: PipelineResult) -> dict[str, float]:
    """The seconds that workers spent in each stage of a finished pipeline, summed over its steps.

    Engines need not report metrics; of one that does not, nothing is known.
    """
    milliseconds: Counter[str] = Counter()
    with suppress(NotImplementedError):
        for found in result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["distributions"]:
            stage, _, unit = found.key.metric.name.rpartition("_")
            if unit == "msec" and found.committed:
                milliseconds[stage] += found.committed.sum
    return {stage: value / 1000 for stage, value in sorted(milliseconds.items())}
