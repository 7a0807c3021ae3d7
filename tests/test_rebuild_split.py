"""`yt8m rebuild-split` writes one split again and nothing else, or says why it cannot."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import run
from tests.conftest import Workshop, published_bytes
from tests.test_resume import has, stored_files


class TestRebuildSplit:
    def test_it_writes_that_split_alone(self, copied: Path, built: Path) -> None:
        dataset = copied / "dataset"
        for path in (dataset / "frame" / "validate").iterdir():
            path.write_bytes(b"ruined")
        others = {
            path: path.stat().st_mtime_ns
            for path in [*dataset.glob("*/train/*"), *dataset.glob("*/test/*"), *dataset.glob("pca/*")]
        }
        finished = run("rebuild-split", "validate", str(copied / "config.yaml"))
        assert finished.returncode == 0, finished.stderr
        assert {path: path.stat().st_mtime_ns for path in others} == others
        assert published_bytes(dataset) == published_bytes(built / "dataset")

    def test_it_extracts_only_what_the_store_lacks_of_that_split(self, copied: Path, built: Path) -> None:
        import pyarrow.parquet as pq

        rows = pq.read_table(copied / "dataset" / "videos.parquet").to_pylist()
        partition = {row["video_id"]: row["partition"] for row in rows}
        for path in (copied / "features").rglob("*.npz"):
            if partition.get(path.name.rsplit("-", 1)[0]) == "train":
                path.unlink()
        left = stored_files(copied)
        victim = next(Path(name) for name in left if partition[Path(name).name.rsplit("-", 1)[0]] == "validate")
        victim.unlink()
        finished = run("rebuild-split", "validate", str(copied / "config.yaml"))
        assert finished.returncode == 0, finished.stderr
        after = stored_files(copied)
        assert after.keys() == left.keys()
        assert {name for name in left if after[name] != left[name]} == {str(victim)}
        assert published_bytes(copied / "dataset") == published_bytes(built / "dataset")

    @pytest.mark.parametrize(
        "setting",
        ["partitioning.salt=other", "pca.components=8", "quantizer.levels=16", "video_sampling.sample_size=9"],
    )
    def test_it_stops_where_the_compression_would_change(self, copied: Path, built: Path, setting: str) -> None:
        finished = run("rebuild-split", "validate", str(copied / "config.yaml"), "--set", setting)
        assert finished.returncode == 1
        assert "would change" in finished.stderr or "out of date" in finished.stderr
        assert published_bytes(copied / "dataset") == published_bytes(built / "dataset")

    def test_a_killed_one_can_be_run_again(self, copied: Path, built: Path) -> None:
        config = copied / "config.yaml"
        command = [sys.executable, "-m", "yt8m_pipeline", "rebuild-split", "validate", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not has(".unfinished")(copied):
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert run("verify", str(copied / "dataset")).returncode == 1
        finished = run("rebuild-split", "validate", str(config))
        assert finished.returncode == 0, finished.stderr
        assert published_bytes(copied / "dataset") == published_bytes(built / "dataset")

    def test_it_needs_a_finished_dataset(self, workshop: Workshop, tmp_path: Path) -> None:
        finished = run("rebuild-split", "test", str(workshop.config(tmp_path)))
        assert finished.returncode == 2
        assert "no finished dataset" in finished.stderr
