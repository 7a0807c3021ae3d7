"""`yt8m stats quantizer` on a finished build."""

import hashlib
import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.command_line import four_parts, run
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import open_pca, read_frames
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.report.coefficients import find_coefficients, store_beside
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.store.features import VideoFeatures


def store_of(folder: Path) -> FeatureStore:
    space = json.loads((folder / "dataset" / "manifest.json").read_text())["feature_space"]["fingerprint"]
    return FeatureStore(str(folder / "features"), space)


def video_ids(dataset: Path, partition: str) -> list[str]:
    rows = pq.read_table(dataset / "videos.parquet").to_pylist()
    return [row["video_id"] for row in rows if row["partition"] == partition]


def shorten(path: Path) -> None:
    """One row less, in a sound file."""
    pq.write_table(pq.read_table(path).slice(1), path)


def give_each_dimension_levels(dataset: Path, levels: int) -> None:
    """Puts another codebook into a dataset, also into its manifest."""
    values = json.loads((dataset / "manifest.json").read_text())
    ladder = np.linspace(-3, 3, levels, dtype=np.float32)
    quantizer = Quantizer(np.tile(ladder, (values["pca"]["components"], 1)), "optimal")
    quantizer.save(str(dataset / "quantizer.npz"))
    values["quantizer"]["fingerprint"] = quantizer.fingerprint
    (dataset / "manifest.json").write_text(json.dumps(values))


def keep_only(dataset: Path, partition: str) -> None:
    """Drops the videos of the other partitions, also from the manifest's account of videos.parquet."""
    path = dataset / "videos.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.filter(pc.equal(rows["partition"], partition)), path)
    values = json.loads((dataset / "manifest.json").read_text())
    entry = next(entry for entry in values["files"] if entry["path"] == path.name)
    entry |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (dataset / "manifest.json").write_text(json.dumps(values))


def chosen(folder: Path, partition: Partition, frames: int) -> list[str]:
    pca: Pca = open_pca(str(folder / "dataset"))
    return [*find_coefficients(str(folder / "dataset"), pca, str(folder / "features"), partition, frames).digests]


@pytest.mark.parametrize("partition", ["train", "validate", "test"])
def test_the_distortion_is_that_of_the_shards_that_were_written(built: Path, partition: str) -> None:
    """The levels in the shards against the coefficients of the store, video by video."""
    dataset, store = built / "dataset", store_of(built)
    finished = run("stats", "quantizer", str(dataset), "--partition", partition, "--json")
    assert finished.returncode == 0, finished.stderr
    facts = json.loads(finished.stdout)
    pca, squared = open_pca(str(dataset)), []
    for example in read_frames(str(dataset), Partition(partition)):
        exact = pca.transform(store.read(example.video_id).features).astype(np.float64)
        squared.append((exact - example.features) ** 2)
    assert facts["frames"] == sum(map(len, squared))
    assert facts["videos"] == len(squared) > 0
    assert facts["by_dimension"]["distortion"] == pytest.approx(np.concatenate(squared).mean(axis=0).tolist())
    assert facts["dimensions"] == len(facts["by_dimension"]["effective_bits"]) == 16
    assert facts["feature_space"] == store.space


def test_the_table_has_a_row_for_each_measure_of_held_out_frames(built: Path) -> None:
    finished = run("stats", "quantizer", str(built / "dataset"), "--store", str(built / "features"))
    assert finished.returncode == 0, finished.stderr
    assert "partition: validate" in finished.stdout
    for name in ("distortion", "effective_bits", "ratio_to_uniform", "ratio_to_min_max_uniform", "clipped_by_uniform"):
        assert name in finished.stdout
    assert "optimal, shared, 256 levels" in finished.stdout
    videos, frames = (re.search(rf"^{name}: (\d+)$", finished.stdout, re.M) for name in ("videos", "frames"))
    assert videos
    assert frames
    for stage in ("range", "measure"):
        [line] = [line for line in finished.stderr.splitlines() if line.startswith(f"{stage}: {videos[1]}/{videos[1]}")]
        assert line.startswith(f"{stage}: {videos[1]}/{videos[1]} videos, {frames[1]} frames, ")


@pytest.mark.parametrize("scope", ["shared", "per_dimension"])
def test_the_plot_is_written_for_either_scope(copied: Path, tmp_path: Path, scope: str) -> None:
    if scope == "per_dimension":
        give_each_dimension_levels(copied / "dataset", levels=20)
    target = tmp_path / "plots" / "codebook.PNG"
    finished = run("stats", "quantizer", str(copied / "dataset"), "--partition", "train", "--plot", str(target))
    assert finished.returncode == 0, finished.stderr
    assert f"codebook: optimal, {scope}, " in finished.stdout
    assert target.read_bytes().startswith(b"\x89PNG")


def test_whole_videos_are_drawn_by_hash_and_more_frames_only_add_to_them(built: Path) -> None:
    counts = {row["video_id"]: row["frames"] for row in pq.read_table(built / "dataset" / "videos.parquet").to_pylist()}
    everything = chosen(built, Partition.TRAIN, 100_000)
    assert sorted(everything) == video_ids(built / "dataset", "train")
    assert everything != sorted(everything)
    for frames in range(10, sum(counts[video_id] for video_id in everything), 7):
        some = chosen(built, Partition.TRAIN, frames)
        assert some == everything[: len(some)]
        total = sum(counts[video_id] for video_id in some)
        assert total <= frames < total + counts[everything[len(some)]]


def test_the_store_is_sought_beside_the_dataset() -> None:
    assert store_beside("/data/mine/dataset/") == "/data/mine/features"
    assert store_beside("gs://bucket/dataset/") == "gs://bucket/features"
    assert store_beside("dataset") == str(Path.cwd() / "features")


def test_a_dataset_without_its_store_says_how_to_give_it(built: Path, tmp_path: Path) -> None:
    what, where, why, fix = four_parts(run("stats", "quantizer", str(built / "dataset"), "--store", str(tmp_path)))
    assert what == "The feature store of this dataset is not there"
    assert where.startswith(str(tmp_path))
    assert why.endswith("a dataset does not say where its store is")
    assert "--store DIR" in fix


def test_a_store_that_lacks_videos_says_which(copied: Path) -> None:
    gone = video_ids(copied / "dataset", "validate")[0]
    path = Path(store_of(copied).path(gone))
    path.unlink()
    finished = run("stats", "quantizer", str(copied / "dataset"))
    what, where, why, fix = four_parts(finished)
    assert finished.returncode == 2
    assert what == "The feature store lacks videos of this dataset"
    assert where == str(path)
    assert why.startswith("1 of the ") and why.endswith(f"one is {gone!r}")
    assert "--store DIR" in fix


def test_features_that_the_dataset_was_not_built_of_are_refused(copied: Path) -> None:
    store, video_id = store_of(copied), video_ids(copied / "dataset", "validate")[0]
    video = store.read(video_id)
    other = VideoFeatures(video_id, video.features + np.float32(1), video.pts_seconds)
    store.write(other, Source("video.mp4", 1, ""), 1.0, Fraction(1))
    finished = run("stats", "quantizer", str(copied / "dataset"))
    what, where, why, fix = four_parts(finished)
    assert finished.returncode == 1
    assert what == "The store has other features of a video than the dataset was built of"
    assert where == store.path(video_id)
    assert re.fullmatch(r"their sha256 is \w{12}…, videos.parquet says \w{12}…", why)
    assert "--store" in fix


def test_a_damaged_stored_file_is_refused(copied: Path) -> None:
    path = Path(store_of(copied).path(video_ids(copied / "dataset", "validate")[0]))
    path.write_bytes(path.read_bytes()[:-100])
    what, where, _, fix = four_parts(run("stats", "quantizer", str(copied / "dataset")))
    assert (what, where) == ("A stored file is damaged", str(path))
    assert "extracted anew" in fix


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"PAR1"), shorten])
def test_another_list_of_videos_is_refused(copied: Path, change: Callable[[Path], object]) -> None:
    path = copied / "dataset" / "videos.parquet"
    change(path)
    what, where, why, fix = four_parts(run("stats", "quantizer", str(copied / "dataset")))
    assert what == "The list of videos is not this dataset's"
    assert where == str(path)
    assert why == "it is missing, or its sha256 is not the one in the manifest"
    assert "yt8m verify" in fix


def test_a_partition_without_videos_is_refused(copied: Path) -> None:
    keep_only(copied / "dataset", "train")
    finished = run("stats", "quantizer", str(copied / "dataset"))
    assert finished.returncode == 2
    assert four_parts(finished) == (
        "The validate partition has no videos",
        str(copied / "dataset" / "videos.parquet"),
        "no row is of this partition",
        "choose another one with --partition",
    )


def test_too_few_frames_for_one_video_say_how_many_it_takes(built: Path) -> None:
    finished = run("stats", "quantizer", str(built / "dataset"), "--frames", "1")
    what, where, why, fix = four_parts(finished)
    assert finished.returncode == 2
    assert (what, where) == ("No video fits into so few frames", "--frames 1")
    needed = re.fullmatch(r"videos are taken whole, and the first one has (\d+) frames", why)
    assert needed
    assert fix == f"give at least {needed[1]}"
    assert len(chosen(built, Partition.VALIDATE, int(needed[1]))) == 1


def test_a_plot_of_another_kind_is_refused_before_anything_is_read() -> None:
    finished = run("stats", "quantizer", "no/such/dataset", "--plot", "codebook.jpg")
    assert finished.returncode == 2
    assert four_parts(finished) == (
        "This is no kind of plot",
        "--plot codebook.jpg",
        "its name does not end in .png, .pdf, .svg",
        "name the file codebook.png, .pdf or .svg",
    )


def test_a_plot_that_cannot_be_written_is_an_error(built: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    finished = run("stats", "quantizer", str(built / "dataset"), "--plot", str(tmp_path / "file" / "codebook.png"))
    assert four_parts(finished)[:2] == ("A file cannot be written", str(tmp_path / "file" / "codebook.png"))


def test_a_folder_without_a_dataset_is_refused(built: Path, tmp_path: Path) -> None:
    finished = run("stats", "quantizer", str(tmp_path))
    assert four_parts(finished)[:2] == ("There is no dataset", str(tmp_path))
    pca = open_pca(str(built / "dataset"))
    with pytest.raises(UsageError, match=r"There is no dataset\n.*\n.*the folder has no manifest.json\n.*give"):
        find_coefficients(str(tmp_path), pca, str(built / "features"), Partition.TRAIN, 100)


def test_a_manifest_that_names_no_feature_space_is_refused(copied: Path) -> None:
    path = copied / "dataset" / "manifest.json"
    values = json.loads(path.read_text())
    del values["feature_space"]
    path.write_text(json.dumps(values))
    what, where, why, fix = four_parts(run("stats", "quantizer", str(copied / "dataset")))
    assert (what, where) == ("The manifest cannot be read", str(path))
    assert "feature_space" in why
    assert "build" in fix


def test_a_converted_dataset_has_no_pca_to_measure_through(copied: Path) -> None:
    path = copied / "dataset" / "manifest.json"
    values = json.loads(path.read_text())
    values["pca"] |= {"source": "MediaSequence", "fingerprint": None}
    path.write_text(json.dumps(values))
    finished = run("stats", "quantizer", str(copied / "dataset"))
    assert finished.returncode == 2
    assert four_parts(finished) == (
        "The dataset has no PCA",
        str(copied / "dataset"),
        "its coefficients come from MediaSequence, with no PCA",
        "give a dataset that `yt8m build` made",
    )
