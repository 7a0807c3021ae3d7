"""One film never stands in two partitions, however often the videos table gives it; real builds of planted copies."""

import csv
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Workshop, published_bytes, rejects_of
from yt8m_pipeline.config import load
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.jobs.build import build, rebuild_split

PLANTED = 12
"""The number of films that are planted twice: once more by the same uri, and once as a file with the same bytes."""


@pytest.fixture(scope="module")
def corpus(workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workshop's corpus with copies; two of its films are in a third one's group besides, as copies."""
    folder = tmp_path_factory.mktemp("duplicates") / "corpus"
    shutil.copytree(workshop.corpus, folder)
    rows = {row["video_id"]: row for row in pq.read_table(folder / "videos.parquet").to_pylist()}
    originals = pq.read_table(built / "dataset" / "videos.parquet")["video_id"].to_pylist()[:PLANTED]
    planted = [{**rows[name], "video_id": f"uri-{name}", "group_id": ""} for name in originals]
    planted += [_same_bytes(folder, rows[name], f"bytes-{name}", "") for name in originals]
    planted += [_same_bytes(folder, rows[name], f"chain-{name}", "chain") for name in originals[:2]]
    videos = pq.read_table(folder / "videos.parquet")
    pq.write_table(pa.concat_tables([videos, pa.Table.from_pylist(planted, videos.schema)]), folder / "videos.parquet")
    with (folder / "annotations.csv").open() as stream:
        labels = [(row["video_id"], row["entity_id"]) for row in csv.DictReader(stream)]
    with (folder / "annotations.csv").open("a") as stream:
        for row in planted:
            original = row["video_id"].partition("-")[2]
            stream.writelines(f"{row['video_id']},{entity},0.9\n" for name, entity in labels if name == original)
    return folder


def _same_bytes(corpus: Path, row: dict[str, Any], video_id: str, group: str) -> dict[str, Any]:
    uri = f"videos/{video_id}{Path(row['uri']).suffix}"
    shutil.copy(corpus / row["uri"], corpus / uri)
    return {**row, "video_id": video_id, "uri": uri, "group_id": group}


@pytest.fixture(scope="module")
def store(built: Path, corpus: Path) -> Path:
    """A feature store that the builds share; it begins with the workshop's."""
    shutil.copytree(built / "features", corpus.parent / "features")
    return corpus.parent / "features"


def build_with(workshop: Workshop, corpus: Path, store: Path, duplicates: str) -> Path:
    """Builds the dataset of the corpus, with every label that there is."""
    folder = corpus.parent / duplicates
    changes: dict[str, Any] = {"tables__root": str(corpus), "store": str(store), "duplicates": duplicates}
    changes |= {"video_sampling__sample_size": 1000, "video_sampling__popular_videos_above": None}
    config = workshop.config(folder, **changes, video_sampling__min_videos_per_entity=1)
    build(load(config))
    return folder


@pytest.fixture(scope="module")
def kept(workshop: Workshop, corpus: Path, store: Path) -> Path:
    return build_with(workshop, corpus, store, "keep")


@pytest.fixture(scope="module")
def grouped(workshop: Workshop, corpus: Path, store: Path) -> Path:
    return build_with(workshop, corpus, store, "group")


@pytest.fixture(scope="module")
def rejected(workshop: Workshop, corpus: Path, store: Path) -> Path:
    return build_with(workshop, corpus, store, "reject")


def videos_of(folder: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(folder / "dataset" / "videos.parquet").to_pylist())


def films_in_several_partitions(folder: Path) -> int:
    partitions = defaultdict(set)
    for row in videos_of(folder):
        partitions[row["features_sha256"]].add(row["partition"])
    return sum(len(found) > 1 for found in partitions.values())


def warnings_of(folder: Path) -> list[str]:
    manifest = Manifest.of(Layout(str(folder / "dataset")))
    return [text for text in manifest.warnings if text.startswith("films given several times")]


def test_kept_films_stand_in_several_partitions_and_the_manifest_says_so(kept: Path) -> None:
    number = films_in_several_partitions(kept)
    assert number > PLANTED / 3
    (warning,) = warnings_of(kept)
    assert "in several partitions: " in warning


def test_no_grouped_film_stands_in_two_partitions(grouped: Path, kept: Path) -> None:
    before = {row["video_id"]: row["partition"] for row in videos_of(kept)}
    after = {row["video_id"]: row["partition"] for row in videos_of(grouped)}
    assert films_in_several_partitions(grouped) == 0
    assert after.keys() == before.keys()
    moved = sorted(name for name in after if after[name] != before[name])
    (warning,) = warnings_of(grouped)
    assert moved
    assert (
        f"; {len(moved)} videos were moved to the partition of their film's first id: {', '.join(moved[:10])}"
        in warning
    )


def test_the_films_of_a_group_come_along(grouped: Path, corpus: Path) -> None:
    groups = {row["video_id"]: row["group_id"] for row in pq.read_table(corpus / "videos.parquet").to_pylist()}
    partitions = defaultdict(set)
    for row in videos_of(grouped):
        partitions[groups[row["video_id"]] or row["video_id"]].add(row["partition"])
    assert {len(found) for found in partitions.values()} == {1}
    chain = [row for row in videos_of(grouped) if row["video_id"].startswith("chain-")]
    films = {row["features_sha256"] for row in chain}
    assert len(films) == 2
    assert len({row["partition"] for row in videos_of(grouped) if row["features_sha256"] in films}) == 1


def test_a_rejected_film_stands_once_and_the_reject_names_the_first(rejected: Path) -> None:
    digests = [row["features_sha256"] for row in videos_of(rejected)]
    assert len(digests) == len(set(digests))
    rows = [row for row in rejects_of(rejected / "dataset") if row["reason"] == "duplicate_film"]
    by_uri = {row["id"]: row["detail"] for row in rows if row["stage"] == "same_uri"}
    by_features = {row["id"]: row["detail"] for row in rows if row["stage"] == "same_features"}
    assert by_uri == {name: f"the same uri as video {name.partition('-')[2]}, which is kept" for name in by_uri}
    assert len(by_uri) == PLANTED
    assert len(by_features) == PLANTED + 2
    kept_ids = {row["video_id"] for row in videos_of(rejected)}
    assert all(detail.split(" as video ")[1].partition(",")[0] in kept_ids for detail in by_features.values())


def test_what_is_not_copied_is_in_every_dataset(kept: Path, grouped: Path, rejected: Path) -> None:
    films = [{row["features_sha256"] for row in videos_of(folder)} for folder in (kept, grouped, rejected)]
    assert films[0] == films[1] == films[2]


@pytest.mark.parametrize(
    ("duplicates", "partition"),
    [("grouped", Partition.TRAIN), ("grouped", Partition.TEST), ("rejected", Partition.VALIDATE)],
)
def test_a_split_can_be_rebuilt_and_verified(
    duplicates: str, partition: Partition, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(duplicates)
    before = published_bytes(folder / "dataset")
    rebuild_split(load(folder / "config.yaml"), partition)
    assert published_bytes(folder / "dataset") == before
    assert verify(str(folder / "dataset")) == []
