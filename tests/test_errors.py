"""Errors have four named parts, and cross the borders of processes whole."""

import copy
import doctest
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import apache_beam as beam
import pytest

from yt8m_pipeline import chance, errors
from yt8m_pipeline.accounting import counts
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import CONTINUED, DataError, PipelineError, UsageError
from yt8m_pipeline.jobs.engine import run
from yt8m_pipeline.jobs.refusals import Refusals
from yt8m_pipeline.store.stored_file import DamagedFile
from yt8m_pipeline.transforms.steps import FlatMap, Map

PARTS = {"what": "A table is empty", "where": "videos.csv", "why": "it has no rows", "fix": "give a file with rows"}
KINDS = (PipelineError, UsageError, DataError, DamagedFile)


def test_an_error_shows_its_four_parts_in_order() -> None:
    text = "A table is empty\n  where: videos.csv\n  why:   it has no rows\n  fix:   give a file with rows"
    assert str(UsageError(**PARTS)) == text
    assert UsageError(**PARTS).parts == PARTS


HOSTILE = "dog\x1b]0;x\x07\x1b[2J\r\nerror: all is lost \u202e\x9b31m\udcff"
SHOWN = r"dog\x1b]0;x\x07\x1b[2J\r\nerror: all is lost \u202e\x9b31m\udcff"


def test_an_error_shows_names_of_strangers_escaped() -> None:
    """An id of a table can clear no screen, set no title and add no line, and foreign letters stay as they are."""
    error = DataError(**{**PARTS, "where": HOSTILE, "why": f"é 東京 {HOSTILE}"})
    assert str(error).splitlines()[1:3] == [f"  where: {SHOWN}", f"  why:   é 東京 {SHOWN}"]
    assert error.where == HOSTILE
    assert len(str(DataError(**{**PARTS, "why": f"two{CONTINUED}lines"})).splitlines()) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_parts_cannot_be_swapped_since_each_is_named(kind: type[PipelineError]) -> None:
    with pytest.raises(TypeError):
        kind(*PARTS.values())  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_pickled_and_copied_whole(kind: type[PipelineError]) -> None:
    error = kind(**PARTS)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert again.parts == PARTS
        assert str(again) == str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [Map, FlatMap])
def test_an_error_of_a_worker_arrives_as_it_was_raised(
    kind: type[PipelineError], step: Callable[..., beam.PTransform[Any, Any]], tmp_path: Path
) -> None:
    """Its class decides the exit code, and a cause of two lines stays whole."""
    parts = {**PARTS, "why": "two lines:\n  where: not here"}

    def fail(_: int) -> list[int]:
        raise kind(**parts)

    def add_steps(root: beam.Pipeline) -> None:
        _ = root | beam.Create([1]) | "a step" >> step(fail)

    with pytest.raises(PipelineError) as caught:
        run([], Layout(str(tmp_path)), add_steps)
    assert type(caught.value) is kind
    assert caught.value.parts == parts


def test_a_verdict_that_is_written_down_ends_a_run_that_the_engine_finished(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))

    def refuse(_: int) -> None:
        Refusals(layout).write(DataError(**PARTS))

    with pytest.raises(DataError) as caught:
        run([], layout, lambda root: root | beam.Create([1]) | beam.Map(refuse))
    assert caught.value.parts == PARTS


def test_of_several_errors_the_first_in_time_is_told(tmp_path: Path) -> None:
    refusals = Refusals(Layout(str(tmp_path / "dataset")), str(tmp_path / "spare"))
    for number in range(8):
        refusals.write(UsageError(**{**PARTS, "why": str(number)}))
    written = {json.loads(path.read_text())["why"]: path for path in tmp_path.rglob("*.json")}
    for first in written:
        for why, path in written.items():
            os.utime(path, (100, 1 if why == first else 2))
        found = refusals.first()
        assert found
        assert found.why == first


def test_the_errors_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    Refusals(layout).write(DataError(**PARTS))
    assert run([], layout, lambda root: root | beam.Create([1])) == {}


def test_a_job_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    options = ["--runner=PortableRunner", "--job_endpoint=127.0.0.1:1", "--job_server_timeout=1"]
    with pytest.raises(DataError, match="The engine stopped") as caught:
        run([*options, "--environment_type=LOOPBACK"], Layout(str(tmp_path)), lambda root: root | beam.Create([1]))
    assert caught.value.why == "the job server has not answered in time"


def test_an_error_of_others_ends_with_the_last_words_of_the_engine(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise RuntimeError("no such luck")

    with pytest.raises(DataError, match="The engine stopped") as caught:
        run([], Layout(str(tmp_path)), lambda root: root | beam.Create([1]) | Map(fail))
    assert "no such luck" in caught.value.why


@pytest.mark.parametrize("module", [chance, counts, errors])
def test_the_examples_run(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
