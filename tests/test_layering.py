"""The house: acts do not know each other nor Beam, and heavy libraries are imported in one place each."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "yt8m_pipeline"
ACTS = ("selection", "extraction", "compression", "dataset", "demo")
BEAM_SHELL = ("transforms/", "pipeline.py", "cli/")
STORE = {"yt8m_pipeline.extraction.feature_store"}
DECODING = ("container", "damage", "decoding", "keyframe_decoder", "plain_decoder", "probing", "sparing_decoder")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def modules() -> dict[str, set[str]]:
    return {str(path.relative_to(PACKAGE)): set(imports(path)) for path in PACKAGE.rglob("*.py")}


def importers(library: str) -> set[str]:
    return {name for name, found in modules().items() if any(item.split(".")[0] == library for item in found)}


def test_only_the_shell_imports_beam() -> None:
    assert importers("apache_beam")
    assert all(name.startswith(BEAM_SHELL) for name in importers("apache_beam"))


def test_each_heavy_library_is_imported_in_its_one_place() -> None:
    assert importers("av") == {f"extraction/{name}.py" for name in DECODING} | {"demo/encoding.py"}
    assert importers("tensorflow") == {"extraction/execution.py", "extraction/networks.py", "dataset/tf_reader.py"}
    assert importers("tensorflow_hub") == {"extraction/networks.py"}
    assert importers("matplotlib") == {"report/figures.py"}
    assert all(name.startswith("cli/") for name in importers("typer"))


@pytest.mark.parametrize("act", ACTS)
def test_acts_do_not_import_each_other(act: str) -> None:
    allowed = {act} | ({"compression"} if act == "dataset" else set())
    for name, found in modules().items():
        if name.startswith(f"{act}/"):
            inner = {item.split(".")[1] for item in found if item.startswith("yt8m_pipeline.") and item.count(".") > 1}
            assert not inner & (set(ACTS) | {"transforms"}) - allowed, name


def test_reports_know_finished_datasets_and_the_store_alone() -> None:
    for name, found in modules().items():
        if name.startswith("report/"):
            inner = {item.split(".")[1] for item in found - STORE if item.startswith("yt8m_pipeline.")}
            assert not inner & (set(ACTS) | {"transforms"}) - {"compression", "dataset"}, name


@pytest.mark.parametrize("library", ["tensorflow", "apache_beam", "av", "pyarrow", "matplotlib"])
def test_help_needs_no_heavy_library(library: str) -> None:
    code = (
        "import sys; sys.argv = ['yt8m', '--help']\n"
        "from yt8m_pipeline.cli import app\n"
        "try:\n    app()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        f"assert {library!r} not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_answers_at_once() -> None:
    before = os.times()
    subprocess.run([sys.executable, "-m", "yt8m_pipeline", "--help"], check=True, capture_output=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert 0 < spent < 1.0
