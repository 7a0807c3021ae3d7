"""What a running pipeline tells: the counters of a real engine, and the log records that become progress."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter

from yt8m_pipeline.jobs.engine import beam_pipeline
from yt8m_pipeline.jobs.progress import PROGRESS
from yt8m_pipeline.transforms.monitoring import NAMESPACE, advance, announce, say, stage_seconds, timed


def work(frames: int) -> int:
    """A step that takes 10 ms in each of three stages, and fails where there are no frames."""
    for stage in ("decode", "compress"):
        with timed(stage):
            time.sleep(0.01)
    try:
        with timed("extract"):
            time.sleep(0.01)
            _ = 1 / frames
    except ZeroDivisionError:
        advance("extract")
        return 0
    advance("extract", frames=frames)
    return frames


@pytest.fixture(scope="module")
def result() -> Any:
    """A finished pipeline of four videos, one of which fails."""
    root = beam_pipeline([])
    _ = root | beam.Create([3, 4, 0, 5]) | beam.Map(work)
    finished = root.run()
    finished.wait_until_finish()
    return finished


def counters(result: Any) -> dict[str, int]:
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    return {counter.key.metric.name: counter.committed for counter in found}


def test_an_engine_counts_videos_and_frames(result: Any) -> None:
    counted = counters(result)
    assert (counted["extract_videos"], counted["extract_frames"]) == (4, 12)


def test_the_seconds_of_each_stage_are_those_of_its_blocks_however_they_ended(result: Any) -> None:
    seconds = stage_seconds(result)
    assert list(seconds) == ["compress", "decode", "extract"]
    assert all(0.04 <= value < 4 for value in seconds.values())
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["distributions"]
    assert seconds == {each.key.metric.name.removesuffix("_msec"): each.committed.sum / 1000 for each in found}


class Kept(logging.Handler):
    """Keeps the records that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class TestRecords:
    @pytest.fixture
    def records(self) -> Iterator[list[logging.LogRecord]]:
        handler = Kept()
        PROGRESS.addHandler(handler)
        PROGRESS.setLevel(logging.INFO)
        yield handler.records
        PROGRESS.removeHandler(handler)

    def test_announce_says_how_many_videos_there_are(self, records: list[logging.LogRecord]) -> None:
        announce("write", 27)
        (record,) = records
        assert record.getMessage() == "write: 27 to do"
        assert {"stage": "write", "total": 27}.items() <= record.__dict__.items()

    def test_advance_says_what_is_done(self, records: list[logging.LogRecord]) -> None:
        advance("write", videos=3, frames=30)
        (record,) = records
        assert record.getMessage() == "write: 3 done"
        assert {"stage": "write", "done": 3, "frames": 30}.items() <= record.__dict__.items()

    def test_say_is_of_no_stage(self, records: list[logging.LogRecord]) -> None:
        say("the network runs on a CPU")
        (record,) = records
        assert record.getMessage() == "the network runs on a CPU"
        assert not hasattr(record, "stage")
