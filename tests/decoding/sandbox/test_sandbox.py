import gc
import io
import json
import os
import resource
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from tests.decoding.clips import encode, encode_huge, encode_two_sizes, number_of
from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.probing import probe
from yt8m_pipeline.decoding.sandbox import child as sandbox_child
from yt8m_pipeline.decoding.sandbox import parent as sandbox_module
from yt8m_pipeline.decoding.sandbox.child import RemoteFile
from yt8m_pipeline.decoding.sandbox.confinement import Protection
from yt8m_pipeline.decoding.sandbox.parent import Sandbox, missing_protections
from yt8m_pipeline.decoding.sandbox.protocol import BLOCK_BYTES
from yt8m_pipeline.errors import DataError

SIZE = 48
LONG, LONG_SIZE = 40, 512  # 40 frames of 768 KiB: far more than may wait, so that the child has to
NUMBERS = [0, 10, 20, 30]


@pytest.fixture(autouse=True)
def few_frames_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module, "AHEAD_BYTES", 2**20)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("videos") / "video.mp4"
    path.write_bytes(encode(range(0, 3500, 100)))
    return str(path)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("videos") / "long.mp4"
    path.write_bytes(encode(range(0, LONG * 1000, 1000)))
    return str(path)


@pytest.fixture(scope="module")
def strangers() -> set[int]:
    """Every process: children of other threads, which other tests may have left, can become this thread's."""
    return {int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()}


@pytest.fixture(scope="module")
def sandbox(strangers: set[int]) -> Iterator[Sandbox]:  # noqa: ARG001  before the sandbox starts a child
    with Sandbox(Decoding(timeout_seconds=30), LONG_SIZE) as ready:
        yield ready


def children() -> set[int]:
    """Every child of this process, zombies too."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return {int(pid) for pid in listed}


def the_child(strangers: set[int]) -> int:
    (pid,) = children() - strangers
    return pid


def numbers(frames: Iterator[SampledFrame]) -> list[int]:
    return [number_of(frame.rgb) for frame in frames]


def rejection(sandbox: Sandbox, uri: str | Path) -> VideoRejected:
    with pytest.raises(VideoRejected) as caught:
        list(sandbox.decode(str(uri)))
    return caught.value


def decoded_fraction(sandbox: Sandbox, uri: str | Path) -> float:
    frames = sandbox.decode(str(uri))
    while True:
        try:
            next(frames)
        except StopIteration as end:
            assert isinstance(end.value, Decoded)
            return end.value.decoded_fraction


def as_remote(monkeypatch: pytest.MonkeyPatch, file: io.BytesIO | None = None) -> None:
    """Makes every video one that the child gets no descriptor of; and this file, if one is given."""

    @contextmanager
    def opened(_: str) -> Iterator[io.BytesIO]:
        assert file is not None
        yield file

    monkeypatch.setattr(files, "is_local", lambda _: False)
    if file is not None:
        monkeypatch.setattr(files, "open_read", opened)


class TestFrames:
    def test_they_are_those_of_the_decoder(self, sandbox: Sandbox, video: str) -> None:
        with open(video, "rb") as stream:
            direct = list(decode_frames(stream, Decoding(), LONG_SIZE))
        boxed = list(sandbox.decode(video))
        assert [(frame.index, frame.pts_seconds) for frame in boxed] == [(f.index, f.pts_seconds) for f in direct]
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(boxed, direct, strict=True))
        assert numbers(iter(boxed)) == NUMBERS

    @pytest.mark.parametrize(("code", "name"), [(16, "PQ"), (18, "HLG"), (1, "")])
    def test_each_tells_a_high_dynamic_range(self, sandbox: Sandbox, tmp_path: Path, code: int, name: str) -> None:
        def transfer(stream: VideoStream) -> None:
            stream.codec_context.color_trc = code

        (tmp_path / "video.mp4").write_bytes(encode(range(0, 3500, 100), prepare=transfer))
        assert [frame.transfer for frame in sandbox.decode(str(tmp_path / "video.mp4"))] == [name] * 4

    def test_the_config_reaches_the_decoder(self, video: str) -> None:
        with Sandbox(Decoding(frames_per_second=2, max_seconds=1.2), 32) as sandbox:
            frames = list(sandbox.decode(video))
        assert numbers(iter(frames)) == [0, 5, 10]
        assert frames[0].rgb.shape == (32, 32, 3)

    def test_the_decoded_fraction_is_returned(self, sandbox: Sandbox, video: str) -> None:
        assert decoded_fraction(sandbox, video) == 1.0

    def test_a_file_uri_is_decoded(self, sandbox: Sandbox, video: str) -> None:
        assert numbers(sandbox.decode(f"file://{video}")) == NUMBERS

    @pytest.mark.parametrize("frames", [False, True])
    def test_facts_are_those_of_the_probe(self, sandbox: Sandbox, video: str, frames: bool) -> None:
        with open(video, "rb") as stream:
            direct = probe(stream, Decoding(), frames=frames)
        assert sandbox.probe(video, frames=frames) == direct
        assert len(direct.frames) == (4 if frames else 0)

    def test_without_a_size_each_has_its_own(self, video: str) -> None:
        with open(video, "rb") as stream, Sandbox(Decoding(), None) as sandbox:
            direct, boxed = list(decode_frames(stream, Decoding())), list(sandbox.decode(video))
        assert {frame.rgb.shape for frame in boxed} == {(48, 64, 3)}
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(boxed, direct, strict=True))

    def test_a_video_that_changes_its_size_has_frames_of_several(self, tmp_path: Path) -> None:
        (tmp_path / "video.ts").write_bytes(encode_two_sizes())
        with Sandbox(Decoding(), None) as sandbox:
            frames = list(sandbox.decode(str(tmp_path / "video.ts")))
        assert [frame.rgb.shape for frame in frames] == [(48, 64, 3)] * 2 + [(96, 128, 3)] * 2
        assert numbers(iter(frames)) == [0, 25, 0, 25]

    def test_a_frame_above_the_limit_rejects_the_video_where_it_keeps_its_size(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        path = tmp_path / "huge.mkv"
        path.write_bytes(encode_huge(6720))
        with Sandbox(Decoding(), None) as in_own_size:
            refused = rejection(in_own_size, path)
        assert refused.reason is DropReason.FRAME_TOO_LARGE
        assert not refused.reason.is_transient
        assert refused.detail == "a frame of 6720 × 6720 pixels has 135475200 bytes, above 134217728"
        assert len(list(sandbox.decode(str(path)))) == 1

    def test_one_child_serves_many_videos_probes_and_rejections(
        self, sandbox: Sandbox, strangers: set[int], video: str, tmp_path: Path
    ) -> None:
        text = tmp_path / "text.mp4"
        text.write_text("not a video " * 100, encoding="utf-8")
        seen = set()
        for _ in range(3):
            assert numbers(sandbox.decode(video)) == NUMBERS
            assert rejection(sandbox, text).reason is DropReason.NOT_A_VIDEO
            with pytest.raises(VideoRejected, match="the container cannot be opened"):
                sandbox.probe(str(text), frames=False)
            assert sandbox.probe(video, frames=False).codec == "h264"
            seen.add(the_child(strangers))
        assert len(seen) == 1


class TestOpening:
    def test_no_child_is_started_before_it_is_needed(self, tmp_path: Path) -> None:
        before = children()
        with Sandbox(Decoding(), SIZE) as sandbox:
            assert rejection(sandbox, tmp_path / "none.mp4").reason is DropReason.MISSING_FILE
            assert children() == before

    def test_a_video_that_is_not_there_is_missing(self, sandbox: Sandbox, video: str, tmp_path: Path) -> None:
        for uri in (str(tmp_path / "none.mp4"), f"{video}/below", f"file://{tmp_path}/none.mp4"):
            missing = rejection(sandbox, uri)
            assert missing.reason is DropReason.MISSING_FILE
            assert missing.detail == f"{uri}: no such file"

    def test_an_empty_video_is_empty(self, sandbox: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "empty.mp4").touch()
        empty = rejection(sandbox, tmp_path / "empty.mp4")
        assert (empty.reason, empty.detail) == (DropReason.EMPTY_FILE, f"{tmp_path}/empty.mp4: 0 bytes")

    def test_what_can_never_be_a_video_is_none_and_never_blocks(self, sandbox: Sandbox, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.mp4")
        for uri in (str(tmp_path), str(tmp_path / "pipe.mp4")):
            refused = rejection(sandbox, uri)
            assert (refused.reason, refused.detail) == (DropReason.NOT_A_VIDEO, f"{uri}: not a regular file")
        refused = rejection(sandbox, "nowhere://bucket/video.mp4")
        assert refused.reason is DropReason.NOT_A_VIDEO
        assert refused.detail.startswith("nowhere://bucket/video.mp4: Unrecognized filesystem type")
        assert "\n" not in refused.detail
        assert rejection(sandbox, f"{tmp_path}/nul\0.mp4").reason is DropReason.IO_ERROR


class Bucket(io.BytesIO):
    """A remote file that counts what is read of it, and may fail or end after some bytes."""

    def __init__(self, data: bytes, *, breaks_at: int | None = None, error: Exception | None = None) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []
        self.seeks, self.wait_seconds = 0, 0.0
        self._breaks_at, self._error = breaks_at, error

    def read(self, count: int | None = -1, /) -> bytes:
        time.sleep(self.wait_seconds)
        place = self.tell()
        data = super().read(count)
        self.reads.append((place, len(data)))
        if self._breaks_at is None or place + len(data) <= self._breaks_at:
            return data
        if self._error:
            raise self._error
        return data[: self._breaks_at - place]

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self.seeks += 1
        return super().seek(offset, whence)

    @property
    def bytes_read(self) -> int:
        return sum(count for _, count in self.reads)


REMOTE_SECONDS = 60


@pytest.fixture(scope="module", params=["moov last", "moov first"])
def remote_video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Thirteen blocks: a raw picture of 225 KiB each second."""

    def raw(stream: VideoStream) -> None:
        stream.width, stream.height, stream.pix_fmt = 320, 240, "rgb24"

    muxer = {"movflags": "faststart"} if request.param == "moov first" else {}
    path = tmp_path_factory.mktemp("remote") / "video.mov"
    ticks = range(0, REMOTE_SECONDS * 1000, 1000)
    video = encode(ticks, container="mov", codec="rawvideo", muxer=muxer, prepare=raw, path=path)
    assert (video.find(b"moov") < video.find(b"mdat")) == (request.param == "moov first")
    return video


class TestRemoteVideo:
    def test_its_frames_are_those_of_the_local_one(
        self, sandbox: Sandbox, video: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local, facts = list(sandbox.decode(video)), sandbox.probe(video, frames=True)
        as_remote(monkeypatch)
        remote = list(sandbox.decode(video))
        assert [frame.pts_seconds for frame in remote] == [frame.pts_seconds for frame in local]
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(remote, local, strict=True))
        assert sandbox.probe(video, frames=True) == facts

    def test_a_long_one_costs_no_more_than_its_first_blocks_and_its_index(
        self, remote_video: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = Bucket(remote_video)
        as_remote(monkeypatch, bucket)
        with Sandbox(Decoding(max_seconds=4), SIZE) as sandbox:
            assert numbers(sandbox.decode("gs://bucket/video.mov")) == [0, 1, 2, 3]
        assert bucket.bytes_read <= 3 * BLOCK_BYTES < 13 * BLOCK_BYTES < len(remote_video)

    def test_a_whole_one_is_read_once_and_in_order(
        self, sandbox: Sandbox, remote_video: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = Bucket(remote_video)
        as_remote(monkeypatch, bucket)
        assert len(list(sandbox.decode("gs://bucket/video.mov"))) == REMOTE_SECONDS
        assert bucket.bytes_read <= len(remote_video) + 2 * BLOCK_BYTES
        assert bucket.seeks <= 5  # the size, the index, the end: elsewhere one stream goes on

    @pytest.mark.parametrize(
        ("damage", "kind"), [("strict", OSError), ("strict", pa.ArrowException), ("salvage", OSError)]
    )
    def test_an_error_half_way_is_an_io_error_and_no_verdict_on_the_video(
        self, remote_video: bytes, monkeypatch: pytest.MonkeyPatch, damage: str, kind: type[Exception]
    ) -> None:
        bucket = Bucket(remote_video, breaks_at=3 * BLOCK_BYTES + 7, error=kind("connection reset by peer"))
        as_remote(monkeypatch, bucket)
        decoding = Decoding.model_validate({"damage": damage})
        with Sandbox(decoding, SIZE) as sandbox:
            failed = rejection(sandbox, "gs://bucket/video.mov")
        assert failed.reason is DropReason.IO_ERROR
        assert failed.reason.is_transient
        assert failed.detail == "gs://bucket/video.mov: connection reset by peer"

    def test_one_that_shrinks_is_an_io_error(
        self, sandbox: Sandbox, remote_video: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        as_remote(monkeypatch, Bucket(remote_video, breaks_at=BLOCK_BYTES // 2))
        failed = rejection(sandbox, "gs://bucket/video.mov")
        assert failed.reason is DropReason.IO_ERROR
        assert failed.detail.endswith(": 1048576 bytes were due at 0, but 524288 came")

    def test_the_child_is_usable_after_an_io_error(
        self, sandbox: Sandbox, video: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            as_remote(patch, Bucket(Path(video).read_bytes(), breaks_at=0, error=OSError("no route to host")))
            assert rejection(sandbox, "gs://bucket/video.mp4").reason is DropReason.IO_ERROR
        assert numbers(sandbox.decode(video)) == NUMBERS

    def test_waiting_for_the_network_counts(self, video: str, monkeypatch: pytest.MonkeyPatch) -> None:
        bucket = Bucket(Path(video).read_bytes())
        bucket.wait_seconds = 0.6
        as_remote(monkeypatch, bucket)
        with Sandbox(Decoding(timeout_seconds=0.5), SIZE) as sandbox:
            assert rejection(sandbox, "gs://bucket/video.mp4").reason is DropReason.DECODE_TIMEOUT

    @given(
        st.binary(max_size=100),
        st.lists(
            st.tuples(st.just("seek"), st.tuples(st.integers(0, 120)))
            | st.tuples(st.just("seek"), st.tuples(st.integers(-120, 120), st.sampled_from([1, 2])))
            | st.tuples(st.just("read"), st.tuples(st.integers(-1, 120)))
            | st.tuples(st.just("tell"), st.just(()))
        ),
    )
    def test_its_blocks_read_as_one_file(self, data: bytes, calls: list[tuple[str, tuple[int, ...]]]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sandbox_child, "BLOCK_BYTES", 8)
            remote = RemoteFile(lambda number: data[8 * number :][:8], len(data))
            oracle = io.BytesIO(data)
            for name, arguments in calls:
                assert getattr(remote, name)(*arguments) == getattr(oracle, name)(*arguments)


class TestCrashesAndHangs:
    @pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
    def test_a_crash_costs_one_video(
        self, sandbox: Sandbox, strangers: set[int], video: str, long_video: str, number: signal.Signals
    ) -> None:
        frames = sandbox.decode(long_video)
        next(frames)
        crashed = the_child(strangers)
        os.kill(crashed, number)
        with pytest.raises(VideoRejected, match=f"the decoder ended by signal {number.name}") as caught:
            list(frames)
        assert caught.value.reason is DropReason.DECODER_CRASHED
        assert numbers(sandbox.decode(video)) == NUMBERS
        assert the_child(strangers) != crashed

    def test_a_child_that_died_while_idle_costs_no_video(
        self, sandbox: Sandbox, strangers: set[int], video: str
    ) -> None:
        assert numbers(sandbox.decode(video)) == NUMBERS
        idle = the_child(strangers)
        os.kill(idle, signal.SIGKILL)
        os.waitid(os.P_PID, idle, os.WEXITED | os.WNOWAIT)
        assert numbers(sandbox.decode(video)) == NUMBERS
        assert the_child(strangers) != idle

    def test_a_hang_costs_one_video(self, video: str, long_video: str) -> None:
        before = children()
        with Sandbox(Decoding(timeout_seconds=1.0, timeout_seconds_per_frame=0), LONG_SIZE) as sandbox:
            frames = sandbox.decode(long_video)
            next(frames)
            hung = the_child(before)
            os.kill(hung, signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(VideoRejected, match="the decoder took too long and was killed") as caught:
                list(frames)
            assert caught.value.reason is DropReason.DECODE_TIMEOUT
            assert time.monotonic() - began < 60
            assert hung not in children()
            assert numbers(sandbox.decode(video)) == NUMBERS

    def test_every_frame_that_arrives_gives_more_time(self, long_video: str) -> None:
        before = children()
        with Sandbox(Decoding(timeout_seconds=1.0, timeout_seconds_per_frame=0.4), LONG_SIZE) as sandbox:
            frames = sandbox.decode(long_video)
            for _ in range(4):
                next(frames)
            os.kill(the_child(before), signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(VideoRejected, match="took too long"):
                list(frames)
            assert 1.0 < time.monotonic() - began < 60

    def test_the_time_that_the_consumer_takes_does_not_count(self, long_video: str) -> None:
        with Sandbox(Decoding(timeout_seconds=3.0, timeout_seconds_per_frame=0), LONG_SIZE) as sandbox:
            frames = sandbox.decode(long_video)
            next(frames)
            time.sleep(3.1)
            assert len(list(frames)) == LONG - 1

    def test_want_of_memory_costs_one_video_and_one_child(self, tmp_path: Path, video: str) -> None:
        before = children()
        (tmp_path / "bomb.mkv").write_bytes(encode_huge(6000))
        with Sandbox(Decoding(memory_limit_mib=256), SIZE) as sandbox:
            list(sandbox.decode(video))
            starved = the_child(before)
            refused = rejection(sandbox, tmp_path / "bomb.mkv")
            assert refused.reason is DropReason.DECODER_CRASHED
            assert "the decoder ended by exit status 1: av.error.MemoryError" in refused.detail
            assert numbers(sandbox.decode(video)) == NUMBERS
            assert the_child(before) != starved

    def test_a_child_that_cannot_start_is_an_error_with_four_parts(self, video: str) -> None:
        starved = Decoding.model_construct(memory_limit_mib=40)
        with (
            Sandbox(starved, SIZE) as sandbox,
            pytest.raises(DataError, match="decoding process does not start") as caught,
        ):
            list(sandbox.decode(video))
        assert "exit status" in caught.value.why
        assert "memory_limit_mib" in caught.value.fix

    @pytest.mark.parametrize("left", [2, 4])
    def test_the_system_allowing_no_more_files_is_an_error_with_four_parts(self, video: str, left: int) -> None:
        """The video takes one; the socket two; the child's standard error two more."""
        limits, taken = resource.getrlimit(resource.RLIMIT_NOFILE), []
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            for _ in range(left):
                os.close(taken.pop())
            with Sandbox(Decoding(), SIZE) as sandbox, pytest.raises(DataError, match="does not start") as caught:
                list(sandbox.decode(video))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in taken:
                os.close(descriptor)
        assert "Too many open files" in caught.value.why
        assert "open files" in caught.value.fix

    def test_a_limit_that_cannot_be_raised_holds(self, video: str) -> None:
        """As of a batch system: lower than the config's."""
        decode = f"from {Sandbox.__module__} import *; list(Sandbox(Decoding(), {SIZE}).decode({video!r}))"
        limited = f"ulimit -v 3500000; exec {sys.executable} -c {shlex.quote(decode)}"
        subprocess.run(["bash", "-c", limited], check=True)

    def test_entries_of_the_path_that_are_no_texts_are_passed_over(
        self, sandbox: Sandbox, video: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Python does."""
        monkeypatch.setattr(sys, "path", [*sys.path, tmp_path, None])
        assert numbers(sandbox.decode(video)) == NUMBERS

    def test_a_probe_may_take_as_long_as_its_video_is_large(self, tmp_path: Path, video: str) -> None:
        large = tmp_path / "large.mkv"
        large.write_bytes(Path(video).read_bytes())
        os.truncate(large, 2**30)
        with Sandbox(Decoding(timeout_seconds=1e-9), SIZE) as sandbox:
            assert sandbox.probe(str(large), frames=False).frames_from_content
            with pytest.raises(VideoRejected, match="took too long"):
                list(sandbox.decode(video))

    def test_a_default_timeout_of_sockets_is_not_the_childs(self, sandbox: Sandbox, video: str) -> None:
        """As Beam leaves it, once it has looked for a service's credentials."""
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(60)
        try:
            assert numbers(sandbox.decode(video)) == NUMBERS
        finally:
            socket.setdefaulttimeout(before)

    @pytest.mark.parametrize("how", ["closed", "collected"])
    def test_an_iterator_left_half_way_leaves_the_sandbox_usable(
        self, sandbox: Sandbox, strangers: set[int], video: str, long_video: str, how: str
    ) -> None:
        frames = sandbox.decode(long_video)
        next(frames)
        left = the_child(strangers)
        if how == "closed":
            frames.close()
        else:
            del frames
            gc.collect()
        assert left not in children()
        assert numbers(sandbox.decode(video)) == NUMBERS

    @pytest.mark.parametrize("how", ["closed", "collected", "crashed", "read to the end"])
    def test_no_thread_is_left(self, sandbox: Sandbox, strangers: set[int], long_video: str, how: str) -> None:
        before = set(threading.enumerate())
        frames = sandbox.decode(long_video)
        next(frames)
        assert len(set(threading.enumerate()) - before) == 1
        if how == "closed":
            frames.close()
        elif how == "crashed":
            os.kill(the_child(strangers), signal.SIGKILL)
            with pytest.raises(VideoRejected):
                list(frames)
        elif how == "read to the end":
            list(frames)
        del frames
        assert set(threading.enumerate()) <= before

    def test_nothing_is_left_behind(self, video: str, long_video: str) -> None:
        before, descriptors = children(), set(os.listdir("/proc/self/fd"))
        with Sandbox(Decoding(), LONG_SIZE) as sandbox:
            list(sandbox.decode(video))
            frames = sandbox.decode(long_video)
            next(frames)
            os.kill(the_child(before), signal.SIGSEGV)
            with pytest.raises(VideoRejected):
                list(frames)
            list(sandbox.decode(video))
        assert children() == before
        assert set(os.listdir("/proc/self/fd")) == descriptors


HOSTILE = """
from math import nan
from yt8m_pipeline.decoding.sandbox.protocol import *
import socket
BLACK = bytes(3 * 48 * 48)
with socket.socket(fileno=0) as parent:
    Answer(IDLE, value=1.0).send(parent)
    socket.recv_fds(parent, JOB.size, 1)
    try:
        {answers}
        parent.recv(1)
    except OSError:
        pass
"""
"""A child whose decoder was taken over: it answers as it likes."""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Sandbox]]:
    """Gives a sandbox whose child sends these answers."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sandbox_module, "CHILD", "hostile_child")
    with Sandbox(Decoding(max_seconds=4, timeout_seconds=30), SIZE) as sandbox:

        def answering(answers: str) -> Sandbox:
            (tmp_path / "hostile_child.py").write_text(HOSTILE.format(answers=answers), encoding="utf-8")
            return sandbox

        yield answering


MEDIA = {
    **{"container": "avi", "codec": "mjpeg", "file_bytes": 7, "width": 48, "height": 48, "frame_rate": 25.0},
    **{"packets": 1, "decoded_packets": 1},
}
A_FRAME = "Answer(FRAME, 0, 0.0, BLACK, 48, 48).send(parent)"
FALSE_MEDIA = [
    b"{}",
    b"[" * 1024,
    *(
        json.dumps({**MEDIA, **change}).encode()
        for change in (
            {"codec": "\x1b[2J"},
            {"codec": "x" * 101},
            {"codec": None},
            {"packets": -1},
            {"packets": 2**53},
            {"packets": 0.5},
            {"frame_rate": -1.0},
            {"more": 1},
        )
    ),
]
"""What a child may say of a file, and what no file can be."""


class TestHostileAnswers:
    def test_a_media_file_that_can_be_is_taken_and_after_a_false_one_the_child_is_another(
        self, hostile: Callable[[str], Sandbox], video: str
    ) -> None:
        idle = "Answer(IDLE, value=1.0, payload={!r}).send(parent)"
        before = children()
        rejection(hostile(f"{A_FRAME}, {idle.format(b'')}"), video)
        assert children() == before
        assert decoded_fraction(hostile(f"{A_FRAME}, {idle.format(json.dumps(MEDIA).encode())}"), video) == 1.0

    @pytest.mark.parametrize(
        "answers",
        [
            "Answer(FRAME, 1, 0.0, BLACK, 48, 48).send(parent)",
            "[Answer(FRAME, 0, 0.0, BLACK, 48, 48).send(parent) for _ in range(2)]",
            "[Answer(FRAME, k, k, BLACK, 48, 48).send(parent) for k in range(5)]",
            "Answer(FRAME, 0, 0.0, BLACK[:-1], 48, 48).send(parent)",
            "Answer(FRAME, 0, 0.0, BLACK + b'x', 48, 48).send(parent)",
            "Answer(FRAME, 0, nan, BLACK, 48, 48).send(parent)",
            "parent.sendall(HEADER.pack(FRAME, 0, 0.0, 48, 48, 2**32 - 1, b'', 1.0))",
            "Answer(FRAME, 0, 0.0, BLACK, 48, 48, 'P').send(parent)",
            "Answer(FRAME, 0, 0.0, BLACK, 48, 48, aspect=0.0).send(parent)",
            "Answer(FRAME, 0, 0.0, BLACK, 48, 48, aspect=nan).send(parent)",
            "Answer(FRAME, 0, 0.0, BLACK, 96, 24).send(parent)",
            "Answer(FRAME, 0, 0.0, b'', 0, 48).send(parent)",
            "Answer(b'?').send(parent)",
            "Answer(FACTS, payload=b'{}').send(parent)",
            "Answer(IDLE, value=1.0).send(parent)",
            "Answer(FRAME, 0, 0.0, BLACK, 48, 48).send(parent), Answer(IDLE).send(parent)",
            "Answer(FRAME, 0, 0.0, BLACK, 48, 48).send(parent), Answer(IDLE, value=1.5).send(parent)",
            *(f"{A_FRAME}, Answer(IDLE, value=1.0, payload={media!r}).send(parent)" for media in FALSE_MEDIA),
            "Answer(READ, 99).send(parent)",
            "Answer(REJECTED, payload=b'because\\n').send(parent)",
            "Answer(REJECTED, value=-1.0, payload=b'damaged\\n').send(parent)",
            "Answer(REJECTED, payload=b'damaged\\n' + bytes(5000)).send(parent)",
        ],
    )
    def test_what_is_not_the_grid_is_a_crash(self, hostile: Callable[[str], Sandbox], video: str, answers: str) -> None:
        refused = rejection(hostile(answers), video)
        assert (refused.reason, refused.detail) == (DropReason.DECODER_CRASHED, "the decoder broke its protocol")

    @pytest.mark.parametrize(
        "answers",
        [
            "Answer(FACTS, payload=b'{').send(parent)",
            "Answer(FACTS, payload=b'{}').send(parent)",
            "Answer(FACTS, payload=b'[' * 200_000).send(parent)",
            "Answer(FACTS, payload=b'\\xff').send(parent)",
            "parent.sendall(HEADER.pack(FACTS, 0, 0.0, 0, 0, MAX_FACTS_BYTES + 1, b'', 1.0))",
            "Answer(FRAME, 0, 0.0, BLACK, 48, 48).send(parent)",
            "Answer(IDLE, value=1.0).send(parent)",
        ],
    )
    def test_what_is_no_fact_is_a_crash(self, hostile: Callable[[str], Sandbox], video: str, answers: str) -> None:
        before = children()
        sandbox = hostile(answers)
        with pytest.raises(VideoRejected, match="the decoder broke its protocol") as caught:
            sandbox.probe(video, frames=False)
        assert caught.value.reason is DropReason.DECODER_CRASHED
        assert children() == before

    def test_a_rejection_carries_the_decoded_fraction(self, hostile: Callable[[str], Sandbox], video: str) -> None:
        """`strict` and `salvage` meet it in tests/extraction/test_decoding.py."""
        sandbox = hostile("Answer(REJECTED, value=0.25, payload=b'too_damaged\\na quarter').send(parent)")
        refused = rejection(sandbox, video)
        assert (refused.reason, refused.detail, refused.decoded_fraction) == (
            DropReason.TOO_DAMAGED,
            "a quarter",
            0.25,
        )

    def test_a_rejection_is_one_line_of_printable_text(self, hostile: Callable[[str], Sandbox], video: str) -> None:
        sandbox = hostile("Answer(REJECTED, payload=b'damaged\\na \\x1b[31m red\\nline \\xff').send(parent)")
        refused = rejection(sandbox, video)
        assert (refused.detail, refused.decoded_fraction) == ("a  [31m red line \ufffd", None)


PARENT = """
import os, sys
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
sandbox = Sandbox(Decoding(), 512)
frames = sandbox.decode(sys.argv[1])
next(frames)
print(open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)
sys.stdin.read()
"""

ENDLESS = """
import hashlib, threading
from yt8m_pipeline.decoding.sandbox.child import end_with_parent
threading.Thread(target=end_with_parent, daemon=True).start()
print(flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


class TestEndOfTheParent:
    def test_a_killed_parent_leaves_no_child(self, long_video: str) -> None:
        command = [sys.executable, "-c", PARENT, long_video]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            assert is_running(child)
            parent.kill()
        deadline = time.monotonic() + 10
        while is_running(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_running(child)

    def test_a_child_in_an_endless_loop_of_a_library_ends_with_it(self) -> None:
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


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] not in {"Z", "X"}
    except FileNotFoundError:
        return False


CONFINED = """
import os, socket, subprocess
from yt8m_pipeline.decoding.sandbox import child
while os.open(os.devnull, os.O_RDONLY) < 3:
    pass
child.limit_resources(1024)
for reach_out in (lambda: open("/etc/hostname"), socket.socket, lambda: os.dup(0), lambda: subprocess.run(["true"])):
    try:
        reach_out()
        print("it can")
    except OSError as error:
        print(error.strerror)
"""


def require_sight(pid: int) -> None:
    """Skips a test where the child may not be looked into: only root may, who may trace what is not dumpable."""
    try:
        os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        pytest.skip("only root may look into the child")


class TestConfinement:
    @pytest.mark.parametrize("place", ["local", "remote"])
    def test_the_child_holds_no_file_but_the_video_and_may_open_none(
        self, sandbox: Sandbox, strangers: set[int], long_video: str, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if place == "remote":
            as_remote(monkeypatch)
        frames = sandbox.decode(long_video)
        next(frames)
        pid = the_child(strangers)
        require_sight(pid)
        limits = " ".join(Path(f"/proc/{pid}/limits").read_text(encoding="ascii").split())
        open_files = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        frames.close()
        assert sorted(open_files) == [0, 1, 2, 3]
        assert open_files[3] == (long_video if place == "local" else os.devnull)
        assert "Max open files 4 4" in limits
        assert "Max processes 0 0" in limits
        assert "Max core file size 0 0" in limits
        assert "Max file size 0 0" in limits
        assert f"Max address space {4096 * 2**20} {4096 * 2**20}" in limits

    def test_the_child_knows_no_secret_of_the_environment(
        self, sandbox: Sandbox, strangers: set[int], video: str
    ) -> None:
        list(sandbox.decode(video))
        require_sight(the_child(strangers))
        environment = Path(f"/proc/{the_child(strangers)}/environ").read_bytes()
        assert b"PYTHONPATH=" in environment
        assert b"HOME=" not in environment

    def test_with_the_video_open_neither_a_file_nor_a_socket_nor_a_process_can_be_had(self) -> None:
        result = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, text=True, check=True)
        assert result.stdout.splitlines() == ["Too many open files"] * 4


LIBERAL = Decoding(
    demuxers=("concat", "hls", "image2", "mov", "mpegts", "rtp", "rtsp", "sdp"),
    protocols=("concat", "crypto", "data", "fd", "file", "http", "pipe", "rtp", "subfile", "tcp", "udp"),
    timeout_seconds=10,
)
"""The demuxers of FFmpeg that open other files (PyAV has none for DASH), and the ways to reach them."""


@dataclass(frozen=True)
class Trap:
    """A folder with a secret video and a pipe that whoever opens it waits for, and a port where somebody listens."""

    folder: Path
    server: socket.socket
    sandbox: Sandbox

    @property
    def port(self) -> int:
        return int(self.server.getsockname()[1])

    def was_touched(self) -> bool:
        """Whether somebody connected or has the pipe open."""
        try:
            self.server.accept()
        except BlockingIOError:
            pass
        else:
            return True
        try:
            os.close(os.open(self.folder / "pipe.ts", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True


@pytest.fixture(scope="module", params=["the default whitelists", "whitelists that allow all"])
def trap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    folder = tmp_path_factory.mktemp("trap")
    (folder / "secret.ts").write_bytes(encode(range(0, 3500, 100), container="mpegts"))
    (folder / "secret.mp4").write_bytes(encode(range(0, 3500, 100)))
    os.mkfifo(folder / "pipe.ts")
    decoding = LIBERAL if request.param == "whitelists that allow all" else Decoding()
    with (
        pytest.MonkeyPatch.context() as patch,
        socket.create_server(("127.0.0.1", 0)) as server,
        Sandbox(decoding, SIZE) as sandbox,
    ):
        patch.chdir(folder)
        server.setblocking(False)
        yield Trap(folder, server, sandbox)


def playlist(*entries: str) -> bytes:
    lines = [f"#EXTINF:4,\n{entry}" for entry in entries]
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:9", *lines, "#EXT-X-ENDLIST", ""]).encode()


def concat(*entries: str) -> bytes:
    return "\n".join(["ffconcat version 1.0", *(f"file '{entry}'" for entry in entries), ""]).encode()


def dash(url: str) -> bytes:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    ).encode()


def session(port: int) -> bytes:
    lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=x", "c=IN IP4 127.0.0.1", "t=0 0"]
    return "\n".join([*lines, f"m=video {port} RTP/AVP 96", "a=rtpmap:96 H264/90000", ""]).encode()


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def with_box(data: bytes, path: list[bytes], content: bytes) -> bytes:
    """MP4 boxes with the content of one of them replaced."""
    result = b""
    while data:
        length, kind = struct.unpack_from(">I4s", data)
        body = data[8:length]
        if kind == path[0]:
            body = content if len(path) == 1 else with_box(body, path[1:], content)
        result, data = result + box(kind, body), data[length:]
    return result


def reference_movie(name: str) -> bytes:
    """QuickTime File Format, reference movies."""
    text = name.encode() + b"\0"
    reference = box(b"rdrf", bytes(4), b"url ", struct.pack(">I", len(text)), text)
    return box(b"ftyp", b"qt  ", bytes(4)) + box(b"moov", box(b"rmra", box(b"rmda", reference)))


def video_in_another_file(name: str) -> bytes:
    """A video whose data reference is a Macintosh alias of another file."""
    text = name.encode()
    alias = bytes(10) + b"\4disk".ljust(28, b"\0") + bytes(12) + bytes([len(text)]) + text.ljust(63, b"\0") + bytes(16)
    paths = struct.pack(">hh", 1, 1) + bytes(16) + struct.pack(">hH", 2, len(text)) + text + struct.pack(">hH", -1, 0)
    references = bytes(4) + struct.pack(">I", 1) + box(b"alis", bytes(4), alias, paths)
    own = encode(range(0, 3500, 100))
    return with_box(own, [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"], references)


BAITS: dict[str, Callable[[Trap], bytes]] = {
    "hls of a file": lambda trap: playlist(f"file://{trap.folder}/secret.ts"),
    "hls of a pipe": lambda _: playlist("pipe.ts"),
    "hls of a url": lambda trap: playlist(f"http://127.0.0.1:{trap.port}/video.ts"),
    "hls of data": lambda _: playlist("data:video/mp2t;base64,R0AAEA=="),
    "hls of a part": lambda trap: playlist(f"subfile,,start,0,end,0,,:{trap.folder}/secret.ts"),
    "hls of a sum": lambda trap: playlist(f"concat:{trap.folder}/secret.ts|{trap.folder}/pipe.ts"),
    "concat of a file": lambda _: concat("secret.ts"),
    "concat of a pipe": lambda _: concat("pipe.ts"),
    "concat of a path": lambda trap: concat(f"{trap.folder}/secret.ts"),
    "concat of a url": lambda trap: concat(f"http://127.0.0.1:{trap.port}/video.ts"),
    "concat of a part": lambda trap: concat(f"subfile,,start,0,end,0,,:{trap.folder}/secret.ts"),
    "dash": lambda trap: dash(f"http://127.0.0.1:{trap.port}/video.mp4"),
    "session description": lambda trap: session(trap.port),
    "image sequence": lambda _: b"secret%03d.png\n",
    "reference movie": lambda _: reference_movie("secret.mp4"),
    "data reference": lambda _: video_in_another_file("secret.mp4"),
}


UNFILTERED = """
import sys
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox import child, confinement
confinement.renounce = confinement.filter_system_calls = list
child.main(Decoding.model_validate_json(sys.argv[1]), int(sys.argv[2]) or None)
"""
"""A child of a system that has neither seccomp nor Landlock."""

only_whitelists_that_allow_all = pytest.mark.parametrize("trap", ["whitelists that allow all"], indirect=True)


class TestBaits:
    @pytest.mark.parametrize("kind", BAITS)
    def test_what_names_another_place_reaches_neither_a_file_nor_a_socket(self, trap: Trap, kind: str) -> None:
        bait = trap.folder / "playlist.mp4"
        bait.write_bytes(BAITS[kind](trap))
        frames: list[SampledFrame] = []
        with pytest.raises(VideoRejected) as caught:
            frames.extend(trap.sandbox.decode(str(bait)))
        assert not caught.value.reason.is_transient
        assert not frames
        assert not trap.was_touched()

    @only_whitelists_that_allow_all
    def test_the_filter_of_system_calls_stops_it_where_the_whitelists_do_not(self, trap: Trap) -> None:
        if Protection.SYSTEM_CALLS in missing_protections(Decoding()):
            pytest.skip("this system has no filter of system calls")
        bait = trap.folder / "playlist.mp4"
        for content in (concat("secret.ts"), session(trap.port)):
            bait.write_bytes(content)
            assert "Operation not permitted" in rejection(trap.sandbox, bait).detail

    @only_whitelists_that_allow_all
    def test_the_limit_of_descriptors_stops_it_where_there_is_nothing_else(
        self, trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "unfiltered_child.py").write_text(UNFILTERED)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(sandbox_module, "CHILD", "unfiltered_child")
        bait = trap.folder / "playlist.mp4"
        with Sandbox(LIBERAL, SIZE) as sandbox:
            for content in (concat("secret.ts"), session(trap.port)):
                bait.write_bytes(content)
                assert "Too many open files" in rejection(sandbox, bait).detail
        assert not trap.was_touched()

    @only_whitelists_that_allow_all
    @pytest.mark.usefixtures("trap")
    def test_a_list_of_files_works_where_nothing_stops_it(self) -> None:
        """So the tests above can fail."""
        assert numbers(decode_frames(io.BytesIO(concat("secret.ts")), LIBERAL, SIZE)) == NUMBERS

    @only_whitelists_that_allow_all
    @pytest.mark.parametrize(
        ("kind", "name", "options"),
        [
            ("hls of a file", "list.m3u8", {}),
            ("data reference", "video.mp4", {"enable_drefs": "1", "use_absolute_path": "1"}),
        ],
    )
    def test_what_has_a_fitting_name_and_options_works_too(
        self, trap: Trap, kind: str, name: str, options: dict[str, str]
    ) -> None:
        """A nameless stream and FFmpeg's defaults are two walls more."""
        (trap.folder / name).write_bytes(BAITS[kind](trap))
        with av.open(trap.folder / name, container_options=options) as container:
            assert len(list(container.decode(video=0))) == 35
