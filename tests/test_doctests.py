"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import yt8m_pipeline

EXAMPLES = {
    "yt8m_pipeline.compression.moments",
    "yt8m_pipeline.compression.pca",
    "yt8m_pipeline.compression.histogram",
    "yt8m_pipeline.compression.quantization",
}
"""The modules that must have an example."""

NAMES = sorted(
    module.name
    for module in pkgutil.walk_packages(yt8m_pipeline.__path__, "yt8m_pipeline.")
    if not module.name.endswith("__main__")  # it is the program itself
)


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_print_what_they_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("yt8m_pipeline"):
            raise
        pytest.skip(f"{name} needs {missing.name}, which is not installed")
    found = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    tests = [test for test in found if test.examples]
    assert tests or name not in EXAMPLES
    monkeypatch.setattr(doctest, "ELLIPSIS_MARKER", "…")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    with np.printoptions(legacy=False):
        for test in tests:
            printed: list[str] = []
            failed, _ = runner.run(test, out=printed.append)
            assert not failed, "".join(printed)
