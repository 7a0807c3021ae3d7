"""Errors have four named parts, and cross the borders of processes whole."""

import copy
import doctest
import pickle
from types import ModuleType

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from yt8m_pipeline import chance, errors
from yt8m_pipeline.accounting import counts
from yt8m_pipeline.errors import DataError, PipelineError, UsageError
from yt8m_pipeline.jobs.engine import run
from yt8m_pipeline.store.stored_file import DamagedFile

PARTS = {"what": "A table is empty", "where": "videos.csv", "why": "it has no rows", "fix": "give a file with rows"}
KINDS = (PipelineError, UsageError, DataError, DamagedFile)


def test_an_error_shows_its_four_parts_in_order() -> None:
    text = "A table is empty\n  where: videos.csv\n  why:   it has no rows\n  fix:   give a file with rows"
    assert str(UsageError(**PARTS)) == text
    assert UsageError(**PARTS).parts == PARTS


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


@pytest.mark.parametrize("kind", [UsageError, DataError, DamagedFile])
def test_an_error_of_a_worker_arrives_whole_and_without_the_step_that_beam_appends(kind: type[PipelineError]) -> None:
    def fail(_: int) -> None:
        raise kind(**PARTS)

    root = beam.Pipeline(runner=FnApiRunner())
    _ = root | beam.Create([1]) | "a step" >> beam.Map(fail)
    with pytest.raises(DataError) as caught:
        run(root)
    assert caught.value.parts == PARTS


@pytest.mark.parametrize("module", [chance, counts, errors])
def test_the_examples_run(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
