"""A dataset of videos and labels alone: no entities table, no ratings, no views, and the labels of test published."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import four_parts, run
from tests.conftest import Workshop, rejects_of
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import read_frames

BARE = {
    "tables__entities": None,
    "tables__ratings": None,
    "vocabulary": None,
    "labels__test": "published",
    "video_sampling__min_views": 0,
    "video_sampling__min_videos_per_entity": 1,
    "video_sampling__popular_videos_above": None,
    "partitioning__by": "column",
    "partitioning__column": "subset",
    "partitioning__values": {"train": [0, 1, 2], "validate": [3], "test": [4]},
}
SUBSETS = ("train", "train", "train", "validate", "test")


def subset(row: dict[str, Any]) -> int:
    """One for each group."""
    return crc32((row["group_id"] or row["video_id"]).encode()) % len(SUBSETS)


@pytest.fixture(scope="module")
def bare(workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build whose videos table has no column view_count, over the features of the shared one, and its flip."""
    folder = tmp_path_factory.mktemp("bare")
    corpus = folder / "corpus"
    corpus.mkdir()
    for path in workshop.corpus.iterdir():
        if path.name not in ("videos.parquet", "entities.csv", "ratings.jsonl"):
            (corpus / path.name).symlink_to(path)
    videos = pq.read_table(workshop.corpus / "videos.parquet").drop_columns("view_count")
    subsets = [None if number % 3 == 0 else float(subset(row)) for number, row in enumerate(videos.to_pylist())]
    pq.write_table(videos.append_column("subset", pa.array(subsets, pa.float64())), corpus / "videos.parquet")
    changes = {**BARE, "tables__root": str(corpus)}
    config = workshop.config(folder, stored=built, **changes)
    withheld = run("build", str(config), "--set", "labels.test=withheld")
    assert withheld.returncode == 0, withheld.stderr
    assert (folder / "dataset" / "withheld").is_dir()
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    return folder


def test_each_label_of_a_known_video_is_an_entity(workshop: Workshop, bare: Path) -> None:
    with (bare / "dataset" / "vocabulary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows and all(row["KnowledgeGraphId"] == row["Name"] for row in rows)
    rejects = rejects_of(bare / "dataset")
    dropped = [row for row in rejects if row["table"] == "entities"]
    known = set(pq.read_table(bare / "corpus" / "videos.parquet")["video_id"].to_pylist())
    with (workshop.corpus / "annotations.csv").open() as stream:
        annotations = list(csv.DictReader(stream))
    labels = {row["entity_id"] for row in annotations if row["video_id"] in known}
    assert {row["KnowledgeGraphId"] for row in rows} | {row["id"] for row in dropped} == labels
    assert {row["reason"] for row in dropped} <= {"too_few_videos"}
    for row in dropped:
        assert (row["file"], annotations[row["row"] - 1]["entity_id"]) == ("annotations.csv", row["id"])
    assert "unknown_entity" not in {row["reason"] for row in rejects}


def test_videos_are_where_the_table_says_and_the_rest_follows_its_group(bare: Path) -> None:
    videos = pq.read_table(bare / "corpus" / "videos.parquet").to_pylist()
    rows = {row["video_id"]: row["partition"] for row in pq.read_table(bare / "dataset" / "videos.parquet").to_pylist()}
    given = {row["video_id"]: SUBSETS[subset(row)] for row in videos if row["subset"] is not None}
    assert given.keys() & rows.keys()
    assert {name: rows[name] for name in given if name in rows} == {
        name: partition for name, partition in given.items() if name in rows
    }
    groups = {row["video_id"]: row["group_id"] for row in videos if row["group_id"]}
    for group in set(groups.values()):
        assert len({rows[name] for name, own in groups.items() if own == group and name in rows}) <= 1


def test_a_text_that_means_no_partition_ends_the_build_before_a_film_is_opened(bare: Path) -> None:
    values = '{train: ["0"], validate: ["3"], test: ["4"]}'
    refused = run(
        *("build", str(bare / "config.yaml"), "--set", f"partitioning.values={values}"),
        *("--set", f"output={bare / 'refused'}", "--set", f"store={bare / 'untouched'}"),
    )
    assert refused.returncode == 1, refused.stderr
    assert "'1', '2'" in refused.stderr
    assert not list((bare / "untouched").rglob("*.npz"))


def test_one_film_given_two_partitions_ends_the_build_before_it_is_opened(bare: Path, tmp_path: Path) -> None:
    films = [path.resolve() for path in (bare / "corpus" / "videos").iterdir()][:1]
    (tmp_path / "videos.csv").write_text(
        "video_id,uri,subset,duration_seconds\n" + f"a,{films[0]},0,9\nb,{films[0]},4,9\n"
    )
    (tmp_path / "annotations.csv").write_text("video_id,entity_id\na,dog\nb,dog\n")
    settings = {"tables.root": tmp_path, "tables.videos": "videos.csv", "tables.annotations": "annotations.csv",
                "store": tmp_path / "features", "output": tmp_path / "dataset", "pca.components": "auto",
                "video_sampling.min_duration_seconds": 0}  # fmt: skip
    ended = run("build", str(bare / "config.yaml"), *(f"--set={name}={value}" for name, value in settings.items()))
    what, _, why, _ = four_parts(ended)
    assert what == "The videos table gives one film several partitions"
    assert why.endswith("first a in train; b in test")
    assert {path.name for path in (tmp_path / "features").rglob("*") if path.is_file()} <= {"space.json"}


def test_nobody_rated_and_the_dataset_says_so(bare: Path) -> None:
    with (bare / "dataset" / "vocabulary.csv").open() as stream:
        assert {(row["MeanRaterScore"], row["Specificity"]) for row in csv.DictReader(stream)} == {("", "")}
    manifest = json.loads((bare / "dataset" / "manifest.json").read_text())
    assert any("nobody rated" in text for text in manifest["warnings"])
    assert not {"rater_scores", "vocabulary"} & {row["stage"] for row in manifest["accounting"]}


def test_the_labels_of_test_are_published_and_no_withheld_file_is_left(bare: Path) -> None:
    dataset = bare / "dataset"
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert manifest["labels"] == {"train": "published", "validate": "published", "test": "published"}
    assert not (dataset / "withheld" / "test_labels.parquet").exists()
    rows = {row["video_id"]: row for row in pq.read_table(dataset / "videos.parquet").to_pylist()}
    assert all(row["labels"] for row in rows.values())
    found = {item.video_id: item.labels.tolist() for item in read_frames(str(dataset), Partition.TEST)}
    assert found == {name: row["labels"] for name, row in rows.items() if row["partition"] == "test"}
    assert found
    verified = run("verify", str(dataset), "--deep", "--store", str(bare / "features"))
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_every_row_of_every_table_is_accounted_for(workshop: Workshop, bare: Path) -> None:
    rejects = Counter(row["table"] for row in rejects_of(bare / "dataset"))
    rows = pq.read_table(bare / "dataset" / "videos.parquet").to_pylist()
    with (workshop.corpus / "annotations.csv").open() as stream:
        annotations = len(list(csv.DictReader(stream)))
    assert annotations == sum(len(row["labels"]) for row in rows) + rejects["annotations"]
    assert pq.read_metadata(bare / "corpus" / "videos.parquet").num_rows == len(rows) + rejects["videos"]


def test_views_that_are_needed_and_not_there_are_a_usage_error(bare: Path) -> None:
    refused = run("build", str(bare / "config.yaml"), "--set", "video_sampling.min_views=1")
    assert refused.returncode == 2
    assert "view_count" in refused.stderr
    assert four_parts(refused)


def test_what_filters_nothing_is_refused(bare: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((bare / "config.yaml").read_text())
    config = tmp_path / "config.yaml"
    for change, words in (
        ({"vocabulary": {"type_whitelist": ["a"], "type_blacklist": []}}, "make vocabulary null too"),
        ({"rater_scores": {"min_raters": 1}}, "leave rater_scores out"),
    ):
        config.write_text(yaml.safe_dump({**values, **change}))
        refused = run("build", str(config))
        assert refused.returncode == 2
        assert words in refused.stderr
