"""Kill it anywhere: the same command goes on, decodes nothing twice, and ends with the same bytes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.command_line import run
from tests.conftest import Workshop, published_bytes, yt8m


def stored_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder / "features").rglob("*.npz")}


def has_stored(count: int) -> Callable[[Path], bool]:
    return lambda folder: len(stored_files(folder)) >= count


def has(pattern: str) -> Callable[[Path], bool]:
    return lambda folder: any((folder / "dataset").glob(pattern))


@contextmanager
def running_build(config: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "yt8m_pipeline", "build", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def kill_when(config: Path, reached: Callable[[Path], bool]) -> None:
    with running_build(config) as process:
        deadline = time.monotonic() + 120
        while not reached(config.parent):
            assert process.poll() is None, "the build ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)


BEGUN = has(".unfinished")
POINTS = {
    "extraction": has_stored(5),
    "rejects": has("rejects/summary.json"),
    "pca": has("pca/eigenvecs.npy"),
    "first shard": has("frame/*/*.tfrecord"),
    "videos table": has("videos.parquet"),
}


def test_a_build_killed_at_every_point_ends_with_the_same_bytes(
    workshop: Workshop, built: Path, tmp_path: Path
) -> None:
    """One build, killed at each point in turn and started again with the same command.

    `scripts/torture --kind kills` kills builds at as many other moments as one likes.
    """
    config = workshop.config(tmp_path)
    for reached in POINTS.values():
        before = stored_files(tmp_path)
        kill_when(config, reached)
        after = stored_files(tmp_path)
        assert {name: after[name] for name in before} == before, "a stored video was extracted again"
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    assert {name: stored_files(tmp_path)[name] for name in after} == after
    assert published_bytes(tmp_path / "dataset") == published_bytes(built / "dataset")
    assert not list(tmp_path.rglob("*.tmp-*"))


def test_a_second_run_does_nothing_and_says_so(built: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    again = run("build", str(built / "config.yaml"))
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*")} == before


def test_two_builds_in_one_folder_exclude_each_other(workshop: Workshop, tmp_path: Path) -> None:
    config = workshop.config(tmp_path)
    with running_build(config) as first:
        while not BEGUN(tmp_path):
            assert first.poll() is None
            time.sleep(0.01)
        second = run("build", str(config))
        assert second.returncode == 2
        assert f"process {first.pid} on {socket.gethostname()} holds it" in second.stderr


def test_threads_and_parallelism_change_no_byte(workshop: Workshop, built: Path, tmp_path: Path) -> None:
    parallelism = {"join_buckets": 3, "fitting_units": 5, "accumulators": 1}
    config = workshop.config(tmp_path, stored=built, parallelism=parallelism)
    options = ("--", "--direct_num_workers=3", "--direct_running_mode=multi_threading")
    finished = run("build", str(config), *options)
    assert finished.returncode == 0, finished.stderr
    assert published_bytes(tmp_path / "dataset") == published_bytes(built / "dataset")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the embedded job server needs fork")
def test_the_portable_runner_makes_the_same_bytes(workshop: Workshop, built: Path, tmp_path: Path) -> None:
    config = workshop.config(tmp_path, stored=built)
    options = ("--", "--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")
    finished = yt8m("build", str(config), *options)
    assert finished.returncode == 0, finished.stderr
    assert published_bytes(tmp_path / "dataset") == published_bytes(built / "dataset")


def test_a_config_change_redoes_only_what_depends_on_it(copied: Path) -> None:
    config = copied / "config.yaml"
    stored = stored_files(copied)
    pca = {path: path.stat().st_mtime_ns for path in (copied / "dataset" / "pca").iterdir()}
    train = {path: path.stat().st_mtime_ns for path in (copied / "dataset" / "frame" / "train").iterdir()}
    changed = run("build", str(config), "--set", "shards.test=3")
    assert changed.returncode == 0, changed.stderr
    assert stored_files(copied) == stored
    assert {path: path.stat().st_mtime_ns for path in pca} == pca
    assert {path: path.stat().st_mtime_ns for path in train} == train
    names = sorted(path.name for path in (copied / "dataset" / "frame" / "test").iterdir())
    assert names == [f"test-{index:05d}-of-00003.tfrecord" for index in range(3)]
    assert run("verify", str(copied / "dataset")).returncode == 0


def test_a_damaged_stored_video_is_extracted_again(copied: Path, built: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = pq.read_table(copied / "dataset" / "videos.parquet")["video_id"].to_pylist()
    victim = next(path for video_id in ids for path in (copied / "features").rglob(f"{video_id}-*.npz"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    finished = run("build", str(copied / "config.yaml"), "--retry", "transient")
    assert finished.returncode == 0, finished.stderr
    assert "are damaged" in caplog.text
    relative = victim.relative_to(copied)
    assert victim.read_bytes() == (built / relative).read_bytes()
    assert published_bytes(copied / "dataset") == published_bytes(built / "dataset")
