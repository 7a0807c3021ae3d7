"""Opening an untrusted container with FFmpeg (through PyAV): its film, and whether all of it is there (DESIGN §4.3).

Everything here may crash or hang on hostile bytes: run it in a `Sandbox`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import SEEK_END
from struct import Struct
from typing import BinaryIO, TypeAlias

import av
import av.subtitles.codeccontext
import av.subtitles.stream  # PyAV imports these two on first use, when a sandbox can open no file any more
from av.container import InputContainer
from av.index import IndexEntries
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import DropReason
from yt8m_pipeline.errors import VideoRejected

Log: TypeAlias = list[tuple[int, str, str]]

BOX = Struct(">I4sQ")
"""The head of an MP4 box: its length, its kind, and the length again if it needs 64 bits."""

PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails

CUT_OFF_MESSAGES = ("moov atom not found", "File ended prematurely")
"""What FFmpeg 8 logs for an MP4 that ends before its index, and for a Matroska file that ends inside an element."""


@contextmanager
def opened(stream: BinaryIO, decoding: Decoding) -> "Iterator[tuple[InputContainer, Ending]]":
    """A container of one of the whitelisted kinds. Nothing but the stream is read.

    Raises:
        VideoRejected: NOT_A_VIDEO, TRUNCATED, DAMAGED, IO_ERROR.
    """
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    options = {
        "format_whitelist": ",".join(decoding.demuxers),
        "protocol_whitelist": ",".join(decoding.protocols),
    }
    with av.logging.Capture() as log:
        ending = Ending(stream, log, decoding.demuxers)
        with rejecting("the container cannot be opened", ending.reason_not_opened):
            container = av.open(stream, "r", container_options=options, metadata_errors="replace")
        with container:
            yield container, ending


@contextmanager
def rejecting(what: str, reason: Callable[[], DropReason]) -> Iterator[None]:
    """Turns FFmpeg's errors into `VideoRejected` and leaves the lack of memory alone."""
    try:
        yield
    except MemoryError:
        raise
    except av.FFmpegError as error:
        said = f" ({str(error.log[-1]).strip()})" if error.log else ""
        raise VideoRejected(reason(), f"{what}: {error.strerror}{said}") from error
    except OSError as error:
        raise VideoRejected(DropReason.IO_ERROR, f"{what}: {error}") from error


def video_stream(container: InputContainer, ending: "Ending") -> VideoStream:
    """FFmpeg's best video stream that is a film; the other streams are not read.

    It gets one decoder thread: with several, FFmpeg 8 decodes VP8 to other pixels once in some 25 times under load.
    """
    films = [stream for stream in container.streams.video if not stream.disposition & PICTURES]
    if not films:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        reason = DropReason.TRUNCATED if ending.is_cut_off() else DropReason.NO_VIDEO_STREAM
        raise VideoRejected(reason, f"the {container.format.name} file holds {kinds}")
    best = container.streams.best("video")
    video = next((film for film in films if film is best), films[0])
    if video.codec_context is None:
        raise VideoRejected(DropReason.UNSUPPORTED_CODEC, f"no decoder for stream {video.index}")
    video.codec_context.thread_count = 1
    for other in container.streams:
        if other is not video:
            other.discard = Discard.all
    ending.index = video.index_entries
    return video


class Ending:
    """Tells a file that was cut off from one that is damaged inside. Ask when decoding is over: the stream is moved."""

    def __init__(self, stream: BinaryIO, log: Log, demuxers: Sequence[str]) -> None:
        self._stream, self._log, self._demuxers = stream, log, demuxers
        self.index: IndexEntries | tuple[()] = ()

    def is_cut_off(self) -> bool:
        """Whether the container says that there is more than what is there."""
        logged = any(words in message for _, _, message in self._log for words in CUT_OFF_MESSAGES)
        return logged or self._ends_before_indexed_packets() or self._ends_inside_box(b"moov", b"moof")

    def reason(self) -> DropReason:
        return DropReason.TRUNCATED if self.is_cut_off() else DropReason.DAMAGED

    def reason_not_opened(self) -> DropReason:
        """A file whose damage no demuxer of ours has met is no video."""
        ours = any(component.split(",")[0] in self._demuxers for _, component, _ in self._log)
        return self.reason() if ours else DropReason.NOT_A_VIDEO

    def reason_of_partial_packet(self) -> DropReason:
        """An incomplete packet after which nothing is left to read is where the file was cut."""
        return DropReason.TRUNCATED if self._stream.tell() >= self._size() else self.reason()

    def _ends_before_indexed_packets(self) -> bool:
        return max((entry.pos + entry.size for entry in self.index if entry.size), default=0) > self._size()

    def _ends_inside_box(self, *kinds: bytes) -> bool:
        """Walks the top-level boxes of an MP4 (ISO/IEC 14496-12 §4.2)."""
        place, end = 0, self._size()
        while place + 8 <= end:
            self._stream.seek(place)
            length, kind, long_length = BOX.unpack(self._stream.read(BOX.size).ljust(BOX.size, b"\0"))
            length = {0: end - place, 1: long_length}.get(length, length)
            if length < 8 or place + length > end:
                return length >= 8 and kind in kinds
            place += length
        return False

    def _size(self) -> int:
        here = self._stream.tell()
        size = self._stream.seek(0, SEEK_END)
        self._stream.seek(here)
        return size
