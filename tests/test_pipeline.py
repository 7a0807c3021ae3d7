"""The pipeline equals a direct computation: plain Python for the selection, plain NumPy for the compression."""

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import four_parts, run
from tests.conftest import Workshop, published_bytes, rejects_of
from yt8m_pipeline.config import load
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import read_frames, read_videos
from yt8m_pipeline.jobs.build_plan import plan_build
from yt8m_pipeline.pipeline import build_dataset
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.store.stored_file import open_stored


def fraction(salt: str, identifier: str) -> float:
    """BLAKE2b of the id under the salt's SHA-256 as key, in [0, 1): written here a second time on purpose."""
    key = hashlib.sha256(salt.encode()).digest()
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8, key=key).digest(), "big") / 2**64


def is_score(text: Any) -> bool:
    try:
        return 1 <= float(text) <= 5
    except ValueError:
        return False


def visual_entities(corpus: Path, config: dict[str, Any]) -> set[str]:
    white, black = (set(config["vocabulary"][name]) for name in ("type_whitelist", "type_blacklist"))
    with (corpus / "entities.csv").open() as stream:
        types = {row["entity_id"]: set(row["types"].split(";")) for row in csv.DictReader(stream)}
    scores: dict[str, dict[str, float]] = {}
    for line in (corpus / "ratings.jsonl").read_text().splitlines():
        row = json.loads(line)
        if is_score(row["score"]):
            scores.setdefault(row["entity_id"], {}).setdefault(row["rater_id"], float(row["score"]))
    means = {entity: sum(found.values()) / len(found) for entity, found in scores.items() if len(found) >= 3}
    typed = {entity for entity, found in types.items() if found & white and not found & black}
    return {entity for entity in typed if means.get(entity, 9) <= 2.5}


def selected_videos(corpus: Path, config: dict[str, Any], failed: set[str]) -> dict[str, tuple[str, list[str]]]:
    """Video id → (partition, entity ids), straight from the tables, but for the videos that failed."""
    sampling = config["video_sampling"]
    videos: dict[str, dict[str, Any]] = {}
    for row in pq.read_table(corpus / "videos.parquet").to_pylist():
        if row["uri"] is not None and np.isfinite(row["duration_seconds"]):
            videos.setdefault(row["video_id"], row)
    shortest, longest = sampling["min_duration_seconds"], sampling["max_duration_seconds"]
    eligible = {
        name: row
        for name, row in videos.items()
        if row["view_count"] >= 1000 and shortest <= row["duration_seconds"] <= longest
    }
    visual = visual_entities(corpus, config)
    labels: dict[str, set[str]] = {name: set() for name in eligible}
    with (corpus / "annotations.csv").open() as stream:
        for row in csv.DictReader(stream):
            if row["video_id"] in eligible and row["entity_id"] in visual:
                labels[row["video_id"]].add(row["entity_id"])
    labels = keep(labels, lambda count: count > sampling["popular_videos_above"])
    drawn = sorted(labels, key=lambda name: fraction("yt8m-sample", name))[: sampling["sample_size"]]
    labels = keep({name: labels[name] for name in drawn}, lambda count: count >= sampling["min_videos_per_entity"])
    labels = {name: found for name, found in labels.items() if name not in failed}
    labels = keep(labels, lambda count: count >= sampling["min_videos_per_entity"])
    return {name: (partition_of(eligible[name]), sorted(found)) for name, found in labels.items()}


def keep(labels: dict[str, set[str]], enough: Any) -> dict[str, set[str]]:
    counts = Counter(entity for found in labels.values() for entity in found)
    left = {name: {entity for entity in found if enough(counts[entity])} for name, found in labels.items()}
    return {name: found for name, found in left.items() if found}


def partition_of(row: dict[str, Any]) -> str:
    place = fraction("yt8m-partition", row.get("group_id") or row["video_id"])
    return "train" if place < 0.7 else "validate" if place < 0.9 else "test"


@pytest.fixture(scope="module")
def videos(built: Path) -> dict[str, dict[str, Any]]:
    return {row["video_id"]: row for row in pq.read_table(built / "dataset" / "videos.parquet").to_pylist()}


@pytest.fixture(scope="module")
def stored(built: Path) -> dict[str, np.ndarray]:
    paths = (built / "features").rglob("*.npz")
    return {file.video.video_id: file.video.features for file in (open_stored(str(path)) for path in paths)}


def test_the_selection_equals_plain_python(workshop: Workshop, built: Path, videos: dict[str, dict[str, Any]]) -> None:
    rejects = rejects_of(built / "dataset")
    failed = {row["id"] for row in rejects if row["stage"] in ("decode", "extract")}
    expected = selected_videos(workshop.corpus, yaml.safe_load((built / "config.yaml").read_text()), failed)
    with (built / "dataset" / "vocabulary.csv").open() as stream:
        entities = [row["KnowledgeGraphId"] for row in csv.DictReader(stream)]
    assert failed and failed.isdisjoint(expected)
    assert videos.keys() == expected.keys()
    assert {row["partition"] for row in videos.values()} == {"train", "validate", "test"}
    for name, row in videos.items():
        assert row["partition"] == expected[name][0]
        if row["partition"] != "test":
            assert [entities[index] for index in row["labels"]] == sorted(expected[name][1], key=entities.index)


def test_entities_with_too_few_videos_since_some_failed_are_not_in_the_dataset(
    workshop: Workshop, built: Path, tmp_path: Path
) -> None:
    config = workshop.config(tmp_path, stored=built, video_sampling__min_videos_per_entity=4)
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    rejects = rejects_of(tmp_path / "dataset")
    failed = {row["id"] for row in rejects if row["stage"] in ("decode", "extract")}
    gone = {row["id"] for row in rejects if (row["stage"], row["table"]) == ("recount", "entities")}
    expected = selected_videos(workshop.corpus, yaml.safe_load(config.read_text()), failed)
    with (tmp_path / "dataset" / "vocabulary.csv").open() as stream:
        entities = {row["KnowledgeGraphId"] for row in csv.DictReader(stream)}
    assert gone and gone.isdisjoint(entities)
    assert entities == {entity for _, found in expected.values() for entity in found}
    videos = pq.read_table(tmp_path / "dataset" / "videos.parquet")["video_id"].to_pylist()
    assert set(videos) == expected.keys()
    labels = sum(len(found) for _, found in expected.values())
    with (workshop.corpus / "annotations.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == labels + sum(row["table"] == "annotations" for row in rejects)


def test_the_vocabulary_is_ordered_by_train_videos(built: Path, videos: dict[str, dict[str, Any]]) -> None:
    counts = Counter(index for row in videos.values() if row["partition"] == "train" for index in row["labels"])
    with (built / "dataset" / "vocabulary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["Index"]) for row in rows] == list(range(len(rows)))
    assert [int(row["TrainVideoCount"]) for row in rows] == [counts[index] for index in range(len(rows))]
    keys = [(-int(row["TrainVideoCount"]), row["KnowledgeGraphId"]) for row in rows]
    assert keys == sorted(keys)
    assert {row["Specificity"] for row in rows} <= {"coarse", "medium", "fine"}


def test_the_pca_equals_numpy_on_the_train_frames(
    built: Path, videos: dict[str, dict[str, Any]], stored: dict[str, np.ndarray]
) -> None:
    train = np.concatenate([stored[name] for name, row in videos.items() if row["partition"] == "train"]).astype(float)
    values, vectors = np.linalg.eigh(np.cov(train, rowvar=False))
    folder = built / "dataset" / "pca"
    assert len(train) > 17 and len(train) < sum(map(len, stored.values()))
    np.testing.assert_allclose(np.load(folder / "mean.npy")[:, 0], train.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.load(folder / "eigenvals.npy")[:, 0], values[::-1][:16], rtol=1e-4)
    overlap = np.abs(np.sum(np.load(folder / "eigenvecs.npy") * vectors[:, ::-1][:, :16].T, axis=1))
    np.testing.assert_allclose(overlap, 1, atol=1e-4)


def test_the_records_equal_numpy_on_the_store(
    built: Path, videos: dict[str, dict[str, Any]], stored: dict[str, np.ndarray]
) -> None:
    dataset = built / "dataset"
    mean, values, vectors = (np.load(dataset / "pca" / f"{name}.npy") for name in ("mean", "eigenvals", "eigenvecs"))
    levels, epsilon = np.load(dataset / "quantizer.npz")["levels"].astype(float), 0.01 * values[-1]
    means = {example.video_id: example.mean_rgb for part in Partition for example in read_videos(str(dataset), part)}
    seen = set()
    for part in Partition:
        for example in read_frames(str(dataset), part):
            whitened = (stored[example.video_id] - mean.T) @ vectors.T / np.sqrt(values.T + epsilon)
            nearest = levels[np.abs(whitened[..., None] - levels).argmin(axis=-1)]
            near_tie = np.abs(np.abs(whitened[..., None] - levels).min(axis=-1) - np.abs(whitened - example.features))
            assert (near_tie < 1e-5).all()
            assert (nearest == example.features).mean() > 0.999
            np.testing.assert_allclose(means[example.video_id], example.features.mean(axis=0), rtol=1e-5, atol=1e-6)
            assert example.labels.tolist() == (videos[example.video_id]["labels"] or [])
            assert len(example.features) == videos[example.video_id]["frames"]
            seen.add((example.video_id, part.value))
    assert seen == {(name, row["partition"]) for name, row in videos.items()}


def test_every_row_is_kept_or_rejected(workshop: Workshop, built: Path) -> None:
    manifest = json.loads((built / "dataset" / "manifest.json").read_text())
    accounting = {(row["stage"], row["table"]): row for row in manifest["accounting"]}
    with (workshop.corpus / "annotations.csv").open() as stream:
        assert accounting["read", "annotations"]["rows_in"] == len(list(csv.DictReader(stream)))
    assert accounting["read", "videos"]["rows_in"] == pq.read_table(workshop.corpus / "videos.parquet").num_rows
    rejected = sum(sum(row["rejected"].values()) for row in manifest["accounting"])
    assert rejected == len(rejects_of(built / "dataset"))
    counts = Counter((row["stage"], row["table"], row["reason"]) for row in rejects_of(built / "dataset"))
    assert counts == {(*key, reason): n for key, row in accounting.items() for reason, n in row["rejected"].items()}
    summary = json.loads((built / "dataset" / "rejects" / "summary.json").read_text())["rejects"]
    assert counts == {(row["stage"], row["table"], row["reason"]): row["rows"] for row in summary}
    files = {row["path"] for row in manifest["files"] if row["path"].startswith("rejects/")}
    parts = {f"rejects/{stage}-00000-of-00001.parquet" for stage, _, _ in counts}
    assert files == parts | {"rejects/summary.json"}
    assert run("verify", str(built / "dataset")).returncode == 0


def test_the_rejects_of_the_selection_are_there_before_the_first_video_is_decoded(
    workshop: Workshop, built: Path, tmp_path: Path
) -> None:
    """A network of 40 features is refused for a PCA of 41 components when a worker loads it, for the first video."""
    stopped = run("build", str(workshop.config(tmp_path, pca__components=41)))
    assert stopped.returncode == 2, stopped.stderr
    assert "40" in stopped.stderr
    early = [row for row in rejects_of(built / "dataset") if row["stage"] not in ("decode", "extract", "recount")]
    assert early == rejects_of(tmp_path / "dataset")
    shown = run("inspect", str(tmp_path / "dataset"), "--rejects", "--json")
    assert json.loads(shown.stdout)["rows"] == len(early)


def test_every_annotation_is_a_label_or_a_reject(
    workshop: Workshop, built: Path, videos: dict[str, dict[str, Any]]
) -> None:
    rejects = rejects_of(built / "dataset")
    withheld = pq.read_table(built / "dataset" / "withheld" / "test_labels.parquet").to_pylist()
    labels = sum(len(row["labels"] or []) for row in [*videos.values(), *withheld])
    with (workshop.corpus / "annotations.csv").open() as stream:
        rows = len(list(csv.DictReader(stream)))
    assert rows == labels + sum(row["table"] == "annotations" for row in rejects)
    places = [(row["file"], row["row"]) for row in rejects if row["table"] == "annotations"]
    assert len(set(places)) == len(places)


def test_classes_that_a_partition_lacks_are_named(built: Path, videos: dict[str, dict[str, Any]]) -> None:
    manifest = json.loads((built / "dataset" / "manifest.json").read_text())
    with (built / "dataset" / "vocabulary.csv").open() as stream:
        entities = [row["KnowledgeGraphId"] for row in csv.DictReader(stream)]
    for partition in ("train", "validate"):
        found = {index for row in videos.values() if row["partition"] == partition for index in row["labels"]}
        lacking = sorted(name for index, name in enumerate(entities) if index not in found)
        assert manifest["lacking_entities"][partition] == lacking
        assert bool(lacking) == any(text.startswith(f"no {partition} video has") for text in manifest["warnings"])
    assert "test" not in manifest["lacking_entities"]
    assert not any(text.startswith("no test video has") for text in manifest["warnings"])


def test_every_planted_defect_is_rejected_for_its_reason(workshop: Workshop, built: Path) -> None:
    rejects = rejects_of(built / "dataset")
    found = {(row["table"], row["id"], row["reason"]) for row in rejects}
    assert len(workshop.summary.expected_rejects) >= 15
    for expected in workshop.summary.expected_rejects:
        assert (expected.table, expected.identifier, expected.reason.value) in found


def test_no_test_label_is_published(workshop: Workshop, built: Path, tmp_path: Path) -> None:
    """Exchanging the labels of two test videos changes the withheld file, and digests of the build and its inputs."""
    withheld = pq.read_table(built / "dataset" / "withheld" / "test_labels.parquet").to_pylist()
    first = withheld[0]
    second = next(row for row in withheld if row["labels"] != first["labels"])
    other = {first["video_id"]: second["video_id"], second["video_id"]: first["video_id"]}
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for path in workshop.corpus.iterdir():
        if path.name != "annotations.csv":
            (corpus / path.name).symlink_to(path)
    with (workshop.corpus / "annotations.csv").open() as source, (corpus / "annotations.csv").open("w") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or [])
        writer.writeheader()
        writer.writerows({**row, "video_id": other.get(row["video_id"], row["video_id"])} for row in rows)
    config = workshop.config(tmp_path / "swapped", tables__root=str(corpus), stored=built)
    assert run("build", str(config)).returncode == 0

    def is_published(name: str) -> bool:
        return not name.startswith(("withheld/", "manifest", "COMPLETE", "rejects"))

    def published(dataset: Path) -> dict[str, bytes]:
        """The files; of the card without digests."""
        found = published_bytes(dataset, is_published)
        return found | {name: re.sub(rb"[0-9a-f]{16,64}", b"", found[name]) for name in ("README.md", "croissant.json")}

    swapped = tmp_path / "swapped" / "dataset"
    assert published(swapped) == published(built / "dataset")
    again = pq.read_table(swapped / "withheld" / "test_labels.parquet").to_pylist()
    assert again != withheld


def ids(copied: Path, partitions: set[str]) -> list[str]:
    rows = pq.read_table(copied / "dataset" / "videos.parquet").to_pylist()
    return [row["video_id"] for row in rows if row["partition"] in partitions]


def change_features(
    copied: Path, video_id: str, change: Callable[[npt.NDArray[np.floating]], npt.NDArray[np.floating]]
) -> None:
    space = json.loads((copied / "dataset" / "manifest.json").read_text())["feature_space"]["fingerprint"]
    store = FeatureStore(str(copied / "features"), space)
    video = store.read(video_id)
    store.write(replace(video, features=change(video.features)), Source("changed", 1, ""), 1.0, Fraction(1))


def test_changing_validate_and_test_frames_changes_no_byte_of_the_fit(copied: Path) -> None:
    before = published_bytes(copied / "dataset", lambda name: name.startswith(("pca/", "quantizer", "frame/train")))
    for video_id in ids(copied, {"validate", "test"}):
        change_features(copied, video_id, lambda features: features * 2 + 1)
    frames = published_bytes(copied / "dataset", lambda name: name.startswith("frame/validate"))
    assert run("build", str(copied / "config.yaml"), "--retry", "all").returncode == 0
    after = published_bytes(copied / "dataset", lambda name: name.startswith(("pca/", "quantizer", "frame/train")))
    assert after == before
    assert published_bytes(copied / "dataset", lambda name: name.startswith("frame/validate")) != frames


def test_a_train_video_out_of_all_proportion_stops_the_fit_and_is_named(copied: Path) -> None:
    spoilt = ids(copied, {"train"})[0]
    change_features(
        copied, spoilt, lambda features: np.where(features < features.max(), features, features.dtype.type(6e4))
    )
    before = published_bytes(copied / "dataset")
    stopped = run("build", str(copied / "config.yaml"), "--retry", "all")
    assert stopped.returncode == 1
    what, where, why, _ = four_parts(stopped)
    assert (what, where) == ("The features of a video are out of all proportion", f"video {spoilt}")
    assert why.startswith("its largest is 6")
    assert before.keys() - {"COMPLETE"} <= published_bytes(copied / "dataset").keys()


def test_the_job_graph_is_small_whatever_the_number_of_shards(workshop: Workshop, tmp_path: Path) -> None:
    """The paper's number of shards: a step takes the few values that it needs, and none takes the plan."""
    shards = dict.fromkeys(("train", "validate", "test"), 3844)
    root = beam.Pipeline()
    build_dataset(root, plan_build(load(workshop.config(tmp_path, shards=shards))))
    assert len(root.to_runner_api().SerializeToString()) < 1 << 20
