"""The card of a dataset: what it says, that its code runs, that texts stay texts, and who notices a change."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import run
from tests.conftest import Workshop, published_bytes
from tests.dataset.example import write_example
from yt8m_pipeline.config import Card
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.card import card, flat, plain
from yt8m_pipeline.dataset.croissant import SPLITS, croissant
from yt8m_pipeline.dataset.description import describe_dataset
from yt8m_pipeline.dataset.index import VIDEOS, VOCABULARY_COLUMNS
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, mark_complete
from yt8m_pipeline.dataset.verify import Fault, verify

TOLD = {
    "title": "Birds & Co.",
    "description": "Birds of *our* town.",
    "licence": "CC-BY-4.0",
    "contact": "birds@example.org",
    "citation": "@misc{birds, title={Birds}}",
    "take_down": "remove@example.org",
    "homepage": "https://example.org/birds",
}
OURS = {Layout.CARD, Layout.CROISSANT, Layout.MANIFEST, Layout.COMPLETE}


@pytest.fixture(scope="module")
def text(built: Path) -> str:
    return (built / "dataset" / Layout.CARD).read_text()


def header(text: str) -> dict[str, Any]:
    """The YAML before the text."""
    _, values, _ = text.split("---\n", 2)
    parsed: dict[str, Any] = yaml.safe_load(values)
    return parsed


def manifest_with(folder: Path, told: dict[str, str | None]) -> Manifest:
    """The manifest of a dataset whose config has this card."""
    manifest = Manifest.of(Layout(str(folder)))
    return replace(manifest, config={**manifest.config, "card": told})


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_header_names_files_that_are_there_and_the_size(text: str, built: Path) -> None:
    values = header(text)
    assert values["size_categories"] == ["n<1K"]
    assert {(built / "dataset" / entry["data_files"]).is_file() for entry in values["configs"]} == {True}
    assert "license" not in values


def test_the_numbers_are_the_manifests(text: str, built: Path) -> None:
    manifest = json.loads((built / "dataset" / Layout.MANIFEST).read_text())
    for part, row in manifest["partitions"].items():
        labels = "withheld" if part == "test" else row["labels"]
        assert f"| {part} | {row['videos']} | {row['frames']} | {labels} |" in text
    for row in manifest["accounting"]:
        assert f"| {row['stage']} | {row['table']} | {row['rows_in']} | {row['kept']} |" in text
    for warning in manifest["warnings"]:
        assert plain(warning) in text
    assert manifest["feature_space"]["fingerprint"] in text
    assert "min\\_videos\\_per\\_entity 3" in text


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_code_runs_in_the_folder_of_the_dataset(text: str, built: Path, number: int) -> None:
    code = blocks(text)[number]
    if "torch" in code:
        pytest.importorskip("torch", reason="torch is not installed: scripts/test_torch runs this test")
    command = [sys.executable, "-B", "-c", code]
    finished = subprocess.run(command, cwd=built / "dataset", capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "16" in finished.stdout


def test_the_card_names_the_columns_that_there_are(text: str, built: Path) -> None:
    names = pq.read_schema(built / "dataset" / Layout.VIDEOS).names
    assert re.findall(r"^- `(.*)`:", text[text.index("has a row for each video") :], re.MULTILINE) == names


def test_every_field_of_the_config_is_shown(built: Path, text: str) -> None:
    assert set(TOLD) == set(Card.model_fields)
    shown = card(manifest_with(built / "dataset", dict(TOLD)), [3, 1], VIDEOS.names).decode()
    for name, value in TOLD.items():
        assert (value if name in ("description", "citation") else plain(value)) in shown
        assert name == "licence" or value not in text  # the warning has that one as its example
    assert (header(shown)["license"], header(shown)["pretty_name"]) == ("cc-by-4.0", "Birds & Co.")
    values = croissant_of(built / "dataset", dict(TOLD))
    assert (values["license"], values["url"], values["name"]) == ("CC-BY-4.0", TOLD["homepage"], TOLD["title"])
    assert (values["citeAs"], values["description"]) == (TOLD["citation"], TOLD["description"])


def test_a_licence_without_an_identifier_is_another_one(built: Path) -> None:
    shown = card(manifest_with(built / "dataset", {"licence": "Ask us: nicely"}), [1], ["video_id", "a`b"]).decode()
    assert "- `a'b`: as the videos table had it" in shown
    assert (header(shown)["license"], header(shown)["license_name"]) == ("other", "Ask us: nicely")


def test_a_change_of_the_card_changes_the_card_alone(workshop: Workshop, built: Path, tmp_path: Path) -> None:
    """And no step runs again: the shards are the same files. Without a licence there is a warning, and with it none."""
    dataset = tmp_path / "dataset"
    config = workshop.config(tmp_path, stored=built)
    assert run("build", str(config)).returncode == 0
    before = published_bytes(dataset)
    times = {path: path.stat().st_mtime_ns for path in dataset.rglob("*.tfrecord")}
    assert any("card.licence is null" in text for text in json.loads(before[Layout.MANIFEST])["warnings"])
    changes: dict[str, Any] = {f"card__{name}": value for name, value in TOLD.items()}
    config = workshop.config(tmp_path, **changes)
    assert run("build", str(config)).returncode == 0
    after = published_bytes(dataset)
    assert {name for name in after if after[name] != before.get(name)} == OURS
    assert after.keys() == before.keys()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert not any("card.licence" in text for text in json.loads(after[Layout.MANIFEST])["warnings"])
    assert TOLD["contact"] in after[Layout.CARD].decode()
    assert verify(str(dataset)) == []


@pytest.mark.parametrize("name", [Layout.CARD, Layout.CROISSANT])
def test_verify_notices_a_changed_and_a_missing_card(copied: Path, name: str) -> None:
    path = copied / "dataset" / name
    path.write_bytes(path.read_bytes() + b" ")
    (fault,) = verify(str(copied / "dataset"))
    assert (fault.where, "the manifest says otherwise" in fault.what) == (name, True)
    path.unlink()
    assert verify(str(copied / "dataset")) == [Fault(name, "missing")]


def test_a_dataset_without_a_card_stays_sound(tmp_path: Path) -> None:
    """As those of earlier versions."""
    write_example(tmp_path)
    assert not (tmp_path / Layout.CARD).exists()
    assert verify(str(tmp_path)) == []


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    """A warning, a stage or a title ends no table, no block and no header."""
    layout, hostile = Layout(write_example(tmp_path)), "a\n---\n| <script>`x`</script> | ](javascript:y) \x1b[2J"
    values = Manifest.of(layout).to_json()
    values |= {
        "warnings": [hostile],
        "versions": {hostile: hostile},
        "feature_space": {"fingerprint": "f", "m": hostile},
    }
    values |= {"config": {"card": {"title": hostile, "licence": hostile, "contact": hostile, "citation": "```\n# x"}}}
    values |= {"inputs": {"videos": [{"file": hostile, "sha256": "0"}]}}
    values["accounting"][0] |= {"table": hostile, "rejected": {hostile: 1}}
    describe_dataset(layout, values, Manifest.of(layout).tables)
    text = (tmp_path / Layout.CARD).read_text()
    assert header(text)["pretty_name"] == header(text)["license_name"]
    assert "<script>" not in text.split("---\n", 2)[2]
    assert "\x1b" not in text
    assert text.count("\n---\n") == 1
    assert "\n````\n```\n# x\n````" in text
    assert json.loads((tmp_path / Layout.CROISSANT).read_text())["name"] == hostile


@pytest.mark.parametrize("videos", [[], [0, 0], [5]])
def test_a_dataset_of_nothing_has_a_card(tmp_path: Path, videos: list[int]) -> None:
    manifest = Manifest.of(Layout(write_example(tmp_path)))
    empty = {part: replace(row, videos=0, frames=0, labels=0) for part, row in manifest.partitions.items()}
    text = card(replace(manifest, partitions=empty), videos, VIDEOS.names).decode()
    assert "nan" not in text.lower().split()


def test_a_description_is_the_same_every_time_and_in_any_order(tmp_path: Path) -> None:
    layout = Layout(write_example(tmp_path))
    values, tables = Manifest.of(layout).to_json(), Manifest.of(layout).tables
    kept = [file for file in tables if file.path not in Layout.DESCRIPTION]
    describe_dataset(layout, values, kept)
    first = published_bytes(tmp_path)
    describe_dataset(layout, dict(reversed(values.items())), reversed(kept))
    assert published_bytes(tmp_path) == first
    mark_complete(layout)
    assert verify(str(tmp_path)) == []


def test_names_of_nested_fields_are_joined() -> None:
    assert flat({"a": {"b": {"c": 1}}, "d": None, "e": [], "f": ["x", 2]}) == [("a.b.c", "1"), ("f", "x 2")]


# croissant.json -------------------------------------------------------------------------------------------------------


def croissant_of(folder: Path, told: dict[str, str | None]) -> dict[str, Any]:
    manifest = manifest_with(folder, told)
    values: dict[str, Any] = json.loads(croissant(manifest, manifest.tables, VIDEOS, VOCABULARY_COLUMNS))
    return values


def test_croissant_lists_every_published_file_but_itself_and_the_manifest(built: Path) -> None:
    """By its digest, or in a set of shards."""
    dataset = built / "dataset"
    values = json.loads((dataset / Layout.CROISSANT).read_text())
    files = {entry["@id"]: entry for entry in values["distribution"] if entry["@type"] == "cr:FileObject"}
    sets = [entry for entry in values["distribution"] if entry["@type"] == "cr:FileSet"]
    manifest = json.loads((dataset / Layout.MANIFEST).read_text())
    described = [*manifest["files"], *manifest["pca"]["files"], *manifest["quantizer"]["files"]]
    rejects = {row["path"] for row in described if Layout.is_rejects(row["path"])}
    left_out = {Layout.CROISSANT, Layout.TEST_LABELS, *rejects}
    expected = {row["path"]: row for row in described if row["path"] not in left_out}
    assert files.keys() == expected.keys()
    for path, entry in files.items():
        size = f"{expected[path]['bytes']} B"
        assert (entry["sha256"], entry["contentSize"], entry["contentUrl"]) == (expected[path]["sha256"], size, path)
    in_sets = {str(path.relative_to(dataset)) for entry in sets for path in dataset.glob(entry["includes"])}
    assert in_sets == rejects | {row["path"] for row in manifest["shards"]}
    assert Layout.TEST_LABELS not in (dataset / Layout.CROISSANT).read_text()


def test_croissant_has_the_structure_of_the_specification(built: Path) -> None:
    """Every reference is to something that is there, ids are unique, and each node has what it must have."""
    values = json.loads((built / "dataset" / Layout.CROISSANT).read_text())
    assert (values["@type"], values["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.1")
    assert {"@language", "@vocab", "cr", "dct", "sc"} <= values["@context"].keys()
    fields = [field for record_set in values["recordSet"] for field in record_set["field"]]
    nodes = [*values["distribution"], *values["recordSet"], *fields]
    ids = [node["@id"] for node in nodes]
    assert len(ids) == len(set(ids))
    needed = {"cr:FileObject": {"contentUrl", "encodingFormat", "sha256"}, "cr:FileSet": {"includes", "encodingFormat"}}
    needed |= {"cr:RecordSet": {"key", "field"}, "cr:Field": {"dataType"}}
    for node in nodes:
        assert needed[node["@type"]] | {"name"} <= node.keys()
    for record_set in values["recordSet"]:
        assert record_set["key"]["@id"] in ids
    for field in fields:
        assert field["@id"].startswith(tuple(f"{record_set['@id']}/" for record_set in values["recordSet"]))
        assert "source" not in field or field["source"]["fileObject"]["@id"] in ids
        assert "references" not in field or field["references"]["field"]["@id"] in ids
    assert [row["splits/url"] for row in values["recordSet"][0]["data"]] == list(SPLITS.values())
    assert set(SPLITS) == set(Partition)


def test_croissant_has_every_column_and_where_the_data_are_from(built: Path) -> None:
    values = json.loads((built / "dataset" / Layout.CROISSANT).read_text())
    columns = {
        record_set["@id"]: [field["name"] for field in record_set["field"]] for record_set in values["recordSet"]
    }
    assert columns["videos"] == VIDEOS.names
    with (built / "dataset" / Layout.VOCABULARY).open(newline="") as stream:
        assert columns["vocabulary"] == next(csv.reader(stream))
    manifest = json.loads((built / "dataset" / Layout.MANIFEST).read_text())
    digests = {entry["sha256"] for entry in values["prov:wasDerivedFrom"]}
    assert digests == {row["sha256"] for rows in manifest["inputs"].values() for row in rows}
    assert manifest["build_key"] in values["prov:wasGeneratedBy"]["name"]
