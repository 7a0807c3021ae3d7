"""Files are written whole or not at all, and what killed writers left behind goes."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from pyarrow.fs import LocalFileSystem

from yt8m_pipeline import files
from yt8m_pipeline.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


class TestOpenAtomic:
    def test_the_file_appears_whole_when_the_block_ends(self, tmp_path: Path) -> None:
        with files.open_atomic(str(tmp_path / "new" / "file")) as stream:
            stream.write(b"half")
            (unfinished,) = names(tmp_path / "new")
            assert re.fullmatch(rf"file\.tmp-{re.escape(socket.gethostname())}-[0-9a-f]{{32}}", unfinished)
            stream.write(b" and half")
        assert names(tmp_path / "new") == ["file"]
        assert (tmp_path / "new" / "file").read_bytes() == b"half and half"

    @pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt])
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path: Path, failure: type[BaseException]) -> None:
        files.write_bytes(str(tmp_path / "file"), b"old")

        def fail() -> None:
            with files.open_atomic(str(tmp_path / "file")) as stream:
                stream.write(b"new")
                raise failure

        with pytest.raises(failure):
            fail()
        assert names(tmp_path) == ["file"]
        assert files.read_bytes(str(tmp_path / "file")) == b"old"

    def test_a_full_disk_is_named_and_leaves_nothing(self, tmp_path: Path) -> None:
        def fail() -> None:
            with files.open_atomic(str(tmp_path / "file")):
                raise OSError(28, "No space left on device")

        with pytest.raises(DataError, match="A file cannot be written") as caught:
            fail()
        assert (caught.value.where, caught.value.fix[:10]) == (str(tmp_path / "file"), "free space")
        assert "No space left on device" in caught.value.why
        assert names(tmp_path) == []

    @pytest.mark.parametrize("name", ["file/below", "folder"])
    def test_what_cannot_be_written_is_a_data_error(self, tmp_path: Path, name: str) -> None:
        """Below a file, and over a folder that is not empty."""
        touch(tmp_path / "file")
        touch(tmp_path / "folder" / "something")
        with pytest.raises(DataError, match="A file cannot be written"):
            files.write_bytes(str(tmp_path / name), b"")
        assert names(tmp_path) == ["file", "folder"]

    @pytest.mark.parametrize("durable", [True, False])
    def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
    ) -> None:
        done, fsync, replace = list[str](), os.fsync, os.replace

        def noted_fsync(descriptor: int) -> None:
            done.append(re.sub(r"\.tmp-.*", ".tmp", Path(f"/proc/self/fd/{descriptor}").readlink().name))
            fsync(descriptor)

        def noted_replace(old: str, new: str) -> None:
            done.append("rename")
            assert Path(old).read_bytes() == b"all"
            replace(old, new)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(os, "replace", noted_replace)
        files.write_bytes(str(tmp_path / "new" / "folder" / "file"), b"all", durable=durable)
        made = [tmp_path.name, "new"]
        assert done == made + (["file.tmp", "rename", "folder"] if durable else ["rename"])

    def test_a_file_uri_is_a_local_path(self, tmp_path: Path) -> None:
        files.write_bytes(f"file://{tmp_path}/file", b"text")
        assert (tmp_path / "file").read_bytes() == b"text"
        assert files.is_local(f"file://{tmp_path}/file")
        assert not files.is_local("gs://bucket/file")


class TestDeleteTemporaries:
    def test_only_those_of_dead_writers_of_this_host_go(self, tmp_path: Path) -> None:
        host, token = socket.gethostname(), "0123456789abcdef" * 2
        abandoned = touch(tmp_path / "frame" / "train" / f"x.tfrecord.tmp-{host}-{token}")
        kept = [
            touch(tmp_path / name)
            for name in (
                f"a.tmp-elsewhere-{token}",
                f"b.tmp-{host}-",
                f"c.tmp-{host}-x{token}",
                f"d-{host}-{token}",
                f"e.tmp-{host}-{token}.npz",
                f"f.tmp-{host}-{token}.new",
                "g.npz",
            )
        ]
        with files.open_atomic(str(tmp_path / "at work")):
            removed = files.delete_temporaries(str(tmp_path))
        assert removed == [abandoned.relative_to(tmp_path).as_posix()]
        assert not abandoned.exists()
        assert all(path.exists() for path in kept)
        assert (tmp_path / "at work").exists()

    def test_a_writer_in_another_namespace_of_process_ids_is_at_work(self, tmp_path: Path) -> None:
        """Containers of one image may have one host name, and the process ids of one are those of nobody in another."""
        code = (
            "import sys; from yt8m_pipeline import files\n"
            "with files.open_atomic(sys.argv[1]) as stream:\n"
            "    stream.write(b'whole'); print(flush=True); sys.stdin.read()"
        )
        far = 'echo 3999999 > /proc/sys/kernel/ns_last_pid; "$@"; exit $?'
        command = [
            "unshare",
            "--pid",
            "--fork",
            "sh",
            "-c",
            far,
            "sh",
            sys.executable,
            "-c",
            code,
            str(tmp_path / "file"),
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            if not writer.stdout.readline():
                pytest.skip("only root can make a namespace of process ids")
            assert files.delete_temporaries(str(tmp_path)) == []
            writer.communicate()
        assert (tmp_path / "file").read_bytes() == b"whole"

    def test_a_file_that_cannot_be_deleted_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path / f"a.tmp-{socket.gethostname()}-{'0' * 32}")
        late = mock.Mock(wraps=LocalFileSystem())
        late.delete_file.side_effect = OSError(30, "Read-only file system")
        monkeypatch.setattr(files, "resolve", lambda uri: (late, uri))
        assert files.delete_temporaries(str(tmp_path)) == []
        assert len(names(tmp_path)) == 1

    def test_a_killed_writer_leaves_nothing_after_it(self, tmp_path: Path) -> None:
        code = (
            "import os, signal, sys; from yt8m_pipeline import files\n"
            "with files.open_atomic(sys.argv[1]) as stream:\n"
            "    stream.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=False)
        (leftover,) = names(tmp_path)
        assert files.delete_temporaries(str(tmp_path)) == [leftover]
        assert names(tmp_path) == []

    def test_no_folder_has_none(self, tmp_path: Path) -> None:
        assert files.delete_temporaries(str(tmp_path / "nothing")) == []


class TestListingAndSizes:
    def test_files_are_listed_sorted_and_relative_to_the_folder(self, tmp_path: Path) -> None:
        for name in ("b", "a/z", "a/c/.hidden", "é"):
            touch(tmp_path / name)
        (tmp_path / "empty").mkdir()
        expected = ["a/c/.hidden", "a/z", "b", "é"]
        assert files.list_files(str(tmp_path)) == expected
        assert files.list_files(f"{tmp_path}/") == expected
        assert files.list_files(f"file://{tmp_path}") == expected
        assert files.list_files(str(tmp_path / "nothing")) == []

    def test_only_files_have_a_size(self, tmp_path: Path) -> None:
        files.write_bytes(str(tmp_path / "file"), b"four")
        assert files.file_size(str(tmp_path / "file")) == 4
        assert files.file_size(str(tmp_path)) is None
        assert not files.exists(str(tmp_path))
        assert not files.exists(str(tmp_path / "nothing"))

    def test_a_description_changes_with_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"four")
        os.utime(path, (0, 0))
        assert files.describe(str(path)) == (4, "1970-01-01T00:00:00+00:00")
        assert files.describe(str(tmp_path / "nothing")) == (0, "")

    def test_deleting_what_is_not_there_is_no_error(self, tmp_path: Path) -> None:
        touch(tmp_path / "folder" / "file")
        files.delete(str(tmp_path / "nothing"))
        files.delete(str(tmp_path / "folder"))
        files.delete_folder(str(tmp_path / "nothing"))
        assert files.list_files(str(tmp_path)) == ["folder/file"]
        files.delete(str(tmp_path / "folder" / "file"))
        files.delete_folder(str(tmp_path / "folder"))
        assert names(tmp_path) == []

    @pytest.mark.parametrize(
        ("root", "joined"), [("a", "a/b/c"), ("a/", "a/b/c"), ("/", "/b/c"), ("gs://bucket/", "gs://bucket/b/c")]
    )
    def test_paths_are_joined_with_one_slash(self, root: str, joined: str) -> None:
        assert files.join(root, "b", "c") == joined


def test_what_another_process_deletes_at_the_same_time_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = touch(tmp_path / "file")
    there = LocalFileSystem().get_file_info(str(path))
    path.unlink()
    late = mock.Mock(wraps=LocalFileSystem())
    late.get_file_info.return_value = there
    monkeypatch.setattr(files, "resolve", lambda uri: (late, uri))
    files.delete(str(path))
