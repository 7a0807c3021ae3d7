"""The check of the READMEs runs what a reader would copy, and the front page stays one."""

from pathlib import Path

import check_readmes
import pytest
import yaml

from tests.conftest import CONFIGS
from yt8m_pipeline import __version__

ROOT = CONFIGS.parent
PAGE = """
```sh
yt8m demo corpus   # eight things
cat >a.csv <<'END'
id,NAME
END
yt8m build a.yaml \\
  --set a=b
```

```
yt8m verify dataset
DATASET/  manifest.json
```

```csv entities
yt8m never
```

```python
import yt8m_pipeline
```
"""


def test_commands_are_whole_and_in_order() -> None:
    assert list(check_readmes.commands(PAGE)) == [
        "yt8m demo corpus",
        "cat >a.csv <<'END'\nid,NAME\nEND",
        "yt8m build a.yaml \\\n  --set a=b",
        "yt8m verify dataset",
        "python - <<'PYTHON'\nimport yt8m_pipeline\nPYTHON",
    ]
    assert all(check_readmes.reason_to_leave_out(command) is None for command in check_readmes.commands(PAGE))


@pytest.mark.parametrize(
    "command",
    ["scripts/test", "yt8m verify DATASET", "pip install .", "python - <<'PYTHON'\nread_frames(\"DATASET\")\nPYTHON"],
)
def test_what_only_the_reader_has_is_left_out_with_a_reason(command: str) -> None:
    assert check_readmes.reason_to_leave_out(command)


@pytest.mark.parametrize(("script", "code"), [("true\nfalse\ntrue", 1), ("yt8m --version", 0), ("ls scripts/test", 0)])
def test_a_script_stops_at_its_first_failure_and_finds_the_package(script: str, code: int, tmp_path: Path) -> None:
    assert check_readmes.run(script, tmp_path) == code


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("[a](README.md#top) [b](absent.md) [c](https://example.org) [d](README.md)")
    assert check_readmes.dead_links(page) == ["absent.md"]


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (__version__, "Apache-2.0")
