"""An export is a dataset of its own: from the store, the very bytes that a build with that codebook writes."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.command_line import four_parts, run
from tests.conftest import TESTS, Workshop, published_bytes
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import write_manifest
from yt8m_pipeline.dataset.reader import open_dataset, read_frames, read_videos
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.jobs.build_folder import exclusive, finish
from yt8m_pipeline.store.thumbnails import FOLDER as THUMBNAILS


def from_store(folder: Path) -> tuple[str, str]:
    return "--store", str(folder / "features")


def export(source: Path, output: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return run("export", str(source), "--quantizer", "uniform", "--output", str(output), *options)


def exported(source: Path, output: Path, *options: str) -> Any:
    """What a successful export prints as JSON."""
    finished = export(source, output, "--json", *options)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def manifest_of(dataset: Path) -> Any:
    return json.loads((dataset / "manifest.json").read_text())


def is_shard(name: str) -> bool:
    return name.startswith(("frame/", "video/"))


@pytest.fixture(scope="module")
def uniform(workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that a build with the uniform codebook makes from the same corpus and store."""
    folder = tmp_path_factory.mktemp("uniform")
    config = workshop.config(folder, stored=built, quantizer={"method": "uniform"})
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    return folder / "dataset"


@pytest.fixture(scope="module")
def of_store(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    output = tmp_path_factory.mktemp("of_store") / "export"
    return output, exported(built / "dataset", output, *from_store(built))


@pytest.fixture(scope="module")
def of_codes(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    output = tmp_path_factory.mktemp("of_codes") / "export"
    return output, exported(built / "dataset", output)


class TestFromTheStore:
    def test_it_is_byte_for_byte_what_a_uniform_build_writes(self, of_store: tuple[Path, Any], uniform: Path) -> None:
        assert any(map(is_shard, published_bytes(uniform)))
        assert published_bytes(of_store[0]) == published_bytes(uniform)

    def test_a_build_with_that_config_finds_nothing_to_do(
        self, of_store: tuple[Path, Any], workshop: Workshop, built: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(of_store[0], tmp_path / "dataset")
        config = workshop.config(tmp_path, stored=built, quantizer={"method": "uniform"})
        again = run("build", str(config))
        assert again.stdout.startswith("Nothing to do")

    def test_the_table_and_the_manifest_say_what_was_clipped(self, of_store: tuple[Path, Any], built: Path) -> None:
        """Against the projections of the stored features, computed here."""
        output, facts = of_store
        manifest = manifest_of(output)
        assert facts["encoded_from"] == manifest["encoded"]["from"] == "features"
        rows = {row["partition"]: row for row in facts["quantization"]}
        for partition in Partition:
            values = coefficients(built, partition)
            clipped = int((abs(values) > 2).sum())
            assert clipped
            assert manifest["distortion"][partition]["clipped"] == clipped
            assert manifest["distortion"][partition]["clipped_fraction"] == clipped / values.size
            assert rows[partition]["clipped_fraction"] == pytest.approx(clipped / values.size, rel=1e-3)
            decoded = Quantizer.uniform().decode(Quantizer.uniform().encode(values))
            error = np.square(values.astype(np.float64) - decoded).mean() / values.var(dtype=np.float64)
            assert manifest["distortion"][partition]["relative_error"] == pytest.approx(error, rel=1e-9)
            assert rows[partition]["relative_error"] == pytest.approx(error, rel=1e-3)

    def test_a_uniform_build_says_the_same_in_its_closing_table(
        self, of_store: tuple[Path, Any], uniform: Path
    ) -> None:
        again = run("build", str(uniform.parent / "config.yaml"), "--json")
        assert json.loads(again.stdout)["quantization"] == of_store[1]["quantization"]

    def test_an_optimal_build_clips_nothing_and_errs_less(self, of_store: tuple[Path, Any], built: Path) -> None:
        facts = json.loads(run("build", str(built / "config.yaml"), "--json").stdout)
        for optimal, uniform in zip(facts["quantization"], of_store[1]["quantization"], strict=True):
            assert optimal["clipped_fraction"] == 0
            assert optimal["relative_error"] < uniform["relative_error"]


def coefficients(built: Path, partition: Partition) -> Any:
    """The whitened coefficients of a split of the finished build, float32, (frames, components)."""
    from yt8m_pipeline.compression.pca import Pca
    from yt8m_pipeline.store.feature_store import FeatureStore

    manifest = manifest_of(built / "dataset")
    pca = Pca.load(str(built / "dataset" / "pca"))
    store = FeatureStore(str(built / "features"), manifest["feature_space"]["fingerprint"])
    examples = read_frames(str(built / "dataset"), partition)
    return np.concatenate([pca.transform(store.read(example.video_id).features) for example in examples])


class TestFromTheCodes:
    def test_each_code_is_that_of_the_decoded_value(self, of_codes: tuple[Path, Any], built: Path) -> None:
        uniform = Quantizer.uniform()
        for partition in Partition:
            found = {example.video_id: example for example in read_frames(str(of_codes[0]), partition)}
            for example in read_frames(str(built / "dataset"), partition):
                again = found.pop(example.video_id)
                np.testing.assert_array_equal(again.labels, example.labels)
                np.testing.assert_array_equal(again.features, uniform.decode(uniform.encode(example.features)))
            assert not found

    def test_the_mean_is_that_of_the_new_codes(self, of_codes: tuple[Path, Any]) -> None:
        means = {example.video_id: example.mean_rgb for example in read_videos(str(of_codes[0]), Partition.TEST)}
        for example in read_frames(str(of_codes[0]), Partition.TEST):
            np.testing.assert_allclose(means[example.video_id], example.features.mean(axis=0), rtol=1e-5, atol=1e-6)

    def test_it_is_sound_and_all_but_the_codes_is_the_source(self, of_codes: tuple[Path, Any], built: Path) -> None:
        assert verify(str(of_codes[0])) == []
        source, found = published_bytes(built / "dataset"), published_bytes(of_codes[0])
        assert found.keys() == source.keys()
        changed = {name for name in source if source[name] != found[name]}
        shards = {name for name in source if is_shard(name) and source[name]}
        assert changed == shards | {"quantizer.npz", "videos.parquet", "manifest.json", "COMPLETE"}
        rows = [pq.read_table(folder / "videos.parquet") for folder in (built / "dataset", of_codes[0])]
        offsets = ["frame_offset", "frame_bytes"]
        assert rows[0].drop_columns(offsets).equals(rows[1].drop_columns(offsets))

    def test_it_says_what_that_costs(self, of_codes: tuple[Path, Any], built: Path) -> None:
        output, facts = of_codes
        manifest, source = manifest_of(output), manifest_of(built / "dataset")
        assert facts["encoded_from"] == "codes"
        assert manifest["encoded"] == {
            "from": "codes",
            "build_key": source["build_key"],
            "quantizer": source["quantizer"]["fingerprint"],
            "distortion": source["distortion"],
        }
        values = np.concatenate([example.features for example in read_frames(str(built / "dataset"), Partition.TRAIN)])
        decoded = Quantizer.uniform().decode(Quantizer.uniform().encode(values))
        error, variance = np.square(values.astype(np.float64) - decoded).mean(), values.var(dtype=np.float64)
        assert manifest["distortion"]["train"]["mean_squared_error"] == pytest.approx(error, rel=1e-9)
        row = facts["quantization"][0]
        assert row["relative_error"] == pytest.approx(error / variance, rel=1e-3)
        assert row["error_of_the_source"] == pytest.approx(source["distortion"]["train"]["relative_error"], rel=1e-3)
        (warning,) = {row["warning"] for row in facts["warnings"]} - set(source["warnings"])
        assert warning in manifest["warnings"]
        assert warning.startswith("these codes were made from optimal codes, not from features: ")
        assert re.search(
            r"of those, \d.\d\d% of the variance, this adds \d+.\d\d%; together they are about \d", warning
        )
        together = row["error_of_the_source"] + row["relative_error"] * (1 - row["error_of_the_source"])
        assert row["error_together"] == pytest.approx(together, rel=1e-3)

    def test_the_errors_of_both_steps_add_up_on_train(self, of_codes: tuple[Path, Any], built: Path) -> None:
        """Nearly: the codebook's fit is on a histogram."""
        manifest = manifest_of(of_codes[0])
        again = read_frames(str(of_codes[0]), Partition.TRAIN)
        decoded = np.concatenate([example.features for example in again])
        total = np.square(coefficients(built, Partition.TRAIN).astype(np.float64) - decoded).mean()
        steps = (manifest["encoded"]["distortion"], manifest["distortion"])
        assert total == pytest.approx(sum(step["train"]["mean_squared_error"] for step in steps), rel=1e-3)

    def test_a_build_with_that_config_writes_the_exact_codes_over_them(
        self, of_codes: tuple[Path, Any], workshop: Workshop, built: Path, uniform: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(of_codes[0], tmp_path / "dataset")
        config = workshop.config(tmp_path, stored=built, quantizer={"method": "uniform"})
        again = run("build", str(config))
        assert again.stdout.startswith("Built"), again.stderr
        assert published_bytes(tmp_path / "dataset") == published_bytes(uniform)


class TestAgain:
    def test_a_second_run_does_nothing_and_says_so(self, built: Path, of_store: tuple[Path, Any]) -> None:
        output, facts = of_store
        before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
        again = exported(built / "dataset", output, *from_store(built))
        assert again.pop("title").startswith("Nothing to do")
        assert again == {name: value for name, value in facts.items() if name != "title"}
        assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before

    def test_a_killed_one_goes_on_and_ends_with_the_same_bytes(
        self, built: Path, uniform: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "export"
        arguments = (str(built / "dataset"), "--quantizer", "uniform", "--output", str(output), *from_store(built))
        kill_when(("export", *arguments), lambda: any(output.glob("frame/*/*.tfrecord")))
        recorded = {path.stem for path in output.glob(".journal/*.json") if path.read_bytes()}
        finished = {path: path.stat().st_mtime_ns for path in output.rglob("*.tfrecord") if path.stem in recorded}
        exported(built / "dataset", output, *from_store(built))
        assert published_bytes(output) == published_bytes(uniform)
        assert {path: path.stat().st_mtime_ns for path in finished} == finished
        assert not list(output.rglob("*.tmp-*"))

    def test_after_a_change_of_the_source_only_what_changed_is_written_again(
        self, copied: Path, tmp_path: Path
    ) -> None:
        exported(copied / "dataset", tmp_path / "export")
        shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "export").rglob("*.tfrecord")}
        rewrite_rejects(copied / "dataset")
        assert verify(str(copied / "dataset")) == []
        again = exported(copied / "dataset", tmp_path / "export")
        assert again["title"].startswith("Exported")
        rejects = [
            folder / "rejects/decode-00000-of-00001.parquet" for folder in (copied / "dataset", tmp_path / "export")
        ]
        assert rejects[0].read_bytes() == rejects[1].read_bytes()
        assert {path: path.stat().st_mtime_ns for path in shards} == shards
        assert verify(str(tmp_path / "export")) == []

    def test_a_dataset_of_format_3_keeps_its_one_table_of_rejects(self, tmp_path: Path) -> None:
        source = TESTS / "golden_formats" / "0.1.0" / "dataset"
        exported(source, tmp_path / "export")
        assert verify(str(tmp_path / "export")) == []
        rejects = [list(open_dataset(str(folder)).rejects()) for folder in (source, tmp_path / "export")]
        assert rejects[0] == rejects[1] != []

    def test_two_in_one_folder_exclude_each_other(self, built: Path, tmp_path: Path) -> None:
        with exclusive(Layout(str(tmp_path / "export"))):
            refused = export(built / "dataset", tmp_path / "export")
        assert (refused.returncode, four_parts(refused)[0]) == (2, "Another build is at work in this folder")

    def test_threads_change_no_byte(self, built: Path, uniform: Path, tmp_path: Path) -> None:
        options = ("--", "--direct_num_workers=3", "--direct_running_mode=multi_threading")
        exported(built / "dataset", tmp_path, *from_store(built), *options)
        assert published_bytes(tmp_path) == published_bytes(uniform)


def rewrite_rejects(dataset: Path) -> None:
    """The same rows in other bytes, and a manifest that knows them."""
    path, layout = dataset / "rejects/decode-00000-of-00001.parquet", Layout(str(dataset))
    pq.write_table(pq.read_table(path), path, compression="none")
    values = manifest_of(dataset)
    tables = [file_entry(layout, row["path"]) for row in values["files"]]
    write_manifest(layout, values | {"files": [asdict(entry) for entry in tables]})
    finish(layout)


def kill_when(arguments: tuple[str, ...], reached: Callable[[], bool]) -> None:
    command = [sys.executable, "-m", "yt8m_pipeline", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, "the export ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def stored_files(folder: Path) -> list[Path]:
    return sorted((folder / "features").rglob("*.npz"))


def stored_file_of_a_video(folder: Path) -> Path:
    """The stored file of the first video of the dataset."""
    from yt8m_pipeline.store.feature_store import FeatureStore

    store = FeatureStore(str(folder / "features"), manifest_of(folder / "dataset")["feature_space"]["fingerprint"])
    return Path(store.path(pq.read_table(folder / "dataset" / "videos.parquet")["video_id"][0].as_py()))


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


class TestBadInput:
    def refused(self, finished: "subprocess.CompletedProcess[str]", exit_code: int) -> tuple[str, str, str, str]:
        assert finished.returncode == exit_code, finished.stderr
        return four_parts(finished)

    def test_an_unfinished_dataset(self, copied: Path, tmp_path: Path) -> None:
        (copied / "dataset" / "COMPLETE").unlink()
        what, where, why, _ = self.refused(export(copied / "dataset", tmp_path / "export"), 1)
        assert (what, where) == ("This is not a finished dataset", str(copied / "dataset"))
        assert why == "it has no COMPLETE: its build has not ended"
        assert not (tmp_path / "export").exists()

    @pytest.mark.parametrize("place", ["dataset", "dataset/uniform", ".", "link"])
    def test_an_output_that_is_not_apart_from_the_dataset(self, copied: Path, place: str) -> None:
        (copied / "link").symlink_to(copied / "dataset", target_is_directory=True)
        before = published_bytes(copied)
        what, where, why, _ = self.refused(export(copied / "dataset", copied / place), 2)
        assert (what, where) == ("An export needs a folder of its own", str(copied / place))
        assert "the dataset" in why
        assert published_bytes(copied) == before

    def test_a_folder_beside_the_dataset_whose_name_begins_alike_is_fine(self, copied: Path) -> None:
        exported(copied / "dataset", copied / "dataset-uniform")

    def test_an_output_with_other_files(self, built: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("mine")
        what, _, why, _ = self.refused(export(built / "dataset", tmp_path), 2)
        assert what == "The output folder is not empty and not a dataset"
        assert "mine.txt" in why
        assert published_bytes(tmp_path) == {"mine.txt": b"mine"}

    def test_an_output_with_another_dataset(self, built: Path, copied: Path) -> None:
        before = published_bytes(copied)
        what, where, _, _ = self.refused(export(built / "dataset", copied / "dataset"), 2)
        assert (what, where) == ("The output folder holds another dataset", str(copied / "dataset"))
        assert published_bytes(copied) == before

    def test_a_store_that_lacks_videos_says_how_many_and_the_codes_still_serve(self, copied: Path) -> None:
        videos = pq.read_table(copied / "dataset" / "videos.parquet").num_rows
        stored_file_of_a_video(copied).unlink()
        output = copied / "export"
        what, where, why, fix = self.refused(export(copied / "dataset", output, *from_store(copied)), 1)
        assert what == f"The feature store lacks 1 of the {videos} videos"
        assert (where, why) == (str(stored_file_of_a_video(copied)), "that file is not there")
        assert "leave --store out" in fix
        assert {path.name for path in output.iterdir()} == {".unfinished", ".refusals"}
        for path in stored_files(copied):
            path.unlink()
        what, _, why, _ = self.refused(export(copied / "dataset", output, *from_store(copied)), 1)
        assert what == f"The feature store lacks {videos} of the {videos} videos"
        assert why == f"that file is not there, nor are {videos - 1} others"
        exported(copied / "dataset", output)
        assert verify(str(output)) == []

    def test_an_earlier_export_stays_complete_where_the_store_has_lost_a_video_since(self, copied: Path) -> None:
        output = copied / "export"
        exported(copied / "dataset", output, *from_store(copied))
        before = published_bytes(output)
        rewrite_rejects(copied / "dataset")
        stored_file_of_a_video(copied).unlink()
        what, *_ = self.refused(export(copied / "dataset", output, *from_store(copied)), 1)
        assert what.startswith("The feature store lacks 1 of")
        assert published_bytes(output) == before

    def test_a_store_of_another_feature_space(self, copied: Path) -> None:
        (space,) = (path for path in (copied / "features").iterdir() if path.name != THUMBNAILS)
        space.rename(space.with_name("0123456789abcdef"))
        finished = export(copied / "dataset", copied / "export", *from_store(copied))
        what, where, why, fix = self.refused(finished, 2)
        assert what == "The feature store has no features of this dataset's feature space"
        assert where == str(copied / "features")
        assert why == f"the dataset is of space {space.name}, the folder holds 0123456789abcdef"
        assert "leave --store out" in fix
        nowhere = export(copied / "dataset", copied / "export", "--store", str(copied / "nowhere"))
        assert self.refused(nowhere, 2)[2].endswith("the folder holds nothing")
        assert not (copied / "export").exists()

    def test_a_damaged_stored_file(self, copied: Path) -> None:
        victim = stored_file_of_a_video(copied)
        flip_a_byte(victim)
        finished = export(copied / "dataset", copied / "export", *from_store(copied))
        assert self.refused(finished, 1)[:2] == ("A stored file is damaged", str(victim))
        assert not (copied / "export" / "COMPLETE").exists()

    def test_stored_features_that_are_not_those_of_the_dataset(self, copied: Path) -> None:
        from fractions import Fraction

        from yt8m_pipeline.store.failures import Source
        from yt8m_pipeline.store.feature_store import FeatureStore
        from yt8m_pipeline.store.features import VideoFeatures

        victim = stored_file_of_a_video(copied)
        store = FeatureStore(str(copied / "features"), victim.parent.parent.name)
        video = store.open(str(victim)).video
        other = VideoFeatures(video.video_id, video.features + 1, video.pts_seconds)
        store.write(other, Source("clip.mp4", 1, ""), 1.0, Fraction(1))
        finished = export(copied / "dataset", copied / "export", *from_store(copied))
        what, where, _, fix = self.refused(finished, 1)
        assert (what, where) == ("Stored features are not those that the dataset was built from", str(victim))
        assert "leave --store out" in fix

    @pytest.mark.parametrize(
        ("pattern", "options"),
        [
            ("frame/train/*", ()),
            ("videos.parquet", ()),
            ("withheld/*", ()),
            ("pca/eigenvecs.npy", ("--store", "features")),
            ("rejects/decode-*", ("--store", "features")),
        ],
    )
    def test_a_damaged_file_of_the_dataset(
        self, copied: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, options: tuple[str, ...]
    ) -> None:
        monkeypatch.chdir(copied)
        victim = next(path for path in sorted((copied / "dataset").glob(pattern)) if path.stat().st_size)
        flip_a_byte(victim)
        what, where, why, _ = self.refused(export(Path("dataset"), Path("export"), *options), 1)
        assert (what, where) == ("A file of the dataset is damaged", str(victim))
        assert why == "its bytes are not those that the manifest lists"
        victim.unlink()
        what, where, why, _ = self.refused(export(Path("dataset"), Path("export"), *options), 1)
        assert (where, "missing" in what + why) == (str(victim), True)
        assert not (copied / "export" / "COMPLETE").exists()

    def test_a_dataset_that_is_uniform_already(self, uniform: Path, tmp_path: Path) -> None:
        what, where, why, _ = self.refused(export(uniform, tmp_path / "export"), 2)
        assert (what, where) == ("The dataset is uniform already", str(uniform))
        assert "rgb" in why

    def test_an_option_that_beam_does_not_take(self, built: Path, tmp_path: Path) -> None:
        finished = export(built / "dataset", tmp_path / "export", "--", "--direct_num_wrkers=1")
        assert self.refused(finished, 2)[0] == "Beam does not take these options"
        assert not (tmp_path / "export").exists()
