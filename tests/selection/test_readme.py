"""selection/README.md explains every reason, and its example runs."""

import doctest
import re
from pathlib import Path

from yt8m_pipeline import selection
from yt8m_pipeline.accounting.reasons import DropReason, Stage

README = Path(selection.__file__).parent / "README.md"
ROWS = re.findall(
    r"^\| (`\w+`(?:, `\w+`)*) \| ([a-z_]+(?:, [a-z_]+)*) \|", README.read_text(encoding="utf-8"), re.MULTILINE
)


def test_each_reason_is_explained_once() -> None:
    assert sorted(re.findall(r"\w+", " ".join(reasons for reasons, _ in ROWS))) == sorted(DropReason)


def test_each_reason_names_stages_that_exist() -> None:
    assert {stage for _, stages in ROWS for stage in stages.split(", ")} <= set(Stage)


def test_the_example_runs() -> None:
    results = doctest.testfile(str(README), module_relative=False)
    assert (results.attempted > 0, results.failed) == (True, 0)
