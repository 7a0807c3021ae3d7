"""The child's end of the sandbox: it confines itself, then decodes one video after another. `parent` is the other end.

When FFmpeg sees the first byte, the process is held as `confinement` says. Where the system offers less, every
descriptor that the limit allows is taken, so that FFmpeg can open neither a file nor a socket all the same.
"""

import json
import os
import resource
import select
import socket
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import asdict
from functools import lru_cache, partial
from io import SEEK_CUR, SEEK_SET, RawIOBase
from math import ceil, nan
from typing import TYPE_CHECKING, BinaryIO, cast

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.probing import probe
from yt8m_pipeline.decoding.sandbox import confinement
from yt8m_pipeline.decoding.sandbox.confinement import Protection
from yt8m_pipeline.decoding.sandbox.protocol import (
    BLOCK_BYTES,
    DECODE,
    FACTS,
    FRAME,
    IDLE,
    JOB,
    MAX_FRAME_BYTES,
    MAX_REJECTION_BYTES,
    MIB,
    PROBE_FRAMES,
    READ,
    REJECTED,
    Answer,
    block_length,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PARENT = 0
"""The socket to the parent has this descriptor, that of the standard input."""

NULL = 1
"""The null device has this descriptor, that of the standard output."""

DESCRIPTORS = 4
"""The child has this many descriptors: standard input (the socket), output and error, and the video's file or, where
the video is remote, the null device."""

BLOCKS_KEPT = 8
"""Of a remote video, this many blocks are kept in memory: enough for its index, and for pictures and sound that lie
apart."""


class RemoteFile(RawIOBase):
    """A file that somebody else reads, block by block.

    Args:
        fetch: Returns the bytes of the block of a number.
        size: The file's size, in bytes.
    """

    def __init__(self, fetch: Callable[[int], bytes], size: int) -> None:
        self._block = lru_cache(BLOCKS_KEPT)(fetch)
        self._size, self._position = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self._position}.get(whence, self._size)
        self._position = max(start + offset, 0)
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fills the buffer, or the part of it up to the end of the file."""
        target = memoryview(buffer).cast("B")
        end = min(self._position + len(target), self._size)
        first = self._position // BLOCK_BYTES
        blocks = b"".join(self._block(number) for number in range(first, ceil(end / BLOCK_BYTES)))
        data = memoryview(blocks)[self._position - first * BLOCK_BYTES :][: len(target)]
        target[: len(data)] = data
        self._position += len(data)
        return len(data)


def main(decoding: Decoding, size: int | None) -> None:
    """Confines the process, says what the system lacks for that, and does jobs until the parent closes the socket."""
    with socket.socket(fileno=PARENT) as parent:
        missing = _confine(decoding.memory_limit_mib)
        Answer(IDLE, value=1.0, payload="\n".join(missing).encode()).send(parent)
        while (job := socket.recv_fds(parent, JOB.size, 1))[0]:
            message, descriptors, *_ = job
            task, file_size = JOB.unpack(message)
            with open(descriptors[0] if descriptors else os.dup(NULL), "rb", buffering=0) as file:
                video = file if descriptors else RemoteFile(partial(_fetch, parent, file_size), file_size)
                _work(parent, task, cast(BinaryIO, video), decoding, size)


def _confine(memory_limit_mib: int) -> list[Protection]:
    missing = confinement.renounce()
    limit_resources(memory_limit_mib)
    missing += confinement.filter_system_calls()
    return missing if sys.platform == "linux" else [*missing, Protection.MEMORY]


def limit_resources(memory_limit_mib: int) -> None:
    """Bounds the memory and the descriptors of this process for good, and lets it end with its parent."""
    if sys.platform == "linux":  # macOS has no limit of address space
        _limit(resource.RLIMIT_AS, memory_limit_mib * MIB)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    threading.Thread(target=end_with_parent, daemon=True).start()
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, DESCRIPTORS)


def _limit(kind: int, value: int) -> None:
    """Limits this process to a value, or to what it is limited to already."""
    _, hard = resource.getrlimit(kind)
    lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (lower, lower))


def end_with_parent() -> None:
    """Ends this process when the parent's end of the socket is gone, even in the middle of a decoder's loop."""
    poll = select.poll()
    poll.register(PARENT, select.POLLHUP)
    poll.poll()
    os._exit(0)


def _work(parent: socket.socket, task: bytes, file: BinaryIO, decoding: Decoding, size: int | None) -> None:
    """Does one job, and says so or why not."""
    try:
        if task == DECODE:
            decoded = _send_frames(parent, decode_frames(file, decoding, size))
            media = json.dumps(asdict(decoded.media)).encode()
            Answer(IDLE, value=decoded.decoded_fraction, payload=media).send(parent)
        else:
            facts = probe(file, decoding, frames=task == PROBE_FRAMES)
            Answer(FACTS, payload=json.dumps(facts.to_json()).encode()).send(parent)
            Answer(IDLE, value=1.0).send(parent)
    except VideoRejected as rejection:
        text = f"{rejection.reason}\n{rejection.detail}".encode(errors="replace")[:MAX_REJECTION_BYTES]
        fraction = nan if rejection.decoded_fraction is None else rejection.decoded_fraction
        Answer(REJECTED, value=fraction, payload=text).send(parent)


def _send_frames(parent: socket.socket, frames: Generator[SampledFrame, None, Decoded]) -> Decoded:
    while True:
        try:
            frame = next(frames)
        except StopIteration as end:
            return cast(Decoded, end.value)
        height, width, _ = frame.rgb.shape
        if frame.rgb.nbytes > MAX_FRAME_BYTES:
            detail = f"a frame of {width} × {height} pixels has {frame.rgb.nbytes} bytes, above {MAX_FRAME_BYTES}"
            raise VideoRejected(DropReason.FRAME_TOO_LARGE, detail)
        pixels = frame.rgb.data.cast("B")
        shown = (frame.transfer, frame.aspect)
        Answer(FRAME, frame.index, frame.pts_seconds, pixels, height, width, *shown).send(parent)


def _fetch(parent: socket.socket, size: int, number: int) -> bytes:
    length = block_length(number, size)
    Answer(READ, number).send(parent)
    return parent.recv(length, socket.MSG_WAITALL)


if __name__ == "__main__":
    main(Decoding.model_validate_json(sys.argv[1]), int(sys.argv[2]) or None)
