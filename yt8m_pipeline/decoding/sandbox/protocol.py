"""What the two ends of the sandbox's socket say to each other: fixed binary headers and bounded payloads, no pickle.

The child begins with IDLE and the protections that it lacks. The parent sends a `JOB`: the task, the video's size in
bytes and, where the video is a local file, its descriptor. The child answers with FRAMEs and IDLE, with FACTS and IDLE,
or with REJECTED. Meanwhile it asks for the blocks of a video that comes without a descriptor (READ), and each time gets
the bytes of the block and nothing else.
"""

from math import nan
from socket import socket
from struct import Struct
from typing import NamedTuple

JOB = Struct("!cQ")
"""A job is its task and the video's size in bytes."""

DECODE, PROBE, PROBE_FRAMES = b"d", b"p", b"P"

HEADER = Struct("!cIdIII3sd")
"""An answer begins with its kind, number, value, height and width, the size of its payload in bytes, the name of a
transfer function, and an aspect."""

IDLE, FRAME, FACTS, REJECTED, READ = b"i", b"f", b"j", b"r", b"b"

MIB = 2**20
BLOCK_BYTES = MIB
"""Remote videos are read in blocks of this many bytes: one request each to an object store."""

MAX_FRAME_BYTES = 128 * MIB
"""A frame in its own size has at most this many bytes; one of 8K UHD, 7680 × 4320, has 95 MiB."""

MAX_REJECTION_BYTES = 4096
"""The reason and detail of a rejection have at most this many bytes."""

MAX_IDLE_BYTES = 1024
"""The names of all protections together, or a media file as JSON, have at most this many bytes."""

MAX_FACTS_BYTES = 16 * MIB
"""The facts of a video as JSON have at most this many bytes: 360 frames take 60 kB."""


class Answer(NamedTuple):
    """A message of the child.

    Attributes:
        kind: IDLE, FRAME, FACTS, REJECTED or READ.
        number: The k of a FRAME; the number of the block to READ.
        value: The decoded fraction of IDLE and REJECTED (NaN: not known); the pts of a FRAME, in seconds.
        payload: The frame's RGB bytes; the facts as JSON; the rejection's reason and detail; of the first IDLE, the
            protections that the system does not offer, one a line, and of one after FRAMEs, the media file as JSON.
        height: The height of a FRAME, in pixels.
        width: The width of a FRAME, in pixels.
        transfer: The transfer function of a FRAME of high dynamic range: PQ or HLG.
        aspect: The width : height of a FRAME as it is shown.
    """

    kind: bytes
    number: int = 0
    value: float = nan
    payload: bytes | bytearray | memoryview = b""
    height: int = 0
    width: int = 0
    transfer: str = ""
    aspect: float = 1.0

    def send(self, parent: socket) -> None:
        sizes = (self.height, self.width, len(self.payload))
        parent.sendall(HEADER.pack(self.kind, self.number, self.value, *sizes, self.transfer.encode(), self.aspect))
        parent.sendall(self.payload)


def block_length(number: int, size: int) -> int:
    """Returns how many bytes a block of a file of `size` bytes has.

    Raises:
        ValueError: if the file has no such block.
    """
    length = min(BLOCK_BYTES, size - number * BLOCK_BYTES)
    if number < 0 or length <= 0:
        raise ValueError(f"a file of {size} bytes has no block {number}")
    return length
