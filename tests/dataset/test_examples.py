"""The examples in the docstrings of the readers run, on the tiny dataset that `example` writes."""

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from tests.dataset.example import write_example
from yt8m_pipeline.dataset import reader, tf_reader


@pytest.mark.parametrize("module", [reader, tf_reader])
def test_the_examples_run(module: ModuleType, tmp_path: Path) -> None:
    found = doctest.testmod(module, extraglobs={"DATASET": write_example(tmp_path)})
    assert found.attempted
    assert not found.failed
