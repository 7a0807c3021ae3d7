"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import yt8m_pipeline
from tests.dataset.example import write_example
from tests.video_level.example import write_features

EXAMPLES = {
    "yt8m_pipeline.accounting.counts",
    "yt8m_pipeline.baselines.settings",
    "yt8m_pipeline.chance",
    "yt8m_pipeline.compression.eigen",
    "yt8m_pipeline.compression.exact_products",
    "yt8m_pipeline.compression.histogram",
    "yt8m_pipeline.compression.moments",
    "yt8m_pipeline.compression.pca",
    "yt8m_pipeline.compression.quantization",
    "yt8m_pipeline.dataset.reader",
    "yt8m_pipeline.dataset.tf_reader",
    "yt8m_pipeline.compression.gram",
    "yt8m_pipeline.decoding.codings.bits",
    "yt8m_pipeline.decoding.frame_times",
    "yt8m_pipeline.decoding.frames",
    "yt8m_pipeline.errors",
    "yt8m_pipeline.extraction.model_files",
    "yt8m_pipeline.extraction.network_input",
    "yt8m_pipeline.intake.naming",
    "yt8m_pipeline.intake.understanding",
    "yt8m_pipeline.selection.partitioning",
    "yt8m_pipeline.store.feature_store",
    "yt8m_pipeline.store.features",
    "yt8m_pipeline.store.formats",
    "yt8m_pipeline.tables.video_files",
    "yt8m_pipeline.video_level.feature_set",
    "yt8m_pipeline.video_level.statistics",
}
"""The modules that must have an example."""

NAMES = sorted(
    module.name
    for module in pkgutil.walk_packages(yt8m_pipeline.__path__, "yt8m_pipeline.")
    if not module.name.endswith("__main__")  # it is the program itself
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny dataset that the readers' examples call DATASET."""
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny feature set that its readers' examples call FEATURES."""
    return write_features(tmp_path_factory.mktemp("features"))


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_print_what_they_say(
    name: str, dataset: str, features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("yt8m_pipeline"):
            raise
        pytest.skip(f"{name} needs {missing.name}, which is not installed")
    names = {"DATASET": dataset, "FEATURES": features}
    found = doctest.DocTestFinder(exclude_empty=True).find(module, name, extraglobs=names)
    tests = [test for test in found if test.examples]
    assert tests or name not in EXAMPLES
    monkeypatch.setattr(doctest, "ELLIPSIS_MARKER", "…")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    with np.printoptions(legacy=False):
        for test in tests:
            printed: list[str] = []
            failed, _ = runner.run(test, out=printed.append)
            assert not failed, "".join(printed)
