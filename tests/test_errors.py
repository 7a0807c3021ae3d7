"""Errors have four named parts, and cross the borders of processes whole."""

import copy
import pickle

import pytest

from yt8m_pipeline.errors import DataError, PipelineError, UsageError
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


def test_the_step_that_beam_appends_is_left_out() -> None:
    assert UsageError(**PARTS | {"what": "A table is empty [while running 'Read']"}).what == "A table is empty"
