"""The bytes of a text table as UTF-8, whatever they are in their file: gzipped, UTF-16, or Latin-1.

>>> from io import BytesIO
>>> stream = Utf8Stream(BytesIO("v1,Café".encode("cp1252")))
>>> stream.read().decode(), stream.encoding
('v1,Café', 'cp1252')
"""

import codecs
import gzip
import re
import zlib
from io import BufferedReader, RawIOBase
from typing import IO, Any, cast

AUTO = "auto"
"""The encoding of a table whose bytes tell it themselves."""

UTF_8 = "utf-8"

LATIN = "cp1252"
"""The encoding of bytes that are not UTF-8: Windows-1252, which Excel writes in Western Europe and America. It has all
printable characters of Latin-1 at the same places, and browsers read Latin-1 so (WHATWG Encoding Standard, §4.2)."""

GZIP_MAGIC = b"\x1f\x8b"
"""The first bytes of each gzip file (RFC 1952 §2.3.1). No text begins with them."""

BLOCK_BYTES = 1 << 20
"""The number of bytes that are decoded at once, and that an encoding is guessed by: thousands of rows."""

BUFFER_BYTES = 4 << 20
"""The number of bytes that one request to a bucket reads ahead."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: UTF_8,
    codecs.BOM_UTF32_LE: "utf-32",  # it begins as the mark of UTF-16 does, and is looked for first
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

BAD_BYTE = re.compile("[\udc80-\udcff]")
FOREIGN_LETTER = re.compile("[^\x00-\x7f\udc80-\udcff]")


class Utf8Stream(RawIOBase):
    """A stream of UTF-8 over a stream of bytes that may be gzipped and in another encoding.

    Text that is ASCII is the same in UTF-8 and Windows-1252. So nothing is guessed before the first block with another
    byte, and that block settles the encoding of the whole file: no second reading is needed, and every reader of a file
    guesses alike. Bytes that have no meaning in the encoding stay as they are, and no cell accepts them.

    Args:
        stream: The bytes, seekable.
        encoding: The name of an encoding, or `AUTO`.

    Attributes:
        encoding: The name of the encoding; `AUTO` as long as all bytes were ASCII.
    """

    def __init__(self, stream: IO[bytes], encoding: str = AUTO) -> None:
        self._stream = unpacked(stream)
        self._ready = memoryview(b"")
        self._decoder: codecs.IncrementalDecoder | None = None
        self._is_begun = self._is_ended = False
        self.encoding = encoding if encoding == AUTO else codecs.lookup(encoding).name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._is_ended:
            self._ready = memoryview(self._next_block())
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def settle(self) -> str:
        """Reads on, and forgets what it reads, until the encoding is known: a file that is all ASCII is UTF-8."""
        while self.encoding == AUTO and not self._is_ended:
            self._next_block()
        return UTF_8 if self.encoding == AUTO else self.encoding

    def _next_block(self) -> bytes:
        try:
            block = self._read()
            if self._decoder is None:
                return block
            return self._decoder.decode(block, self._is_ended).encode(UTF_8, "surrogateescape")
        except (EOFError, UnicodeError, zlib.error) as error:
            raise OSError(f"its bytes are damaged: {error}") from None

    def _read(self) -> bytes:
        block = self._stream.read(BLOCK_BYTES)
        self._is_ended = not block
        if not self._is_begun:
            block = self._begin(block)
        if self.encoding == AUTO and not block.isascii():
            block += self._stream.readline(BLOCK_BYTES)  # so that no letter is cut in two
            self._decode_as(guess(block))
        return block

    def _begin(self, block: bytes) -> bytes:
        """Looks for a byte order mark, and cuts off that of UTF-8."""
        self._is_begun = True
        marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if block.startswith(mark)), None)
        if self.encoding != AUTO:
            self._decode_as(self.encoding)
        elif marked:
            self._decode_as(marked)
        return block.removeprefix(codecs.BOM_UTF8) if self.encoding == UTF_8 else block

    def _decode_as(self, encoding: str) -> None:
        self.encoding = encoding
        if encoding != UTF_8:
            self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")


def guess(block: bytes) -> str:
    """UTF-8, if that explains most of the bytes that are not ASCII; else Windows-1252."""
    text = block.decode(UTF_8, "surrogateescape")
    return UTF_8 if len(FOREIGN_LETTER.findall(text)) >= len(BAD_BYTE.findall(text)) else LATIN


def is_gzipped(stream: IO[bytes]) -> bool:
    """Whether a seekable stream begins as a gzip file does; it stands at its beginning then."""
    magic = stream.read(len(GZIP_MAGIC))
    stream.seek(0)
    return magic == GZIP_MAGIC


def unpacked(stream: IO[bytes]) -> BufferedReader:
    """The bytes of a stream, or what gzip packed into it. The bytes decide, not the name: browsers unpack, too."""
    if is_gzipped(stream):
        return BufferedReader(cast(RawIOBase, gzip.GzipFile(fileobj=stream)), BUFFER_BYTES)
    return BufferedReader(cast(RawIOBase, stream), BUFFER_BYTES)
