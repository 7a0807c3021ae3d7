"""`yt8m inspect` of a folder sums up a dataset or a feature store."""

import json
from pathlib import Path

import pytest

from tests.command_line import four_parts, run
from tests.video_level.example import write_features
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.report.inspection import inspect_path
from yt8m_pipeline.store.thumbnails import FOLDER as THUMBNAILS


def test_a_dataset_is_summed_up_by_its_manifest(built: Path) -> None:
    finished = run("inspect", str(built / "dataset"), "--json")
    assert finished.returncode == 0, finished.stderr
    facts = json.loads(finished.stdout)
    manifest = json.loads((built / "dataset" / Layout.MANIFEST).read_text())
    on_disk = [path for path in (built / "dataset").rglob("*") if path.is_file()]
    described = [path for path in on_disk if path.name not in (Layout.MANIFEST, Layout.COMPLETE)]
    assert (facts["kind"], facts["complete"]) == ("dataset", True)
    assert (facts["pca"], facts["quantizer"]) == ("fitted, 16 components", "optimal, shared, 256 levels")
    assert (facts["files"], facts["bytes"]) == (len(described), sum(path.stat().st_size for path in described))
    assert {row["partition"]: row["videos"] for row in facts["partitions"]} == {
        name: totals["videos"] for name, totals in manifest["partitions"].items()
    }


def test_a_dataset_whose_build_has_not_ended_is_not_complete(copied: Path) -> None:
    (copied / "dataset" / Layout.COMPLETE).unlink()
    assert inspect_path(str(copied / "dataset"), 3)["complete"] is False


def test_a_feature_store_and_one_of_its_spaces_are_summed_up(built: Path) -> None:
    store = built / "features"
    (space,) = [path for path in store.iterdir() if path.name != THUMBNAILS]
    stored, failed = list(space.rglob("*.npz")), list(space.rglob("*.failed.json"))
    for folder in (store, space):
        facts = inspect_path(f"{folder}/", 3)
        assert facts["kind"] == "feature store"
        (row,) = facts["spaces"]
        assert (row["space"], row["videos"], row["failures"]) == (space.name, len(stored), len(failed))
        assert row["damaged"] == row["temporaries"] == 0 < row["frames"]


def test_video_level_features_and_their_shards_are_shown(tmp_path: Path) -> None:
    facts = inspect_path(write_features(tmp_path), 3)
    assert (facts["kind"], facts["complete"], facts["source"]) == ("video-level features", True, "codes")
    assert (facts["space"], facts["blocks"], facts["dimensions"]) == ("pca", "mu+sigma", "2")
    assert [tuple(row.values()) for row in facts["partitions"]] == [("train", 2), ("validate", 1), ("test", 1)]
    shard = inspect_path(str(tmp_path / "video/train/train-00000-of-00001.tfrecord"), 1)
    assert (shard["kind"], shard["records"]) == ("shard of video-level records", 2)
    assert shard["first"] == [{"id": "a", "labels": "0 1", "dimensions": 2, "features": "1.000 0.000 …"}]


def test_an_unfinished_dataset_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / ".unfinished").touch()
    refused = run("inspect", str(tmp_path))
    assert (refused.returncode, four_parts(refused)[0]) == (1, "This is not a finished dataset")


@pytest.mark.parametrize("files", [(), ("notes.txt",)])
def test_another_folder_is_wrong_usage(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).write_text("x")
    refused = run("inspect", str(tmp_path))
    assert refused.returncode == 2
    what = "This is neither a dataset nor a feature store" if files else "There is no such file"
    assert four_parts(refused)[:2] == (what, str(tmp_path))


def test_of_a_text_four_lines_are_shown_for_each_row_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("".join(f"{number}\n" for number in range(30)))
    facts = inspect_path(str(tmp_path / "x.csv"), 3)
    assert (facts["kind"], facts["lines"]) == ("text", 30)
    assert facts["first"] == [{"line": str(number)} for number in range(12)]
