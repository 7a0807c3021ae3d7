"""One build at a time in a folder, and what opening and closing a folder does to it."""

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import LEVELS, Layout, NotOwned, Shard
from yt8m_pipeline.dataset.manifest import Manifest, PartitionSummary, fitted_row, shard_parts, write_manifest
from yt8m_pipeline.dataset.steps import (
    CodebookFacts,
    CodebookStep,
    FileEntry,
    PcaFacts,
    PcaStep,
    ShardFacts,
    ShardStep,
    Step,
    file_entry,
)
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.jobs.build_folder import begin, exclusive, finish, is_rebuildable, withdraw, written
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.jobs.refusals import Refusals

HOLD = """
import sys
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.jobs.build_folder import exclusive
with exclusive(Layout(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_build(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the folder until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def take(folder: Path) -> None:
    with exclusive(Layout(str(folder))):
        pass


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class TestExclusive:
    def test_a_held_folder_is_refused_with_the_pid_and_host_of_its_holder(self, tmp_path: Path) -> None:
        with another_build(tmp_path) as process:
            with pytest.raises(UsageError, match="Another build is at work in this folder") as caught:
                take(tmp_path)
            assert caught.value.why == f"process {process.pid} on {socket.gethostname()} holds it"
            assert caught.value.where == f"{tmp_path}/.lock"
            assert "wait for it to end" in caught.value.fix
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == process.pid

    def test_a_build_that_ended_or_was_killed_holds_nothing(self, tmp_path: Path) -> None:
        with another_build(tmp_path) as process:
            process.communicate("")
            assert names(tmp_path) == []
            take(tmp_path)
        with another_build(tmp_path) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert names(tmp_path) == [".lock"]
            take(tmp_path)
        assert names(tmp_path) == []

    def test_one_process_cannot_hold_a_folder_twice(self, tmp_path: Path) -> None:
        with (
            exclusive(Layout(str(tmp_path))),
            pytest.raises(UsageError, match=f"process {os.getpid()} on {socket.gethostname()}"),
        ):
            take(tmp_path)

    def test_a_failed_build_lets_go(self, tmp_path: Path) -> None:
        def fail() -> None:
            with exclusive(Layout(str(tmp_path))):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert names(tmp_path) == []

    @pytest.mark.parametrize("text", ["", "[" * 20_000, "[]"])
    def test_a_holder_that_has_not_yet_signed_is_refused_too(self, tmp_path: Path, text: str) -> None:
        with exclusive(Layout(str(tmp_path))):
            (tmp_path / ".lock").write_text(text)
            with pytest.raises(UsageError, match="only just started"):
                take(tmp_path)

    def test_a_lock_file_that_its_holder_removes_while_it_is_taken_does_not_count(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock = fcntl.flock

        def lock_late(descriptor: int, operation: int) -> None:
            """The holder ends between the opening of the file and its locking."""
            monkeypatch.setattr(fcntl, "flock", lock)
            (tmp_path / ".lock").unlink()
            lock(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", lock_late)
        with exclusive(Layout(str(tmp_path))), pytest.raises(UsageError, match="Another build"):
            take(tmp_path)

    def test_a_folder_that_cannot_be_made_is_an_error(self, tmp_path: Path) -> None:
        touch(tmp_path / "file")
        with pytest.raises(DataError, match="The output folder cannot be written"):
            take(tmp_path / "file" / "dataset")

    def test_a_file_uri_is_the_same_folder(self, tmp_path: Path) -> None:
        with (
            another_build(tmp_path),
            pytest.raises(UsageError, match="Another build"),
            exclusive(Layout(f"file://{tmp_path}")),
        ):
            pass


class TestOwnership:
    def test_a_token_is_of_one_build_and_in_the_lock_file(self, tmp_path: Path) -> None:
        tokens = []
        for _ in range(2):
            with exclusive(Layout(str(tmp_path))) as layout:
                assert json.loads((tmp_path / ".lock").read_text())["token"] == layout.token
                tokens.append(layout.token)
        assert len({*tokens, None}) == 3

    def test_the_owner_writes(self, tmp_path: Path) -> None:
        with exclusive(Layout(str(tmp_path))) as layout:
            layout.write_bytes("vocabulary.csv", b"ours")
        assert (tmp_path / "vocabulary.csv").read_bytes() == b"ours"

    @pytest.mark.parametrize(
        "write",
        [
            lambda layout: layout.write_bytes("vocabulary.csv", b""),
            lambda layout: Journal(layout).forget("pca"),
            lambda layout: begin(layout, None),
            finish,
        ],
    )
    def test_who_has_given_it_up_can_write_nothing(self, tmp_path: Path, write: Callable[[Layout], object]) -> None:
        with exclusive(Layout(str(tmp_path))) as layout:
            pass
        with pytest.raises(NotOwned, match="This build no longer owns the folder") as caught:
            write(layout)
        assert caught.value.where == f"{tmp_path}/.lock"
        assert caught.value.why == "the command that started this build has ended, and has given it up"
        assert caught.value.fix.startswith("cancel what is left of this build")
        assert names(tmp_path) == []

    def test_who_lost_it_while_writing_leaves_the_file_as_it_was_and_is_told_to_whom(self, tmp_path: Path) -> None:
        touch(tmp_path / "vocabulary.csv", "before")
        with exclusive(Layout(str(tmp_path))) as layout:
            (tmp_path / ".lock").unlink()
            with another_build(tmp_path) as process, pytest.raises(NotOwned, match=f"process {process.pid} on"):
                layout.write_bytes("vocabulary.csv", b"after")
            (tmp_path / ".lock").write_text(json.dumps({"token": layout.token}))
            with pytest.raises(NotOwned), layout.open_write("vocabulary.csv") as stream:
                stream.write(b"after")
                (tmp_path / ".lock").unlink()
        assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == {"vocabulary.csv": "before"}

    def test_who_ends_after_its_lock_was_taken_leaves_the_lock_of_the_other(self, tmp_path: Path) -> None:
        with exclusive(Layout(str(tmp_path))):
            (tmp_path / ".lock").unlink()
            (tmp_path / ".lock").write_text("another's")
        assert (tmp_path / ".lock").read_text() == "another's"

    def test_what_a_lost_build_refuses_is_not_told_to_the_one_that_has_the_folder(self, tmp_path: Path) -> None:
        with exclusive(Layout(str(tmp_path / "dataset"))) as layout:
            pass
        Refusals(layout, str(tmp_path / "spare")).write(DataError(what="refused", where="", why="", fix=""))
        refused = [Refusals(layout, spare).first() for spare in (None, str(tmp_path / "spare"))]
        assert [error and error.what for error in refused] == [None, "refused"]


PCA = ("pca/mean.npy", "pca/eigenvals.npy")
REJECTS = ("rejects/decode-00000-of-00001.parquet", "rejects/summary.json")


class Folder:
    """A folder in which a build of `of` shards per partition has written everything but its mark."""

    def __init__(self, root: Path, of: int) -> None:
        self.root, self.layout = root, Layout(str(root))
        for path in (*PCA, *REJECTS, "quantizer.npz", "vocabulary.csv", "withheld/test_labels.parquet"):
            touch(root / path, path)
        shards = [Shard(partition, index, of) for partition in Partition for index in range(of)]
        for shard in shards:
            for level in LEVELS:
                touch(root / shard.file(level), f"{level} {shard}")
        self.steps = [
            PcaStep("pca", "key", self.entries(*PCA), PcaFacts("fitted", 8, 1e-4, "")),
            CodebookStep("quantizer", "key", self.entries("quantizer.npz"), CodebookFacts("optimal", "shared", "")),
            *(self.step(shard) for shard in shards),
        ]
        self.write_manifest()

    def entries(self, *paths: str) -> tuple[FileEntry, ...]:
        return tuple(file_entry(self.layout, path) for path in paths)

    def step(self, shard: Shard) -> Step:
        facts = ShardFacts(shard.partition, 0, 0, Distortion())
        return ShardStep(shard.name, "key", self.entries(*(shard.file(level) for level in LEVELS)), facts)

    def write_manifest(self) -> None:
        tables = self.entries("vocabulary.csv", "withheld/test_labels.parquet", *REJECTS)
        values = {
            "build_key": "key",
            "config": {},
            "inputs": {},
            "versions": {},
            "feature_space": {"fingerprint": "space"},
            "pca": fitted_row(self.steps[0]),
            "quantizer": fitted_row(self.steps[1]),
            "partitions": {partition: PartitionSummary().to_json() for partition in Partition},
            "accounting": [],
            "warnings": [],
            "encoded": {"from": "features"},
            **shard_parts(self.steps[2:]),
            "files": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in tables],
        }
        write_manifest(self.layout, values)

    @property
    def manifest(self) -> Manifest:
        return Manifest.of(self.layout)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "dataset", 2)


class TestFinish:
    def test_the_mark_has_the_digest_of_the_manifest_as_sha256sum_writes_it(self, folder: Folder) -> None:
        finish(folder.layout)
        digest = hashlib.sha256((folder.root / "manifest.json").read_bytes()).hexdigest()
        assert (folder.root / "COMPLETE").read_text() == f"{digest}  manifest.json\n"
        check = subprocess.run(["sha256sum", "--check", "COMPLETE"], cwd=folder.root, capture_output=True, check=False)
        assert check.returncode == 0

    def test_shards_that_the_manifest_does_not_list_go_and_all_else_stays(self, folder: Folder) -> None:
        before = names(folder.root)
        Folder(folder.root, 3)
        foreign = ["notes.txt", "pca/old.npy", "frames/train/mine.tfrecord", "withheld/more.txt"]
        for path in foreign:
            touch(folder.root / path)
        obsolete = [path for path in before if "-of-00002" in path]
        assert len(obsolete) == 12
        finish(folder.layout)
        after = names(folder.root)
        assert set(before) - set(after) == set(obsolete)
        assert sum("-of-00003" in path for path in after) == 18
        assert set(foreign) < set(after)

    def test_rejects_that_the_manifest_does_not_list_go(self, folder: Folder) -> None:
        stale = ["rejects.parquet", *(f"rejects/decode-0000{index}-of-00002.parquet" for index in range(2))]
        for path in stale:
            touch(folder.root / path)
        finish(folder.layout)
        assert set(REJECTS) < set(names(folder.root))
        assert set(stale).isdisjoint(names(folder.root))

    def test_nothing_of_the_build_itself_remains(self, folder: Folder) -> None:
        begin(folder.layout, None)
        Journal(folder.layout).record(folder.steps[0])
        assert {".unfinished", ".journal/pca.json"} < set(names(folder.root))
        finish(folder.layout)
        assert not [path for path in names(folder.root) if path.startswith(".")]

    def test_a_build_without_manifest_has_not_ended(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="The build left no manifest"):
            finish(Layout(str(tmp_path)))
        assert names(tmp_path) == []

    @pytest.mark.parametrize("is_lost", [False, True])
    def test_a_refused_build_closes_its_own_folder_alone(self, folder: Folder, is_lost: bool) -> None:
        refused = DataError(what="refused", where="", why="", fix="")

        def build() -> None:
            with exclusive(folder.layout) as layout, written(layout, None):
                if is_lost:
                    (folder.root / ".lock").unlink()
                raise refused

        finish(folder.layout)
        with pytest.raises(DataError, match="refused"):
            build()
        assert (folder.root / "COMPLETE").exists() != is_lost


class TestBegin:
    def test_a_finished_dataset_is_opened_with_its_steps_in_the_journal(self, folder: Folder) -> None:
        finish(folder.layout)
        begin(folder.layout, None)
        journal = Journal(folder.layout)
        assert not (folder.root / "COMPLETE").exists()
        assert [journal.find(step.name, "key") for step in folder.steps] == folder.steps

    def test_a_killed_build_goes_on_with_its_own_journal(self, folder: Folder) -> None:
        """The manifest of an unfinished folder may be older than its shards."""
        begin(folder.layout, None)
        newer = Journal(folder.layout).record(replace(folder.manifest.pca, key="newer"))
        begin(folder.layout, None)
        assert Journal(folder.layout).find("pca", "newer") == newer
        assert Journal(folder.layout).find("pca", "key") is None

    def test_what_a_killed_writer_left_goes(self, folder: Folder) -> None:
        leftover = folder.root / "frame" / "train" / f"x.tfrecord.tmp-{socket.gethostname()}-{'0' * 32}"
        touch(leftover)
        begin(folder.layout, None)
        assert not leftover.exists()

    def test_a_folder_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        touch(tmp_path / ".unfinished" / "in the way")
        with pytest.raises(DataError, match="A file cannot be written"):
            begin(Layout(str(tmp_path)), None)


class TestRebuilding:
    def test_only_a_finished_dataset_or_a_killed_rebuild_can_be_rebuilt(self, folder: Folder) -> None:
        assert not is_rebuildable(folder.layout)
        begin(folder.layout, None)
        assert not is_rebuildable(folder.layout)
        finish(folder.layout)
        assert is_rebuildable(folder.layout)
        begin(folder.layout, Partition.TEST)
        assert is_rebuildable(folder.layout)
        begin(folder.layout, None)
        assert not is_rebuildable(folder.layout)

    def test_a_refused_rebuild_that_wrote_nothing_leaves_the_dataset_complete(self, folder: Folder) -> None:
        finish(folder.layout)
        before = {name: (folder.root / name).read_bytes() for name in names(folder.root)}
        begin(folder.layout, Partition.VALIDATE)
        withdraw(folder.layout, Partition.VALIDATE)
        assert {name: (folder.root / name).read_bytes() for name in names(folder.root)} == before

    @pytest.mark.parametrize(
        "path", ["frame/validate/validate-00001-of-00002.tfrecord", "vocabulary.csv", "videos", *REJECTS]
    )
    def test_a_refused_rebuild_that_wrote_something_does_not(self, folder: Folder, path: str) -> None:
        finish(folder.layout)
        begin(folder.layout, Partition.VALIDATE)
        if path == "videos":
            (folder.root / "video" / "validate" / "validate-00000-of-00002.tfrecord").unlink()
        else:
            touch(folder.root / path, "other")
        withdraw(folder.layout, Partition.VALIDATE)
        assert not (folder.root / "COMPLETE").exists()
        assert is_rebuildable(folder.layout)
