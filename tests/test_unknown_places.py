"""A URI of a kind that nobody can reach is told in four parts by every command that takes a place."""

from pathlib import Path

import pytest

from tests.command_line import four_parts, run
from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError

PLACES = ["foo://bucket/x", "hf://datasets/some/dataset", "fsspec+foo://x", "://x", "gs://a b/c"]
"""An unknown scheme, two for which pyarrow imports a package that is not installed, and two that are no URIs."""

COMMANDS = [
    "verify PLACE",
    "inspect PLACE",
    "convert PLACE --to records --output DIR",
    "convert PLACE --to mediasequence --output DIR",
    "convert DIR --to records --output PLACE",
    "convert DIR --to records --output DIR --quantizer PLACE",
    "export PLACE --quantizer uniform --output DIR",
    "export-pca PLACE DIR",
    "stats quantizer PLACE",
    "store stats PLACE",
    "store check PLACE",
    "store gc PLACE DIR",
    "probe --table PLACE",
]


@pytest.mark.parametrize("place", PLACES)
def test_it_is_wrong_usage(place: str) -> None:
    with pytest.raises(UsageError, match="This is no place for files") as refused:
        files.require_known(place)
    assert refused.value.where == place
    assert "required" not in refused.value.why
    assert "\n" not in refused.value.why


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_it_in_four_parts(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").touch()
    words = [{"PLACE": "hf://datasets/x", "DIR": str(tmp_path)}.get(word, word) for word in command.split()]
    refused = run(*words)
    assert refused.returncode == 2
    what, where, _, _ = four_parts(refused)
    assert (what, where) == ("This is no place for files", "hf://datasets/x")
