"""A manifest that was resealed with false facts passes `verify`, and no false fact passes `verify --deep`."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.command_line import four_parts, run
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.compression.whiteness import Whitening
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, mark_complete
from yt8m_pipeline.dataset.reader import open_pca
from yt8m_pipeline.dataset.records import frame_record, parse_frame_record
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.dataset.tfrecord import read_records, write_record
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.jobs.deep_verify import deep_verify
from yt8m_pipeline.store.feature_store import FeatureStore


class Forged:
    """A copy of a finished dataset, whose files and facts a test changes and seals again."""

    def __init__(self, root: Path, store: Path) -> None:
        self.root, self.store, self.layout = root, store, Layout(str(root))
        self.values: dict[str, Any] = json.loads((root / "manifest.json").read_text())

    def seal(self) -> None:
        """Makes the manifest agree with the files, and the mark with the manifest."""
        entries = [*self.values["files"], *self.values["pca"]["files"], *self.values["quantizer"]["files"]]
        for entry in [*entries, *self.values["shards"]]:
            entry.update(asdict(file_entry(self.layout, entry["path"])))
        (self.root / "manifest.json").write_text(json.dumps(self.values))
        mark_complete(self.layout)

    def faults(self, *, every_shard: bool = True) -> list[str]:
        """What deep verification finds, after verification has found nothing."""
        self.seal()
        assert verify(str(self.root)) == []
        found = deep_verify(str(self.root), str(self.store), every_shard=every_shard, advance=lambda _: None)
        return [f"{fault.where}: {fault.what}" for fault in found]


@pytest.fixture
def forged(built: Path, tmp_path: Path) -> Forged:
    shutil.copytree(built / "dataset", tmp_path / "forged")
    return Forged(tmp_path / "forged", built / "features")


@pytest.mark.parametrize("every_shard", [False, True])
def test_a_built_dataset_is_sound(forged: Forged, every_shard: bool) -> None:
    assert forged.faults(every_shard=every_shard) == []


def test_a_built_dataset_is_sound_by_the_command(built: Path) -> None:
    finished = run("verify", str(built / "dataset"), "--deep", "--all")
    assert (finished.returncode, finished.stdout) == (0, f"{built / 'dataset'}: sound\n")


FACTS = [
    ("partitions", "train", "labels"),
    ("partitions", "test", "labels"),
    ("partitions", "validate", "deviation_microseconds"),
    ("distortion", "train", "mean_squared_error"),
    ("distortion", "test", "relative_error"),
    ("pca", "frames"),
    ("pca", "dimensions"),
    ("pca", "explained_variance_ratio"),
    ("pca", "epsilon"),
    ("pca", "whitening", "mean"),
    ("pca", "whitening", "components_below_epsilon"),
    ("sampling", "policy"),
    ("lacking_entities", "validate"),
    ("shards", 0, "frames"),
    ("quantizer", "levels"),
    ("quantizer", "method"),
    ("quantizer", "feature_name"),
    ("sampling", "deviation_seconds", "mean"),
    ("labels", "test"),
    ("feature_space", "image_size"),
    ("config", "pca", "epsilon"),
    ("inputs", "videos", 0, "sha256"),
    ("build_key",),
]


@pytest.mark.parametrize("path", FACTS, ids=str)
def test_a_false_fact_is_named(forged: Forged, path: tuple[Any, ...]) -> None:
    *parents, last = path
    holder = forged.values
    for step in parents:
        holder = holder[step]
    holder[last] = holder[last] + 1 if isinstance(holder[last], int | float) else f"not {holder[last]}"
    faults = forged.faults()
    assert len(faults) == 1
    assert faults[0].startswith("manifest.json: ")
    assert str(path[0] if path[0] in ("config", "inputs") else last) in faults[0]


def test_the_digest_of_a_partition_is_computed_again(forged: Forged) -> None:
    forged.values["partitions"]["train"]["digest"] = "0" * 64
    (fault,) = forged.faults()
    assert fault.startswith("manifest.json: partitions.train.digest: it says 000")


def test_what_encoding_a_shard_cost_is_computed_again(forged: Forged) -> None:
    """With totals that agree, so that only encoding it again can tell."""
    changed = [row for row in forged.values["shards"] if row["partition"] == "train" and row["records"]]
    for row in changed:
        row["distortion"] = dict.fromkeys(row["distortion"], 0)
    total = {"coefficients": 0, "clipped": 0, "clipped_fraction": 0.0, "variance": 0.0, "mean_squared_error": 0.0}
    forged.values["distortion"]["train"] |= total | {"relative_error": None}
    faults = forged.faults()
    assert {fault.split(".distortion")[0] for fault in faults} == {
        f"manifest.json: shards, {Path(row['path']).stem}" for row in changed
    }
    assert forged.faults(every_shard=False)


def restate_pca(forged: Forged, change: Callable[[Pca], None]) -> None:
    pca = open_pca(str(forged.root))
    change(pca)
    pca.save(forged.layout.path(Layout.PCA))
    forged.values["pca"]["fingerprint"] = pca.fingerprint


def turn(pca: Pca) -> None:
    """Other orthonormal rows."""
    pca.eigenvectors[[0, 1]] = pca.eigenvectors[[1, 0]]


def stretch(pca: Pca) -> None:
    pca.eigenvectors[3] *= 1.001


def move(pca: Pca) -> None:
    pca.mean[0] += 0.01


def enlarge(pca: Pca) -> None:
    pca.eigenvalues[0] *= 1.001


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (turn, "pca: the train coefficients before whitening are not as eigenvals say"),
        (stretch, "pca: the rows of eigenvecs are not orthonormal"),
        (move, "pca: mean is not that of the train frames"),
        (enlarge, "pca: the train coefficients before whitening are not as eigenvals say"),
    ],
)
def test_a_pca_of_other_frames_is_found(forged: Forged, change: Callable[[Pca], None], what: str) -> None:
    restate_pca(forged, change)
    assert any(fault.startswith(what) for fault in forged.faults())


def test_a_codebook_that_is_not_the_optimum_is_found(forged: Forged) -> None:
    path = forged.layout.path(Layout.QUANTIZER)
    levels = Quantizer.load(path).levels
    worse = Quantizer(np.linspace(levels[0], levels[-1], len(levels), dtype=np.float32), "optimal")
    worse.save(path)
    forged.values["quantizer"]["fingerprint"] = worse.fingerprint
    assert any("its levels are not the optimum" in fault for fault in forged.faults())


def test_the_optimum_of_coefficients_of_a_small_scale_is_the_optimum(forged: Forged) -> None:
    """A large epsilon makes them small. A histogram for a variance of 1 would have a coarse optimum."""
    pca = replace(open_pca(str(forged.root)), epsilon=1e6)
    pca.save(forged.layout.path(Layout.PCA))
    store = FeatureStore(str(forged.store), Manifest.of(forged.layout).feature_space.fingerprint)
    rows = pq.read_table(forged.root / Layout.VIDEOS, filters=[("partition", "=", "train")]).to_pylist()
    coefficients = [pca.transform(store.read(row["video_id"]).features) for row in rows]
    exponents = pca.scale_exponents("shared")
    quantizer = Quantizer.fit(Histogram.from_blocks(coefficients, 1, exponents), 256)
    quantizer.save(forged.layout.path(Layout.QUANTIZER))
    facts = {"fingerprint": pca.fingerprint, "epsilon": pca.epsilon, "whitening": Whitening.of(pca).facts()}
    forged.values["pca"] |= facts
    forged.values["quantizer"] |= {"fingerprint": quantizer.fingerprint, "levels": quantizer.length}
    faults = forged.faults(every_shard=False)
    assert exponents[0] < -5
    assert faults  # the shards have the codes of the other codebook
    assert not any("quantizer" in fault for fault in faults)


def test_a_shard_of_other_codes_is_found(forged: Forged) -> None:
    (path, *_) = (row["path"] for row in forged.values["shards"] if row["level"] == "frame" and row["records"])
    with (forged.root / path).open("rb") as stream:
        records = [parse_frame_record(data, "x") for data in read_records(stream, "x")]
    with (forged.root / path).open("wb") as stream:
        for record in records:
            codes = record.codes.copy()
            codes[0, 0] ^= 1
            write_record(stream, frame_record(record.video_id, record.labels, codes, record.feature_name))
    assert forged.faults() == [f"{path}: is not what the features in the store are encoded to"]


def test_other_withheld_labels_are_found(forged: Forged) -> None:
    path = forged.root / Layout.TEST_LABELS
    rows = pq.read_table(path)
    changed = rows.to_pylist()
    changed[0]["labels"] = [0] if changed[0]["labels"] != [0] else [1]
    pq.write_table(type(rows).from_pylist(changed, schema=rows.schema), path)
    assert any("partitions.test.digest" in fault for fault in forged.faults())


def test_labels_that_the_vocabulary_lacks_are_found(forged: Forged) -> None:
    path = forged.root / Layout.TEST_LABELS
    rows = pq.read_table(path)
    changed = [row | {"labels": [99]} for row in rows.to_pylist()]
    pq.write_table(type(rows).from_pylist(changed, schema=rows.schema), path)
    assert all("the labels [99] are not labels of vocabulary.csv" in fault for fault in forged.faults())


def test_a_config_without_the_number_of_levels_is_told(forged: Forged) -> None:
    forged.values["config"]["quantizer"] = "optimal"
    assert any("config.quantizer.levels: None is no number of levels" in fault for fault in forged.faults())


@pytest.mark.parametrize("column", ["features_magnitude", "deviation_seconds", "features_sha256"])
def test_a_table_that_describes_other_features_is_found(forged: Forged, column: str) -> None:
    path = forged.root / Layout.VIDEOS
    rows = pq.read_table(path)
    changed = rows.to_pylist()
    changed[0][column] = "0" if column == "features_sha256" else changed[0][column] + 1
    pq.write_table(type(rows).from_pylist(changed, schema=rows.schema), path)
    (fault,) = forged.faults()
    assert fault.startswith(f"videos.parquet: video {changed[0]['video_id']}: the store has ")


def test_a_store_that_lacks_a_video_is_told(forged: Forged, tmp_path: Path) -> None:
    shutil.copytree(forged.store, tmp_path / "store")
    forged.store = tmp_path / "store"
    gone = min(path for path in forged.store.rglob("*.npz") if any(row in path.name for row in video_ids(forged)))
    gone.unlink()
    (fault,) = forged.faults()
    assert "A stored file cannot be read" in fault


def video_ids(forged: Forged) -> list[str]:
    return [str(name) for name in pq.read_table(forged.root / Layout.VIDEOS)["video_id"].to_pylist()]


def test_another_store_is_wrong_usage(forged: Forged, tmp_path: Path) -> None:
    refused = run("verify", str(forged.root), "--deep", "--store", str(tmp_path))
    assert refused.returncode == 2
    assert four_parts(refused)[0] == "The feature store has no features of this dataset's feature space"


def test_a_dataset_of_codes_has_no_store(forged: Forged) -> None:
    forged.values["encoded"]["from"] = "codes"
    forged.seal()
    refused = run("verify", str(forged.root), "--deep", "--store", str(forged.store))
    assert (refused.returncode, four_parts(refused)[0]) == (2, "The dataset was not built from features")


@pytest.mark.parametrize("options", [("--store", "x"), ("--all",)])
def test_options_of_deep_alone_are_wrong_usage(forged: Forged, options: tuple[str, ...]) -> None:
    refused = run("verify", str(forged.root), *options)
    assert (refused.returncode, four_parts(refused)[0]) == (2, "Nothing is computed again")


def test_damage_on_disk_is_told_alone(forged: Forged) -> None:
    (forged.root / "vocabulary.csv").write_text("")
    found = deep_verify(str(forged.root), str(forged.store), every_shard=True, advance=lambda _: None)
    assert found == verify(str(forged.root)) != []
    assert Manifest.of(forged.layout).partitions[Partition.TRAIN].videos
