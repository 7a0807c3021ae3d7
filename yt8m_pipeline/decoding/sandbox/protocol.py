"""What the two ends of the sandbox's socket say to each other: fixed binary headers and bounded payloads, no pickle.

The parent sends a `JOB`: the task, the video's size in bytes and, where the video is a local file, its descriptor. The
child answers with FRAMEs and IDLE, with FACTS, or with REJECTED. Of a video without a descriptor it asks for blocks
(READ) meanwhile, and each time gets the bytes of the block and nothing else.
"""

from math import nan
from socket import socket
from struct import Struct
from typing import NamedTuple

JOB = Struct("!cQ")
DECODE, PROBE, PROBE_FRAMES = b"d", b"p", b"P"

HEADER = Struct("!cIdIII")
IDLE, FRAME, FACTS, REJECTED, READ = b"i", b"f", b"j", b"r", b"b"

MIB = 2**20
BLOCK_BYTES = MIB
MAX_FRAME_BYTES = 128 * MIB
"""Of a frame in its own size: 8K UHD, 7680 × 4320, has 95 MiB."""

MAX_REJECTION_BYTES = 4096
MAX_FACTS_BYTES = 16 * MIB


class Answer(NamedTuple):
    """A message of the child.

    Attributes:
        kind: IDLE, FRAME, FACTS, REJECTED or READ.
        number: k of a FRAME; which block to READ.
        value: The decoded fraction of IDLE and REJECTED (NaN: not known); the pts of a FRAME, seconds.
        payload: The frame's RGB bytes; the facts as JSON; the rejection's reason and detail.
        height: Of a FRAME, pixels.
        width: Of a FRAME, pixels.
    """

    kind: bytes
    number: int = 0
    value: float = nan
    payload: bytes | bytearray | memoryview = b""
    height: int = 0
    width: int = 0

    def send(self, parent: socket) -> None:
        parent.sendall(HEADER.pack(self.kind, self.number, self.value, self.height, self.width, len(self.payload)))
        parent.sendall(self.payload)


def block_length(number: int, size: int) -> int:
    """How many bytes of a file of `size` bytes a block has.

    Raises:
        ValueError: if the file has no such block.
    """
    length = min(BLOCK_BYTES, size - number * BLOCK_BYTES)
    if number < 0 or length <= 0:
        raise ValueError(f"a file of {size} bytes has no block {number}")
    return length
