"""The house: who may import whom, where each heavy library is imported, and that nothing heavy delays the help."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "yt8m_pipeline"

EVERYBODY = {"accounting", "buckets", "chance", "config", "data_model", "errors", "files", "parsing", "places"}
"""What every room may import. Among themselves the order of these rooms is only held to have no circle."""

ACTS = {"tables", "selection", "decoding", "extraction", "store", "compression", "dataset"}
"""The paper's acts, in its order."""

PLANNED = {
    "jobs.build_plan",
    "jobs.export_plan",
    "jobs.extract_plan",
    "jobs.features_plan",
    "jobs.imports",
    "jobs.journal",
    "jobs.listed_folder",
    "jobs.measuring",
    "jobs.progress",
    "jobs.refusals",
    "jobs.sufficiency",
    "jobs.trainer_export_plan",
}
"""Of the jobs, what the steps of a pipeline are told: what was planned, what is done, and what is enough."""

MAY_IMPORT: Mapping[str, set[str]] = {
    # pure: the acts do not know each other, but a dataset is written with the codes of a compression
    "tables": set(),
    "selection": set(),
    "decoding": set(),
    "extraction": set(),
    "store": set(),
    "compression": set(),
    "dataset": {"compression"},
    "demo": set(),
    # around finished datasets
    "intake": {"tables"},
    "interop": {"compression", "dataset"},
    "evaluation": {"dataset"},
    "video_level": {"compression", "dataset"},
    "report": {"compression", "dataset", "interop", "store", "video_level"},
    "baselines": {
        "compression",
        "dataset",
        "evaluation",
        "extraction.networks",
        "jobs.build_folder",
        "jobs.progress",
        "report.learning_curves",
        "video_level",
    },
    "explorer": {"dataset", "report.coefficients", "store"},
    # the page of what models reach
    "results": {"baselines", "dataset", "evaluation", "jobs", "report", "video_level"},
    # the Beam shell, and the dataset as one recipe
    "transforms": ACTS | {"baselines", "interop", "video_level"} | PLANNED,
    "pipeline": {"transforms"} | PLANNED,
    # whoever runs it
    "jobs": ACTS | {"baselines", "interop", "pipeline", "transforms", "video_level"},
    "cli": ACTS
    | {"baselines", "demo", "evaluation", "explorer", "intake", "interop", "jobs", "report", "results", "video_level"},
    "__main__": {"cli"},
}
"""The allowed imports between the folders. A name with a dot allows one room of a folder."""

LIBRARIES: Mapping[str, set[str]] = {
    "apache_beam": {"transforms", "pipeline", "jobs.engine"},
    "av": {"decoding", "demo.encoding"},
    "tensorflow": {"extraction.execution", "extraction.networks", "dataset.tf_reader"},
    "keras": {"baselines.layers"},
    "tensorflow_hub": {"extraction.networks"},
    "torch": {"dataset.torch_reader"},
    "matplotlib": {"report.figures", "report.dataset_figures", "report.learning_curves", "results.figures"},
    "wordcloud": {"report.tag_cloud"},
    "sklearn": {"explorer.similarity"},
    "typer": {"cli"},
}
"""The folders and rooms that may import a heavy library."""


def room(path: Path) -> str:
    """The dotted name of a module in the package."""
    return ".".join(part for part in path.relative_to(PACKAGE).with_suffix("").parts if part != "__init__")


ROOMS = {room(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> Iterator[str]:
    """What a module imports, anywhere in it: names of modules, or of what is in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_rooms(path: Path) -> set[str]:
    """The rooms of this package that a module imports."""
    ours = [name.removeprefix("yt8m_pipeline.") for name in imports(path) if name.startswith("yt8m_pipeline.")]
    return {name if name in ROOMS else name.rpartition(".")[0] for name in ours} - {""}


def is_in(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def test_every_folder_has_its_row() -> None:
    assert {name.split(".")[0] for name in ROOMS} - {""} == EVERYBODY | set(MAY_IMPORT)


@pytest.mark.parametrize("name", [name for name in ROOMS if name.split(".")[0] in MAY_IMPORT])
def test_a_room_imports_what_its_folder_may(name: str) -> None:
    folder = name.split(".", maxsplit=1)[0]
    allowed = EVERYBODY | MAY_IMPORT[folder] | {folder}
    assert not [imported for imported in sorted(imported_rooms(ROOMS[name])) if not is_in(imported, allowed)]


@pytest.mark.parametrize("name", [name for name in ROOMS if name.split(".")[0] in EVERYBODY])
def test_what_everybody_may_import_imports_no_folder(name: str) -> None:
    assert not [imported for imported in imported_rooms(ROOMS[name]) if not is_in(imported, EVERYBODY)]


def test_no_import_runs_in_a_circle() -> None:
    TopologicalSorter({name: imported_rooms(path) - {name} for name, path in ROOMS.items()}).prepare()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_heavy_library_is_imported_in_its_places_alone(library: str) -> None:
    importers = {name for name, path in ROOMS.items() if any(item.split(".")[0] == library for item in imports(path))}
    assert importers
    assert not [name for name in importers if not is_in(name, LIBRARIES[library])]


def test_google_cloud_is_imported_in_one_room() -> None:
    parts = ("google.cloud", "google.auth", "google.api_core")
    importers = [name for name, path in ROOMS.items() if any(item.startswith(parts) for item in imports(path))]
    assert importers == ["buckets"]


@pytest.mark.parametrize("library", ["tensorflow", "apache_beam", "av", "google.cloud", "pyarrow", "matplotlib"])
def test_help_needs_no_heavy_library(library: str) -> None:
    code = (
        "import sys; sys.argv = ['yt8m', '--help']\n"
        "from yt8m_pipeline.cli import app\n"
        "try:\n    app()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        f"assert {library!r} not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_decoding_child_loads_no_arrow() -> None:
    """It would cost each child process 0.2 s and 60 MB, beside the memory limit that is meant for the decoder."""
    code = "import sys, yt8m_pipeline.decoding.sandbox.child; assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_file_of_a_dataset_is_written_through_its_layout() -> None:
    """Which proves that the build still owns the folder. The lock itself is what says so."""
    past = re.compile(r"(open_atomic|write_bytes|\.save)\(\s*(\w+\.)*(layout|target)\.path\(")
    assert not [name for name, path in ROOMS.items() if past.search(path.read_text(encoding="utf-8"))]


def test_help_answers_at_once() -> None:
    before = os.times()
    subprocess.run([sys.executable, "-m", "yt8m_pipeline", "--help"], check=True, capture_output=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert 0 < spent < 1.0


WHERE = re.findall(r"\]\((\S+\.py)\) `(\w+)`", (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("path", "name"), WHERE)
def test_each_sentence_of_the_paper_is_where_the_guide_says(path: str, name: str) -> None:
    tree = ast.parse((PACKAGE.parent / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_the_guide_names_a_place_for_each_sentence() -> None:
    assert len(WHERE) >= 16


def test_a_readme_names_modules_that_are_there() -> None:
    readme = PACKAGE / "compression" / "README.md"
    table = readme.read_text(encoding="utf-8").partition("| module |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(file.stem for file in readme.parent.glob("[a-z]*.py"))
