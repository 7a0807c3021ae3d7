"""Decoding in a child process, so that a hostile video costs that video only (DESIGN §4.3).

The child is confined before it sees a byte: a limited address space, no file can grow, no core dump, and no file
descriptor to spare beyond the one video that it is handed, so that it can open neither a file nor a socket. It gets
the descriptor, never a name. Its answers have a fixed binary header; nothing is unpickled.
"""

import os
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from shutil import copyfileobj
from struct import Struct
from time import monotonic
from types import TracebackType
from typing import IO, Self, cast

import numpy as np

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import DropReason, SampledFrame
from yt8m_pipeline.errors import DataError, VideoRejected

MODULE = "yt8m_pipeline.extraction.sandbox"

HEADER = Struct("!cIdI")
"""An answer of the child: its kind, k, pts in seconds, and how many bytes follow."""

IDLE, FRAME, REJECTED = b"i", b"f", b"r"
START_SECONDS = 120.0
DYING_SECONDS = 5.0
MAX_REJECTION_BYTES = 4096
MIB = 2**20


class Sandbox:
    """Decodes videos one after another in a child process, started when first needed and replaced when lost.

    A context manager, for one thread at a time. An iterator that is left half-way takes its child with it when it is
    closed or collected; the next video gets a new one.

    Args:
        decoding: The sampling rate and the limits.
        size: Height and width of the frames, pixels.
    """

    def __init__(self, decoding: Decoding, size: int) -> None:
        self._decoding, self._size = decoding, size
        self._idle: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the idle child. The sandbox can be used again."""
        if self._idle is not None:
            self._idle.kill()
            self._idle = None

    def decode(self, uri: str) -> Iterator[SampledFrame]:
        """Yields the frames of the grid, size × size (see `decode_frames`).

        Args:
            uri: A local path, or a URI that is first copied to an unlinked temporary file.

        Raises:
            VideoRejected: MISSING_FILE, IO_ERROR, EMPTY_FILE; whatever `decode_frames` finds; DECODER_CRASHED;
                DECODE_TIMEOUT after `timeout_seconds` of waiting for the child (the consumer's own time is free).
            DataError: when no child can be started.
        """
        descriptor = _open_video(uri)
        try:
            child = self._take()
            child.hand_over(descriptor)
        finally:
            os.close(descriptor)
        try:
            yield from child.frames(self._size, self._decoding.timeout_seconds)
        finally:
            self._give_back(child)

    def _take(self) -> "_Child":
        child, self._idle = self._idle, None
        if child is not None and child.is_alive():
            return child
        if child is not None:
            child.kill()
        return _Child(self._decoding, self._size)

    def _give_back(self, child: "_Child") -> None:
        if child.is_idle and self._idle is None:
            self._idle = child
        else:
            child.kill()


class _Child:
    """The parent's end of one child process."""

    def __init__(self, decoding: Decoding, size: int) -> None:
        self._socket, theirs = socket.socketpair()
        settings = (decoding.model_dump_json(), str(size))
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own module, no shell
                [sys.executable, "-B", "-P", "-m", MODULE, *settings],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_child_environment(),
                start_new_session=True,
            )
        self._stderr = cast(IO[bytes], self._process.stderr)
        os.set_blocking(self._stderr.fileno(), False)
        self._await_start()

    def _await_start(self) -> None:
        self._seconds_left = START_SECONDS
        try:
            self._receive(0)
        except VideoRejected as failure:
            self.kill()
            raise DataError(
                "The decoding process does not start",
                f"{sys.executable} -m {MODULE}",
                failure.detail,
                "raise decoding.memory_limit_mib, or reinstall PyAV (package `av`)",
            ) from None
        self.is_idle = True

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()
        self._stderr.close()

    def hand_over(self, descriptor: int) -> None:
        """Starts a video. That the child has just died shows in its answers."""
        self.is_idle = False
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._socket, [IDLE], [descriptor])

    def frames(self, size: int, timeout_seconds: float) -> Iterator[SampledFrame]:
        self._seconds_left = timeout_seconds
        while (answer := self._receive(size)) is not None:
            yield answer
        self.is_idle = True

    def _receive(self, size: int) -> SampledFrame | None:
        """The next frame, or None when the child is idle again."""
        try:
            return self._answer(size)
        except TimeoutError:
            raise VideoRejected(DropReason.DECODE_TIMEOUT, "the decoder took too long and was killed") from None
        except (EOFError, ConnectionResetError):
            raise VideoRejected(DropReason.DECODER_CRASHED, self._last_words()) from None
        except ValueError:
            raise VideoRejected(DropReason.DECODER_CRASHED, "the decoder broke its protocol") from None

    def _answer(self, size: int) -> SampledFrame | None:
        kind, index, pts_seconds, length = HEADER.unpack(self._read(HEADER.size))
        if kind == IDLE:
            return None
        if length > max(3 * size * size, MAX_REJECTION_BYTES):
            raise ValueError(length)
        payload = self._read(length)
        if kind == FRAME:
            return SampledFrame(index, pts_seconds, np.frombuffer(payload, np.uint8).reshape(size, size, 3))
        reason, _, detail = payload.decode().partition("\n")
        rejection = VideoRejected(DropReason(reason), _printable(detail))
        self.is_idle = True
        raise rejection

    def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        missing = memoryview(data)
        while missing:
            if self._seconds_left <= 0:
                raise TimeoutError
            began = monotonic()
            self._socket.settimeout(self._seconds_left)
            received = self._socket.recv_into(missing)
            self._seconds_left -= monotonic() - began
            if not received:
                raise EOFError
            missing = missing[received:]
        return data

    def _last_words(self) -> str:
        """How the process ended, and the last line of its standard error."""
        try:
            status = self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:
            return "the decoder closed its socket"
        lines = (self._stderr.read() or b"").decode(errors="replace").split("\n")
        said = next((f": {_printable(line)}" for line in reversed(lines) if line.strip()), "")
        names = {number.value: number.name for number in signal.Signals}
        ended = f"signal {names.get(-status, -status)}" if status < 0 else f"exit status {status}"
        return f"the decoder ended by {ended}{said}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _child_environment() -> dict[str, str]:
    """What Python needs to start, and nothing that is secret."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


def _open_video(uri: str) -> int:
    """A file descriptor of the video's bytes, at their start."""
    from yt8m_pipeline import files  # noqa: PLC0415  loads pyarrow, which the child does not need

    try:
        descriptor = _open_local(files.resolve(uri)[1]) if files.is_local(uri) else _download(uri)
    except (FileNotFoundError, NotADirectoryError):
        raise VideoRejected(DropReason.MISSING_FILE, f"{uri}: no such file") from None
    except (OSError, ValueError) as error:
        raise VideoRejected(DropReason.IO_ERROR, f"{uri}: {_printable(str(error))}") from error
    if os.fstat(descriptor).st_size == 0:
        os.close(descriptor)
        raise VideoRejected(DropReason.EMPTY_FILE, f"{uri}: 0 bytes")
    return descriptor


def _open_local(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


def _download(uri: str) -> int:
    from yt8m_pipeline import files  # noqa: PLC0415

    with files.open_read(uri) as remote, tempfile.TemporaryFile() as local:
        copyfileobj(remote, local)
        local.seek(0)
        return os.dup(local.fileno())


def _child(decoding: Decoding, size: int) -> None:
    """The child process: decodes one descriptor after another from the socket that is its standard input."""
    for limit, value in (
        (resource.RLIMIT_AS, decoding.memory_limit_mib * MIB),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    from yt8m_pipeline.extraction.decoding import decode_frames  # noqa: PLC0415  under the memory limit

    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
    with socket.socket(fileno=0) as parent:
        parent.sendall(HEADER.pack(IDLE, 0, 0.0, 0))
        while descriptors := socket.recv_fds(parent, 1, 1)[1]:
            try:
                with open(descriptors[0], "rb", buffering=0) as stream:
                    for frame in decode_frames(stream, decoding, size):
                        parent.sendall(HEADER.pack(FRAME, frame.index, frame.pts_seconds, frame.rgb.nbytes))
                        parent.sendall(frame.rgb.data)
                answer = HEADER.pack(IDLE, 0, 0.0, 0)
            except VideoRejected as rejection:
                text = f"{rejection.reason}\n{rejection.detail}".encode()[:MAX_REJECTION_BYTES]
                answer = HEADER.pack(REJECTED, 0, 0.0, len(text)) + text
            parent.sendall(answer)


def _end_with_parent() -> None:
    """Ends this process when the parent's end of the socket is gone, even in the middle of a decoder's loop."""
    poll = select.poll()
    poll.register(0, select.POLLHUP)
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    _child(Decoding.model_validate_json(sys.argv[1]), int(sys.argv[2]))
