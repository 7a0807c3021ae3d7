"""Decoding in a child process, so that a hostile video costs that video only.

Videos are untrusted input to a C library. The child (`child`) is confined before it sees a byte (`confinement`): it may
make only the system calls that decoding needs, is nobody where root runs it, and has a limited address space, an empty
environment, no process below it, no file that grows, no core dump and no descriptor to spare. It gets a local video as
a descriptor, and asks for the blocks of a remote one; it never gets a name. That holds a library that was misled, and
foreign machine code too. A system that offers less than all of this is named, or refused under `decoding.sandbox:
strict`. decoding/README.md has the threat model.

The pools that exist (pebble, billiard, loky) run pickled Python callables and unpickle what comes back; the
confinement, the descriptors and the distrust of answers would have to be written all the same, and are most of this.
"""

import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, isnan, prod
from time import monotonic
from types import TracebackType
from typing import IO, Self, cast

import numpy as np
from pyarrow import ArrowException
from pydantic import TypeAdapter

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import MediaFile
from yt8m_pipeline.decoding.facts import TRANSFERS, Decoded, SampledFrame, VideoFacts
from yt8m_pipeline.decoding.frame_times import Grid
from yt8m_pipeline.decoding.sandbox.confinement import Protection
from yt8m_pipeline.decoding.sandbox.local_files import open_local, require_accepted
from yt8m_pipeline.decoding.sandbox.protocol import (
    BLOCK_BYTES,
    DECODE,
    FACTS,
    FRAME,
    HEADER,
    IDLE,
    JOB,
    MAX_FACTS_BYTES,
    MAX_FRAME_BYTES,
    MAX_IDLE_BYTES,
    MAX_REJECTION_BYTES,
    MIB,
    PROBE,
    PROBE_FRAMES,
    READ,
    REJECTED,
    Answer,
    block_length,
)
from yt8m_pipeline.decoding.sandbox.reading_ahead import read_ahead
from yt8m_pipeline.errors import DataError, UsageError, printable
from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.places import Places

CHILD = "yt8m_pipeline.decoding.sandbox.child"

START_SECONDS = 120.0
"""A child that has not started after this many seconds counts as one that cannot be started. Python and PyAV start in
under a second, but in many more where a hundred children start at once on a slow disk."""

READING_BYTES_PER_SECOND = 4 * MIB
"""A whole video may be read as slowly as this: a disk or network that is slower runs into the time limit."""

OPENING_SECONDS = 60.0
"""A video whose first bytes do not come within this time is out of reach. Its decoder starts only then."""

DYING_SECONDS = 5.0
"""A child that has closed its socket has this many seconds to end, so that its exit status can be told."""

AHEAD_BYTES = 128 * MIB
"""Decoded frames that wait for the consumer may have this many bytes: all 360 frames of 299 × 299 pixels, or five of
4K UHD in their own size."""


VERDICTS = frozenset(
    {
        DropReason.NOT_A_VIDEO,
        DropReason.CONTAINER_NOT_ACCEPTED,
        DropReason.TOO_MANY_STREAMS,
        DropReason.ENCRYPTED,
        DropReason.NO_VIDEO_STREAM,
        DropReason.UNSUPPORTED_CODEC,
        DropReason.NO_FRAMES,
        DropReason.TRUNCATED,
        DropReason.DAMAGED,
        DropReason.TOO_DAMAGED,
        DropReason.FRAME_TOO_LARGE,
        DropReason.IO_ERROR,
    }
)
"""The reasons that a decoder can find. A child that gives another one is not ours any more."""

UNEXPECTED_EXCEPTION = 1
"""Python ends with this exit status after an exception that nothing has caught."""

TRACEBACK, OUT_OF_MEMORY = re.compile(r"Traceback \(most recent call last\)"), re.compile(r"([\w.]+\.)?MemoryError\b")
"""Python's last lines begin so, and end so where memory was wanting."""

MEDIA = TypeAdapter(MediaFile)
"""What a child says of the file of a video is checked against the types of `MediaFile`."""

logger = logging.getLogger(__name__)


class Sandbox:
    """Decodes videos one after another in a child process, started when first needed and replaced when lost.

    A context manager, for one thread at a time. An iterator that is left half-way takes its child with it when it is
    closed or collected; the next video gets a new one. A video has `timeout_seconds`, and with each frame of the grid
    that arrives `timeout_seconds_per_frame` more.

    Decoding goes on while the consumer works on earlier frames, until those that wait have AHEAD_BYTES; then the child
    waits too, and its time stands still.

    Args:
        decoding: The sampling rate and the limits.
        size: Height and width of the frames, in pixels; None: each frame has its own size.
        places: What a uri may name; None: anything, for callers whose uris are their own word.
    """

    def __init__(self, decoding: Decoding, size: int | None, places: Places | None = None) -> None:
        self._decoding, self._size, self._places = decoding, size, places
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

    def decode(self, uri: str) -> Generator[SampledFrame, None, Decoded]:
        """Yields the frames of the grid up to `max_seconds`, size × size or in their own size (see `decode_frames`).

        Args:
            uri: A local path, or a URI of which only the blocks that the decoder needs are read.

        Returns:
            What the file is, and the share of the video's grid times whose frame is sound.

        Raises:
            VideoRejected: URI_NOT_ACCEPTED, MISSING_FILE, EMPTY_FILE; IO_ERROR, also where reading fails half-way;
                whatever `decode_frames` finds; FRAME_TOO_LARGE; DECODER_CRASHED, also for frames that are not those of
                the grid; DECODE_TIMEOUT; INTERNAL_ERROR, for an exception that is no verdict on the video.
            DataError: when no child can be started.
            UsageError: under `sandbox: strict`, where the system lacks a protection.
        """
        with self._at_work(DECODE, uri) as child:
            return (yield from read_ahead(child.frames(), AHEAD_BYTES, stop=child.stop))

    def probe(self, uri: str, *, frames: bool) -> VideoFacts:
        """Returns what `probing.probe` finds out about a video.

        The time limit grows with the file's size and, if frames are decoded, with their number.

        Raises:
            VideoRejected: as `decode` does.
            DataError: when no child can be started.
            UsageError: as `decode` does.
        """
        with self._at_work(PROBE_FRAMES if frames else PROBE, uri) as child:
            return child.facts(frames=frames)

    @contextmanager
    def _at_work(self, task: bytes, uri: str) -> "Iterator[_Child]":
        with ExitStack() as stack:
            video = _open(uri, stack, self._places)
            child = self._take()
            stack.callback(self._give_back, child)
            child.hand_over(task, video)
            yield child

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


@dataclass(frozen=True, slots=True)
class _Video:
    """An open video: a local file or one that only this process can read."""

    uri: str
    file: IO[bytes]
    size: int

    @property
    def descriptors(self) -> list[int]:
        return [self.file.fileno()] if isinstance(self.file, io.FileIO) else []

    def block(self, number: int) -> bytes:
        """Returns the bytes of a block. Blocks in their order are read on without a seek, which would be a new request.

        Raises:
            ValueError: if there is no such block.
            VideoRejected: IO_ERROR or MISSING_FILE, if it cannot be read.
        """
        offset, length = number * BLOCK_BYTES, block_length(number, self.size)
        with _reading(self.uri):
            if self.file.tell() != offset:
                self.file.seek(offset)
            data = self.file.read(length)
            if len(data) != length:
                raise OSError(f"{length} bytes were due at {offset}, but {len(data)} came")
        return data


class _Child:
    """The parent's end of one child process."""

    def __init__(self, decoding: Decoding, size: int | None) -> None:
        self._decoding, self._size = decoding, size
        self._frame_limit = Grid.of_config(decoding).count
        self._payload_limits = {
            FRAME: 3 * size * size if size else MAX_FRAME_BYTES,
            FACTS: MAX_FACTS_BYTES,
            REJECTED: MAX_REJECTION_BYTES,
            IDLE: MAX_IDLE_BYTES,
            READ: 0,
        }
        self._video: _Video | None = None
        self._start()

    def _start(self) -> None:
        settings = (self._decoding.model_dump_json(), str(self._size or 0))
        try:
            self._socket, theirs = socket.socketpair()
            with theirs:
                theirs.setblocking(True)  # Beam's client of Google Cloud calls socket.setdefaulttimeout
                self._process = _start_child(settings, theirs)
        except OSError as error:
            raise _not_started(str(error), "let this machine have more open files, processes or memory") from None
        self._stderr = cast(IO[bytes], self._process.stderr)
        os.set_blocking(self._stderr.fileno(), False)
        self._await_start()

    def _await_start(self) -> None:
        self._seconds_left = START_SECONDS
        try:
            ready = self._await(IDLE)
            with self._watching():
                self.missing = tuple(map(Protection, bytes(ready.payload).decode().splitlines()))
        except VideoRejected as failure:
            self.kill()
            fix = "raise decoding.memory_limit_mib, or reinstall PyAV (package `av`)"
            raise _not_started(failure.detail, fix) from None
        if self.missing and self._decoding.sandbox == "strict":
            self.kill()
            raise _unprotected(self.missing)
        if self.missing:
            _warn(self.missing)

    @property
    def is_idle(self) -> bool:
        return self._video is None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Kills the process, so that whoever waits for its answers gets none."""
        self._process.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()
        self._stderr.close()

    def hand_over(self, task: bytes, video: _Video) -> None:
        """Starts a job. That the child has just died shows in its answers."""
        self._video, self._seconds_left = video, self._decoding.timeout_seconds
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._socket, [JOB.pack(task, video.size)], video.descriptors)

    def frames(self) -> Generator[SampledFrame, None, Decoded]:
        """Yields the frames of the video that was handed over."""
        for index in range(self._frame_limit):
            answer = self._await(*(FRAME, IDLE) if index else (FRAME,))
            if answer.kind == IDLE:
                return self._decoded(answer)
            with self._watching():
                frame = _frame(answer, index, self._size)
            self._seconds_left += self._decoding.timeout_seconds_per_frame
            yield frame
        return self._decoded(self._await(IDLE))

    def _decoded(self, answer: Answer) -> Decoded:
        with self._watching():
            decoded = Decoded(answer.value, MEDIA.validate_json(bytes(answer.payload), strict=True, extra="forbid"))
        self._video = None
        return decoded

    def facts(self, *, frames: bool) -> VideoFacts:
        """Returns what was found out about the video that was handed over, all of which is read."""
        if self._video is not None:
            self._seconds_left += self._video.size / READING_BYTES_PER_SECOND
        if frames:
            self._seconds_left += self._frame_limit * self._decoding.timeout_seconds_per_frame
        answer = self._await(FACTS)
        with self._watching():
            facts = VideoFacts.from_json(parse_json(bytes(answer.payload)))
        self._await(IDLE)
        self._video = None
        return facts

    def _await(self, *kinds: bytes) -> Answer:
        """Returns the next answer, of one of these kinds, and meanwhile sends the blocks that the child asks for."""
        with self._watching():
            while (answer := self._receive()).kind == READ:
                self._send_block(answer.number)
            if answer.kind == REJECTED:
                rejection = _rejection(answer)
                self._video = None
                raise rejection
            if answer.kind not in kinds:
                raise ValueError(answer.kind)
        return answer

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Turns what the child does into a rejection if it crashed, hangs or lies. Meanwhile its time runs."""
        self._deadline = monotonic() + self._seconds_left
        try:
            yield
        except TimeoutError:
            raise VideoRejected(DropReason.DECODE_TIMEOUT, "the decoder took too long and was killed") from None
        except (EOFError, ConnectionError):
            raise self._death() from None
        except (ValueError, RecursionError):
            raise VideoRejected(DropReason.DECODER_CRASHED, "the decoder broke its protocol") from None
        finally:
            self._seconds_left = self._deadline - monotonic()

    def _receive(self) -> Answer:
        kind, number, value, height, width, length, name, aspect = HEADER.unpack(self._read(HEADER.size))
        if length > self._payload_limits.get(kind, -1):
            raise ValueError(length)
        transfer = name.rstrip(b"\0").decode()
        return Answer(kind, number, value, self._read(length), height, width, transfer, aspect)

    def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        missing = memoryview(data)
        while missing:
            self._set_timeout()
            received = self._socket.recv_into(missing)
            if not received:
                raise EOFError
            missing = missing[received:]
        return data

    def _send_block(self, number: int) -> None:
        if self._video is None:
            raise ValueError(number)
        with files.time_limit(self._deadline - monotonic()):
            block = self._video.block(number)
        self._set_timeout()
        self._socket.sendall(block)

    def _set_timeout(self) -> None:
        seconds = self._deadline - monotonic()
        if seconds <= 0:
            raise TimeoutError
        self._socket.settimeout(seconds)

    def _death(self) -> VideoRejected:
        """Tells how the process ended.

        An exception that the child's own code does not expect ends it with exit status 1 and a traceback. That is a
        fault of this program or of PyAV and not of the video, unless it is a lack of memory.
        """
        try:
            status = self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:
            return VideoRejected(DropReason.DECODER_CRASHED, "the decoder closed its socket")
        lines = (self._stderr.read() or b"").decode(errors="replace").split("\n")
        said = next((_printable(line) for line in reversed(lines) if line.strip()), "")
        is_traceback = status == UNEXPECTED_EXCEPTION and any(map(TRACEBACK.match, lines))
        if self._video is not None and is_traceback and not OUT_OF_MEMORY.match(said):
            detail = f"{said}: this is a fault of yt8m_pipeline or PyAV and not of the video; please report it"
            logger.error("decoding %s: %s", printable(self._video.uri), detail)
            return VideoRejected(DropReason.INTERNAL_ERROR, detail)
        names = {number.value: number.name for number in signal.Signals}
        ended = f"signal {names.get(-status, -status)}" if status < 0 else f"exit status {status}"
        return VideoRejected(DropReason.DECODER_CRASHED, f"the decoder ended by {ended}" + (said and f": {said}"))


def _start_child(settings: tuple[str, str], theirs: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603  our own module, no shell
        [sys.executable, "-B", "-P", "-m", CHILD, *settings],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_child_environment(),
        start_new_session=True,
    )


def _not_started(why: str, fix: str) -> DataError:
    return DataError(what="The decoding process does not start", where=f"{sys.executable} -m {CHILD}", why=why, fix=fix)


@lru_cache
def _warn(missing: tuple[Protection, ...]) -> None:
    """Says once in each process what its children lack."""
    logger.warning("the sandbox that decodes videos lacks %s", ", ".join(missing))


def _unprotected(missing: Iterable[Protection]) -> UsageError:
    return UsageError(
        what="Videos cannot be decoded with every protection",
        where="decoding.sandbox: strict",
        why=f"this system ({os.uname().sysname} {os.uname().release}, {os.uname().machine}) lacks {', '.join(missing)}",
        fix="decode on Linux 5.13 or later, x86-64 or 64-bit ARM, in a container that allows seccomp and Landlock; or "
        "say best_effort",
    )


def _frame(answer: Answer, index: int, size: int | None) -> SampledFrame:
    if answer.number != index or not isfinite(answer.value):
        raise ValueError(f"frame {answer.number} at {answer.value} s, where frame {index} was due")
    shape = (answer.height, answer.width, 3)
    if shape != (size or answer.height, size or answer.width, 3) or not 0 < prod(shape) == len(answer.payload):
        raise ValueError(f"{len(answer.payload)} bytes are no frame of {shape}")
    if answer.transfer not in ("", *TRANSFERS.values()):
        raise ValueError(f"there is no transfer function {answer.transfer!r}")
    rgb = np.frombuffer(answer.payload, np.uint8).reshape(shape)
    return SampledFrame(index, answer.value, rgb, answer.transfer, answer.aspect)


def _rejection(answer: Answer) -> VideoRejected:
    reason, _, detail = bytes(answer.payload).decode(errors="replace").partition("\n")
    fraction = None if isnan(answer.value) else answer.value
    if fraction is not None and not 0 <= fraction <= 1:
        raise ValueError(f"a fraction is in [0, 1], got {fraction}")
    if reason not in VERDICTS:
        raise ValueError(f"{reason!r} is no verdict of a decoder")
    return VideoRejected(DropReason(reason), _printable(detail), fraction)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _child_environment() -> dict[str, str]:
    """Returns the variables that Python needs to start, and nothing that is secret."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    path = os.pathsep.join(entry for entry in sys.path if isinstance(entry, str))  # Python passes over others
    return kept | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


@lru_cache
def missing_protections(decoding: Decoding) -> tuple[Protection, ...]:
    """Starts a child, once in each process, and returns the protections that this system does not offer it.

    Raises:
        DataError: when no child can be started.
        UsageError: under `sandbox: strict`, if there are any.
    """
    child = _Child(decoding, None)
    child.kill()
    return child.missing


def require_readable(uri: str, places: Places | None = None) -> None:
    """Raises what `Sandbox.decode` raises for a video that is missing, empty or out of reach, without a child."""
    with ExitStack() as stack:
        _open(uri, stack, places)


def _open(uri: str, stack: ExitStack, places: Places | None) -> _Video:
    """Opens a video that has bytes, at their start. No filesystem is made of a uri that is refused."""
    require_accepted(uri, places)
    with _reading(uri), files.time_limit(OPENING_SECONDS):
        opened = open_local(uri, places) if files.is_local(uri) else files.open_read(uri)
        file = stack.enter_context(opened)
        file.read(1)  # of a short film in a bucket this brings all of it, and its size
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
    if size == 0:
        raise VideoRejected(DropReason.EMPTY_FILE, f"{uri}: 0 bytes")
    return _Video(uri, file, size)


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turns errors of reading a video's bytes into rejections that may pass, but for a place that can never be read."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise VideoRejected(DropReason.MISSING_FILE, f"{uri}: no such file") from None
    except files.UnknownPlace as error:
        raise VideoRejected(DropReason.NOT_A_VIDEO, f"{uri}: {_printable(error.why)}") from error
    except (OSError, ValueError, ArrowException) as error:
        raise VideoRejected(DropReason.IO_ERROR, f"{uri}: {_printable(str(error))}") from error
