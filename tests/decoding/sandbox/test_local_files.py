"""Which local files are opened as videos: regular ones, wherever they are, unless the config says where."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.decoding.sandbox.local_files import open_local
from yt8m_pipeline.decoding.sandbox.parent import require_readable
from yt8m_pipeline.places import ANYWHERE, SYSTEM_FOLDERS, Places


def rejection(uri: Path | str, places: Places | None = ANYWHERE) -> VideoRejected:
    with pytest.raises(VideoRejected) as refused:
        require_readable(str(uri), places)
    return refused.value


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "corpus" / "what? #1 100%.mp4"
    path.parent.mkdir()
    path.write_bytes(b"video")
    return path


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def device_at(path: Path) -> None:
    path.symlink_to("/dev/zero")


class TestWhatIsOpened:
    def test_a_file_of_any_name(self, video: Path) -> None:
        with open_local(str(video), ANYWHERE) as opened:
            assert opened.read() == b"video"

    def test_links_and_absolute_paths_lead_everywhere(self, video: Path, tmp_path: Path) -> None:
        (tmp_path / "link.mp4").symlink_to(video)
        (tmp_path / "folder").symlink_to(video.parent)
        for path in (tmp_path / "link.mp4", tmp_path / "folder" / video.name):
            with open_local(str(path), ANYWHERE) as opened:
                assert opened.read() == b"video"


class TestWhatIsNot:
    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, socket_at, device_at])
    def test_what_is_no_regular_file_is_never_opened(
        self, make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        make(Path("x.mp4"))
        Path("link.mp4").symlink_to("x.mp4")
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
        for uri in (str(tmp_path / "x.mp4"), str(tmp_path / "link.mp4")):
            refused = rejection(uri)
            assert (refused.reason, refused.detail) == (DropReason.NOT_A_VIDEO, f"{uri}: not a regular file")

    @pytest.mark.skipif(not os.path.ismount("/proc"), reason="no /proc")
    @pytest.mark.parametrize("place", ["/proc/self/environ", "/proc/version", "/sys/kernel"])
    def test_files_of_the_kernel_are_never_opened(
        self, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "link.mp4").symlink_to(place)
        (tmp_path / "folder").symlink_to(Path(place).parent)
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
        dotted = f"/tmp/../{place}"
        for uri in (place, dotted, str(tmp_path / "link.mp4"), str(tmp_path / "folder" / Path(place).name)):
            assert rejection(uri).reason is DropReason.URI_NOT_ACCEPTED

    @pytest.mark.skipif(not os.path.ismount("/proc"), reason="no /proc")
    def test_a_folder_that_becomes_a_link_to_the_kernel_meanwhile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look at a path and its opening, a part of it changes."""
        (tmp_path / "file").touch()
        (tmp_path / "folder").symlink_to("/proc/self")
        before, stat = os.lstat(tmp_path / "file"), os.stat
        monkeypatch.setattr(os.path, "realpath", lambda path, **_: path)
        monkeypatch.setattr(os, "stat", lambda path, **_: stat(path) if path in SYSTEM_FOLDERS else before)
        assert rejection(tmp_path / "folder" / "environ").reason is DropReason.URI_NOT_ACCEPTED

    def test_a_pipe_that_takes_a_files_place_meanwhile_does_not_block(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(tmp_path / "pipe.mp4")
        (tmp_path / "file").touch()
        seen = os.lstat(tmp_path / "file")
        stat = os.stat
        monkeypatch.setattr(os, "stat", lambda path, **_: stat(path) if path in SYSTEM_FOLDERS else seen)
        assert rejection(tmp_path / "pipe.mp4").reason is DropReason.NOT_A_VIDEO


class TestOutsideOfTheRoot:
    def test_only_real_paths_in_the_root_are_read(self, video: Path, tmp_path: Path) -> None:
        closed = Places(str(video.parent), outside_root=False)
        outside = tmp_path / "outside.mp4"
        outside.write_bytes(b"secret")
        (video.parent / "out.mp4").symlink_to(outside)
        (video.parent / "in.mp4").symlink_to(video)
        (tmp_path / "corpus2").mkdir()
        (tmp_path / "corpus2" / "x.mp4").write_bytes(b"secret")
        for uri in (outside, video.parent / "out.mp4", video.parent / "../outside.mp4", tmp_path / "corpus2/x.mp4"):
            refused = rejection(uri, closed)
            assert refused.reason is DropReason.URI_NOT_ACCEPTED
            assert refused.detail == f"uri {uri}: it is outside tables.root (tables.allow_outside_root)"
            require_readable(str(uri), ANYWHERE)
        for uri in (video, video.parent / "in.mp4", video.parent / "x" / ".." / video.name):
            require_readable(str(uri), closed)

    def test_a_root_that_is_a_link(self, video: Path, tmp_path: Path) -> None:
        (tmp_path / "root").symlink_to(video.parent)
        require_readable(str(video), Places(str(tmp_path / "root"), outside_root=False))
