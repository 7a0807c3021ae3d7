import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import DropReason, SampledFrame
from yt8m_pipeline.errors import DataError, VideoRejected
from yt8m_pipeline.extraction import sandbox as sandbox_module
from yt8m_pipeline.extraction.decoding import decode_frames
from yt8m_pipeline.extraction.sandbox import Sandbox

from .clips import encode, encode_huge, number_of

SIZE = 48
LONG, LONG_SIZE = 40, 512  # 40 frames of 768 KiB: far more than a socket holds, so that the child has to wait


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    path.write_bytes(encode(range(0, 3500, 100)))
    return str(path)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("films") / "long.mp4"
    path.write_bytes(encode(range(0, LONG * 1000, 1000)))
    return str(path)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Decoding(timeout_seconds=30), SIZE) as ready:
        yield ready


def children() -> set[int]:
    """Every child of this process, zombies too."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return {int(pid) for pid in listed}


def the_child(before: set[int]) -> int:
    (pid,) = children() - before
    return pid


def numbers(frames: Iterator[SampledFrame]) -> list[int]:
    return [number_of(frame.rgb) for frame in frames]


def rejection(sandbox: Sandbox, uri: str | Path) -> VideoRejected:
    with pytest.raises(VideoRejected) as caught:
        list(sandbox.decode(str(uri)))
    return caught.value


def test_the_frames_are_those_of_the_decoder(sandbox: Sandbox, film: str) -> None:
    with open(film, "rb") as stream:
        direct = list(decode_frames(stream, Decoding(max_seconds=360.0), SIZE))
    boxed = list(sandbox.decode(film))
    assert [(frame.index, frame.pts_seconds) for frame in boxed] == [(f.index, f.pts_seconds) for f in direct]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(boxed, direct, strict=True))
    assert len(boxed) == 4


def test_the_config_reaches_the_decoder(film: str) -> None:
    with Sandbox(Decoding(frames_per_second=2, max_seconds=1.2), 32) as sandbox:
        frames = list(sandbox.decode(film))
    assert [number_of(frame.rgb) for frame in frames] == [0, 5, 10]
    assert frames[0].rgb.shape == (32, 32, 3)


def test_one_child_serves_many_videos_and_rejections(sandbox: Sandbox, film: str, tmp_path: Path) -> None:
    before = children()
    text = tmp_path / "text.mp4"
    text.write_text("not a film " * 100, encoding="utf-8")
    seen = set()
    for _ in range(3):
        assert numbers(sandbox.decode(film)) == [0, 10, 20, 30]
        assert rejection(sandbox, text).reason is DropReason.NOT_A_VIDEO
        seen.add(the_child(before))
    assert len(seen) == 1


def test_no_child_is_started_before_it_is_needed(tmp_path: Path) -> None:
    before = children()
    with Sandbox(Decoding(), SIZE) as sandbox:
        assert rejection(sandbox, tmp_path / "none.mp4").reason is DropReason.MISSING_FILE
        assert children() == before


def test_a_video_that_is_not_there_is_missing(sandbox: Sandbox, film: str, tmp_path: Path) -> None:
    for uri in (str(tmp_path / "none.mp4"), f"{film}/below", f"file://{tmp_path}/none.mp4"):
        missing = rejection(sandbox, uri)
        assert missing.reason is DropReason.MISSING_FILE
        assert missing.detail == f"{uri}: no such file"


def test_an_empty_video_is_empty(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    empty = rejection(sandbox, tmp_path / "empty.mp4")
    assert (empty.reason, empty.detail) == (DropReason.EMPTY_FILE, f"{tmp_path}/empty.mp4: 0 bytes")


def test_a_folder_a_pipe_and_a_bad_uri_are_io_errors_and_never_block(sandbox: Sandbox, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for uri in (str(tmp_path), str(tmp_path / "pipe.mp4")):
        refused = rejection(sandbox, uri)
        assert refused.reason is DropReason.IO_ERROR
        assert "not a regular file" in refused.detail
    assert rejection(sandbox, "nowhere://bucket/film.mp4").reason is DropReason.IO_ERROR
    assert rejection(sandbox, f"{tmp_path}/nul\0.mp4").reason is DropReason.IO_ERROR


def test_a_file_uri_and_a_remote_video_are_decoded(
    sandbox: Sandbox, film: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert numbers(sandbox.decode(f"file://{film}")) == [0, 10, 20, 30]
    monkeypatch.setattr("yt8m_pipeline.files.is_local", lambda _: False)
    assert numbers(sandbox.decode(film)) == [0, 10, 20, 30]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_costs_one_video(sandbox: Sandbox, film: str, long_film: str, number: signal.Signals) -> None:
    before = children()
    frames = sandbox.decode(long_film)
    next(frames)
    crashed = the_child(before)
    os.kill(crashed, number)
    with pytest.raises(VideoRejected, match=f"the decoder ended by signal {number.name}") as caught:
        list(frames)
    assert caught.value.reason is DropReason.DECODER_CRASHED
    assert numbers(sandbox.decode(film)) == [0, 10, 20, 30]
    assert the_child(before) != crashed


def test_a_child_that_died_while_idle_costs_no_video(sandbox: Sandbox, film: str) -> None:
    before = children()
    assert numbers(sandbox.decode(film)) == [0, 10, 20, 30]
    os.kill(the_child(before), signal.SIGKILL)
    time.sleep(0.1)
    assert numbers(sandbox.decode(film)) == [0, 10, 20, 30]


def test_a_hang_costs_one_video(film: str, long_film: str) -> None:
    before = children()
    with Sandbox(Decoding(timeout_seconds=1.0), LONG_SIZE) as sandbox:
        frames = sandbox.decode(long_film)
        next(frames)
        hung = the_child(before)
        os.kill(hung, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(VideoRejected, match="the decoder took too long and was killed") as caught:
            list(frames)
        assert caught.value.reason is DropReason.DECODE_TIMEOUT
        assert 0.5 < time.monotonic() - began < 10
        assert hung not in children()
        assert numbers(sandbox.decode(film)) == [0, 10, 20, 30]


def test_the_time_that_the_consumer_takes_does_not_count(long_film: str) -> None:
    with Sandbox(Decoding(timeout_seconds=1.0), LONG_SIZE) as sandbox:
        frames = sandbox.decode(long_film)
        next(frames)
        time.sleep(1.1)
        assert len(list(frames)) == LONG - 1


@pytest.mark.parametrize("how", ["closed", "collected"])
def test_an_iterator_left_half_way_leaves_the_sandbox_usable(
    sandbox: Sandbox, film: str, long_film: str, how: str
) -> None:
    before = children()
    frames = sandbox.decode(long_film)
    next(frames)
    left = the_child(before)
    assert isinstance(frames, Generator)
    if how == "closed":
        frames.close()
    else:
        del frames
        gc.collect()
    assert left not in children()
    assert numbers(sandbox.decode(film)) == [0, 10, 20, 30]


def test_want_of_memory_costs_one_video_and_one_child(tmp_path: Path, film: str) -> None:
    before = children()
    (tmp_path / "bomb.mkv").write_bytes(encode_huge(6000))
    with Sandbox(Decoding(memory_limit_mib=256), SIZE) as sandbox:
        list(sandbox.decode(film))
        starved = the_child(before)
        refused = rejection(sandbox, tmp_path / "bomb.mkv")
        assert refused.reason is DropReason.DECODER_CRASHED
        assert "the decoder ended by exit status 1: av.error.MemoryError" in refused.detail
        assert numbers(sandbox.decode(film)) == [0, 10, 20, 30]
        assert the_child(before) != starved


def test_a_child_that_cannot_start_is_an_error_with_four_parts(film: str) -> None:
    starved = Decoding.model_construct(memory_limit_mib=40)
    with Sandbox(starved, SIZE) as sandbox, pytest.raises(DataError, match="decoding process does not start") as caught:
        list(sandbox.decode(film))
    assert "exit status" in caught.value.why
    assert "memory_limit_mib" in caught.value.fix


def test_an_answer_against_the_protocol_is_a_crash(monkeypatch: pytest.MonkeyPatch, film: str) -> None:
    with Sandbox(Decoding(), SIZE) as sandbox:
        frames = sandbox.decode(film)
        next(frames)
        monkeypatch.setattr(sandbox_module, "FRAME", b"?")
        with pytest.raises(VideoRejected, match="the decoder broke its protocol") as caught:
            list(frames)
    assert caught.value.reason is DropReason.DECODER_CRASHED


def test_nothing_is_left_behind(film: str, long_film: str) -> None:
    before, descriptors = children(), set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Sandbox(Decoding(), SIZE) as sandbox:
            list(sandbox.decode(film))
            frames = sandbox.decode(long_film)
            next(frames)
            os.kill(the_child(before), signal.SIGSEGV)
            with pytest.raises(VideoRejected):
                list(frames)
            list(sandbox.decode(film))
    assert children() == before
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_the_child_holds_no_file_but_the_video_and_may_open_none(sandbox: Sandbox, long_film: str) -> None:
    before = children()
    frames = sandbox.decode(long_film)
    next(frames)
    pid = the_child(before)
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    open_files = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert sorted(open_files) == [0, 1, 2, 3]
    assert open_files[3] == long_film
    assert "Max open files            4                    4" in limits
    assert "Max core file size        0                    0" in limits
    assert "Max file size             0                    0" in limits
    assert f"Max address space         {4096 * 2**20}           {4096 * 2**20}" in limits
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"HOME=" not in environment


PARENT = """
import os, sys
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.extraction.sandbox import Sandbox
sandbox = Sandbox(Decoding(), 512)
frames = sandbox.decode(sys.argv[1])
next(frames)
print(open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)
sys.stdin.read()
"""


def test_a_killed_parent_leaves_no_child(long_film: str) -> None:
    command = [sys.executable, "-c", PARENT, long_film]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _is_running(child)
        parent.kill()
    deadline = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_running(child)


ENDLESS = """
import hashlib, threading
from yt8m_pipeline.extraction.sandbox import _end_with_parent
threading.Thread(target=_end_with_parent, daemon=True).start()
print(flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


def test_a_child_in_an_endless_loop_of_a_library_ends_with_its_parent() -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", ENDLESS]
    with theirs, subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.PIPE) as endless:
        theirs.close()
        assert endless.stdout is not None
        endless.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            endless.wait(0.2)
        ours.close()
        assert endless.wait(10) == 0


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] not in {"Z", "X"}
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("kind", ["hls", "concat", "sdp", "dash", "subfile"])
def test_a_playlist_renamed_to_mp4_reaches_neither_a_file_nor_a_socket(
    sandbox: Sandbox, film: str, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(Path(film).read_bytes())
    os.utime(secret, (1, 1))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/film.ts"
        texts = {
            "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
            "concat": f"ffconcat version 1.0\nfile {secret}\nfile {url}\n",
            "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video "
            f"{server.getsockname()[1]} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
            "dash": f'<?xml version="1.0"?><MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>',
            "subfile": f"#EXTM3U\n#EXTINF:9,\nsubfile,,start,0,end,0,,:{secret}\n",
        }
        playlist = tmp_path / "playlist.mp4"
        playlist.write_text(texts[kind], encoding="ascii")
        assert rejection(sandbox, playlist).reason is DropReason.NOT_A_VIDEO
        with pytest.raises(TimeoutError):
            server.accept()
    assert os.stat(secret).st_atime == 1
