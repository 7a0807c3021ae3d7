"""The feature store as its owner sees it: what is in it, what is damaged, what can go, and what a build makes of it."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.command_line import four_parts, run
from tests.conftest import Workshop, published_bytes, rejects_of
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.damage import conditions
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import INDEX, FeatureStore, open_store
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.store.garbage import find_removals, remove
from yt8m_pipeline.store.stored_file import open_stored
from yt8m_pipeline.store.thumbnails import FOLDER as THUMBNAILS
from yt8m_pipeline.transforms.lookup import changed_warning

ONE, TWO = {"model": "one"}, {"model": "two"}
SOURCE = Source("video.mp4", 5, "then")
OWNERS = ("elsewhere-1", "elsewhere-2", f"{socket.gethostname()}-{'0' * 32}")
"""The owners of temporary files: two on other hosts, and one of this host that holds no lock."""
LONG_AGO = 1_000_000_000
KEPT = ("a", "b")


def write(store: FeatureStore, video_id: str, frames: int = 2) -> Path:
    store.write(
        VideoFeatures(video_id, np.ones((frames, 3), np.float32), np.arange(1.0 * frames)), SOURCE, 1, Fraction(1)
    )
    return aged(Path(store.path(video_id)))


def fail(store: FeatureStore, video_id: str) -> Path:
    store.write_failure(video_id, SOURCE, conditions(Decoding()), VideoRejected(DropReason.TRUNCATED, "it ends at 3 s"))
    return aged(Path(store.failure_path(video_id)))


def aged(path: Path) -> Path:
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def rot(path: Path) -> None:
    """Changes one bit of a file, and neither its size nor its modification time."""
    data, before = bytearray(path.read_bytes()), path.stat()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def one(tmp_path: Path) -> FeatureStore:
    """A space with three videos and a failure."""
    store = open_store(str(tmp_path / "store"), ONE)
    for video_id in (*KEPT, "c"):
        write(store, video_id)
    fail(store, "failed")
    return store


@pytest.fixture
def two(one: FeatureStore) -> FeatureStore:
    """Another space of the same store, with one video."""
    store = open_store(one.root, TWO)
    write(store, "a", frames=5)
    return store


def report(*arguments: str, code: int = 0) -> Any:
    finished = run("store", *arguments, "--json")
    assert finished.returncode == code, finished.stderr
    return json.loads(finished.stdout)


def contents(folder: str) -> dict[str, bytes]:
    return published_bytes(Path(folder), lambda name: not name.endswith(INDEX))


class TestStats:
    def test_it_counts_what_is_there(self, one: FeatureStore, two: FeatureStore) -> None:
        write(one, "d").write_bytes(b"damaged")
        Path(f"{one.path('a')}.tmp-elsewhere-1").touch()
        facts = report("stats", one.root)
        spaces = {row.pop("space"): row for row in facts["spaces"]}
        sizes = {store: sum(map(len, contents(store.folder).values())) for store in (one, two)}
        counts = {"videos": 3, "frames": 6, "damaged": 1, "temporaries": 1}
        below = sum(path.stat().st_size for path in Path(one.folder).glob("*/*"))
        assert spaces[one.space] == {**counts, "bytes": below}
        assert spaces[two.space]["frames"] == 5
        assert below < sizes[one]
        assert facts["failures"] == [{"space": one.space, "reason": "truncated", "videos": 1}]
        assert {"space": two.space, "what": "model", "value": "two"} in facts["descriptions"]

    def test_it_writes_nothing(self, one: FeatureStore) -> None:
        before = published_bytes(Path(one.root))
        report("stats", one.root)
        assert published_bytes(Path(one.root)) == before

    @pytest.mark.parametrize("command", ["stats", "check", "gc"])
    def test_what_is_no_store_is_wrong_usage(self, tmp_path: Path, command: str) -> None:
        (tmp_path / "file").touch()
        for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
            finished = run("store", command, str(folder))
            assert finished.returncode == 2
            assert four_parts(finished) == (
                "There is no feature store",
                str(folder),
                "no folder in it is named by a feature space, 16 hexadecimal digits",
                "give the folder that `store` in the config names",
            )


class TestCheck:
    def test_a_sound_store_is_sound(self, one: FeatureStore) -> None:
        assert report("check", one.root) == {"title": f"{one.root}: sound", "faults": []}

    def test_every_kind_of_fault_has_a_row(self, one: FeatureStore, two: FeatureStore) -> None:
        report("check", one.root)
        rot(Path(one.path("a")))
        truncated = Path(one.path("b"))
        truncated.write_bytes(truncated.read_bytes()[:-1])
        shutil.copy(one.path("c"), Path(one.path("c")).with_name("another-name.npz"))
        foreign = Path(one.path("a")).with_name("foreign.npz")
        shutil.copy(two.path("a"), foreign)
        Path(one.failure_path("failed")).write_text("{}")
        Path(two.folder, "space.json").write_text("{}")
        facts = report("check", one.root, code=1)
        whats = {Path(row["where"]).name: row["what"] for row in facts["faults"]}
        assert len(whats) == len(facts["faults"]) == 6
        assert facts["title"].endswith(": 6 faults")
        assert "the next build extracts the videos of damaged files again" in facts["fix"]
        assert "do not match the SHA-256" in whats[Path(one.path("a")).name]
        assert "do not match the SHA-256" in whats[truncated.name]
        assert whats["another-name.npz"] == "it holds video 'c', whose place is another"
        assert whats["foreign.npz"].startswith(f"it was written in space {two.space}")
        assert whats["space.json"] == "it is missing or does not describe this space"
        assert whats[Path(one.failure_path("failed")).name].startswith("it is no record of a failure")

    def test_one_space_can_be_checked_alone(self, one: FeatureStore, two: FeatureStore) -> None:
        Path(two.path("a")).write_bytes(b"damaged")
        assert report("check", one.root, "--space", one.space)["faults"] == []
        assert len(report("check", one.root, "--space", two.space, code=1)["faults"]) == 1
        finished = run("store", "check", one.root, "--space", "f" * 16)
        what, _, why, fix = four_parts(finished)
        assert (finished.returncode, what) == (2, f"The store has no feature space {'f' * 16}")
        assert why == f"it has {', '.join(sorted([one.space, two.space]))}"
        assert fix == "see `yt8m store stats`"

    def test_it_is_shown_as_a_table_too(self, one: FeatureStore) -> None:
        Path(one.path("a")).write_bytes(b"damaged")
        finished = run("store", "check", one.root)
        assert finished.returncode == 1
        assert "its 7 bytes do not match the SHA-256 in their last 64" in finished.stdout
        assert re.search(r"check: 3/3 videos", finished.stderr)


def table(folder: Path, *video_ids: str) -> str:
    """A videos table."""
    path = folder / f"{'-'.join(video_ids)}.csv"
    rows = [f"{video_id},{video_id}.mp4,3.0,5000" for video_id in video_ids]
    path.write_text("\n".join(["video_id,uri,duration_seconds,view_count", *rows]) + "\n")
    return str(path)


def gone(store: FeatureStore, *arguments: str) -> set[str]:
    """The names of the files that `gc` deletes; without --delete, it says the same and deletes nothing."""
    before = contents(store.root)
    planned = report("gc", store.root, *arguments)
    assert contents(store.root) == before
    done = report("gc", store.root, *arguments, "--delete")
    assert done["files"] == planned["files"]
    after = contents(store.root)
    deleted = before.keys() - after.keys()
    assert after == {name: before[name] for name in before.keys() - deleted}
    assert sum(row["files"] for row in done["files"]) == len(deleted)
    assert sum(row["bytes"] for row in done["files"]) == sum(len(before[name]) for name in deleted)
    return {name.rpartition("/")[2] for name in deleted}


def name_of(path: str | Path) -> str:
    return Path(path).name


class TestGarbage:
    def test_by_itself_only_rubbish_goes(self, one: FeatureStore) -> None:
        old, young, dead = (Path(f"{one.path('a')}.tmp-{owner}") for owner in OWNERS)
        for path in (old, young, dead):
            path.write_bytes(b"half")
        aged(old)
        superseded = fail(one, "a")
        damaged = write(one, "damaged")
        damaged.write_bytes(b"damaged")
        unreadable = aged(Path(fail(one, "unreadable")))
        unreadable.write_bytes(b"{}")
        Path(one.folder, "a file of another program").touch()
        assert gone(one) == {name_of(path) for path in (old, dead, superseded, damaged, unreadable)}
        assert gone(one) == set()

    def test_it_offers_to_delete_what_there_is(self, one: FeatureStore) -> None:
        titles = [report("gc", one.root)["title"]]
        for video_id in ("a", "b"):
            fail(one, video_id)
            titles.append(report("gc", one.root)["title"])
        assert [title.removeprefix(f"{one.root}: ") for title in titles] == [
            "0 files can go",
            "1 file can go; --delete removes it",
            "2 files can go; --delete removes them",
        ]

    def test_of_videos_go_those_that_no_table_lists(self, one: FeatureStore, tmp_path: Path) -> None:
        assert gone(one, table(tmp_path, *KEPT), table(tmp_path, "b", "x")) == {
            name_of(one.path("c")),
            name_of(one.failure_path("failed")),
        }

    def test_a_space_that_has_nothing_of_what_is_needed_stays(
        self, one: FeatureStore, two: FeatureStore, tmp_path: Path
    ) -> None:
        assert gone(one, table(tmp_path, "of", "another", "corpus")) == set()
        assert gone(one, table(tmp_path, "b")) == {
            name_of(path) for path in (one.path("a"), one.path("c"), one.failure_path("failed"))
        }
        assert Path(two.path("a")).exists()

    def test_what_was_stored_within_a_day_stays(self, one: FeatureStore, tmp_path: Path) -> None:
        os.utime(one.path("c"))
        os.utime(one.failure_path("failed"))
        assert gone(one, table(tmp_path, *KEPT)) == set()

    def test_a_whole_space_goes_by_its_name(self, one: FeatureStore, two: FeatureStore, tmp_path: Path) -> None:
        before = contents(one.folder)
        assert gone(one, table(tmp_path, *KEPT, "c", "failed"), "--drop-space", two.space) == {
            "space.json",
            name_of(two.path("a")),
        }
        assert not Path(two.folder).exists()
        assert contents(one.folder) == before

    def test_an_unreadable_file_is_not_taken_for_a_damaged_one(
        self, one: FeatureStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(uri: str) -> bytes:
            raise OSError(5, "Input/output error", uri)

        monkeypatch.setattr("yt8m_pipeline.files.read_bytes", fails)
        assert report("gc", one.root)["files"] == []

    def test_a_file_that_changes_after_it_was_judged_stays(self, one: FeatureStore) -> None:
        path = Path(one.path("a"))
        path.write_bytes(b"damaged")
        removals = find_removals(one, None, lambda _: None)
        write(one, "a")
        assert [Path(removal.uri) for removal in removals] == [path]
        assert list(remove(removals, lambda _: None)) == []
        assert path.exists()

    @pytest.mark.parametrize("seed", range(3))
    def test_nothing_that_a_dataset_needs_ever_goes(self, copied: Path, seed: int) -> None:
        root = copied / "features"
        (space,) = [path.name for path in root.iterdir() if path.name != THUMBNAILS]
        store = FeatureStore(str(root), space)
        rows = pq.read_table(copied / "dataset" / "videos.parquet").to_pylist()
        others = [f"other {seed} {number}" for number in range(20)]
        for video_id in others:
            write(store, video_id)
        for path in root.rglob("*.npz"):
            aged(path)
        assert gone(store, str(copied / "dataset")) == {name_of(store.path(video_id)) for video_id in others}
        assert {row["features_sha256"] for row in rows} == {
            open_stored(store.path(row["video_id"])).header.sha256 for row in rows
        }
        finished = run("store", "gc", str(root), str(copied / "dataset"), "--drop-space", space, "--delete")
        assert four_parts(finished) == (
            "The feature space is in use",
            store.folder,
            "a dataset that was given is made of it",
            "leave out --drop-space, or the dataset",
        )

    def test_an_unfinished_dataset_is_refused(self, copied: Path) -> None:
        (copied / "dataset" / "COMPLETE").unlink()
        finished = run("store", "gc", str(copied / "features"), str(copied / "dataset"))
        assert (finished.returncode, *four_parts(finished)) == (
            2,
            "The dataset is not finished",
            str(copied / "dataset"),
            "it has no COMPLETE: what it will need is not known yet",
            "finish it with `yt8m build`",
        )

    def test_what_is_neither_a_dataset_nor_a_table_is_refused(self, one: FeatureStore, tmp_path: Path) -> None:
        finished = run("store", "gc", one.root, str(tmp_path / "misspelt"), "--delete")
        assert finished.returncode == 2
        assert four_parts(finished)[0] == "The videos table is missing"


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mounts a folder over itself, so that nobody can write there."""
    if subprocess.run(["mount", "--bind", folder, folder], check=False).returncode:
        pytest.skip("only root can mount a file system")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def stored_paths(folder: Path) -> list[Path]:
    return sorted((folder / "features").rglob("*.npz"))


def video_of(path: Path) -> str:
    return open_stored(str(path)).header.video_id


class TestBuilding:
    def test_damage_that_only_reading_shows_is_met_reported_and_mended(
        self, copied: Path, built: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The index knows the files: size and time are as they were when the store was filled."""
        victims = stored_paths(copied)[:2]
        names = [video_of(victim) for victim in victims]
        assert list((copied / "features").rglob(INDEX))
        for victim in victims:
            rot(victim)
        for path in (copied / "dataset" / "pca").iterdir():
            path.unlink()
        finished = run("build", str(copied / "config.yaml"))
        assert finished.returncode == 0, finished.stderr
        assert caplog.text.count("reading every stored file, to extract the damaged ones again") == 1
        assert all(f"stored features of {video_id} are damaged" in caplog.text for video_id in names)
        for victim in victims:
            assert victim.read_bytes() == (built / victim.relative_to(copied)).read_bytes()
        assert published_bytes(copied / "dataset") == published_bytes(built / "dataset")

    def test_a_complete_store_that_can_only_be_read_serves_a_build(
        self, copied: Path, built: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Also if a video is missing, which is tried again in every build, and a killed writer left its file."""
        store = copied / "features"
        abandoned = stored_paths(copied)[0].with_name(f"x.npz.tmp-{OWNERS[-1]}")
        abandoned.touch()
        shutil.rmtree(copied / "dataset")
        with read_only(store):
            finished = run("build", str(copied / "config.yaml"))
            assert abandoned.exists()
        assert finished.returncode == 0, finished.stderr
        assert published_bytes(copied / "dataset") == published_bytes(built / "dataset")
        assert "missing_file" in {row["reason"] for row in rejects_of(copied / "dataset")}
        assert caplog.text.count("the failures of videos cannot be kept in a feature store") == 1

    def test_a_changed_video_is_reported_and_with_refresh_extracted_again(
        self, workshop: Workshop, built: Path, tmp_path: Path
    ) -> None:
        corpus, folder = tmp_path / "corpus", tmp_path / "copy"
        shutil.copytree(workshop.corpus, corpus)
        shutil.copytree(built / "features", folder / "features")
        config = str(workshop.config(folder, tables__root=str(corpus)))
        header = open_stored(str(stored_paths(folder)[0])).header
        changed_file = corpus / Path(header.source_uri).relative_to(workshop.corpus)
        other = next(
            file for file in map(open_stored, map(str, stored_paths(folder))) if file.header.sha256 != header.sha256
        )
        shutil.copyfile(other.header.source_uri, changed_file)
        lacking = json.loads((built / "dataset" / "manifest.json").read_text())["warnings"]
        changed = json.loads(run("build", config, "--json").stdout)["warnings"]
        assert sorted(row["warning"] for row in changed) == sorted([*lacking, *changed_warning([header.video_id])])
        refreshed = json.loads(run("build", config, "--json", "--refresh").stdout)
        copies = "films given several times, by their uri or equal features: 1, as 2 videos"
        warnings = [row["warning"] for row in refreshed["warnings"]]
        assert [text for text in warnings if not text.startswith(copies)] == lacking
        assert len(warnings) == len(lacking) + 1  # the changed file is a copy of another
        again = open_stored(str(stored_paths(folder)[0])).header
        assert (again.source_uri, again.source_size) == (str(changed_file), changed_file.stat().st_size)
        assert again.sha256 == other.header.sha256
        assert json.loads(run("build", config, "--json").stdout)["title"].startswith("Nothing to do")
