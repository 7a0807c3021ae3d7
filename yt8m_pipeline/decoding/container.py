"""Opening an untrusted container with FFmpeg (through PyAV): its film, and whether all of it is there (DESIGN §4.3).

Everything here may crash or hang on hostile bytes: run it in a `Sandbox`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from io import SEEK_END
from struct import Struct
from typing import BinaryIO, TypeAlias

import av
import av.subtitles.codeccontext
import av.subtitles.stream  # PyAV imports these two on first use, when a sandbox can open no file any more
from av.container import InputContainer
from av.index import IndexEntries
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.frame_times import Grid

Log: TypeAlias = list[tuple[int, str, str]]
VideoPacket: TypeAlias = "Packet[VideoStream]"

BOX = Struct(">I4sQ")
"""The head of an MP4 box: its length, its kind, and the length again if it needs 64 bits."""

PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails

CUT_OFF_MESSAGES = ("moov atom not found", "File ended prematurely")
"""What FFmpeg 8 logs for an MP4 that ends before its index, and for a Matroska file that ends inside an element."""

JOINABLE = frozenset({"mpegts", "mpeg"})
"""Demuxers of formats in which one file after another is a film too."""

RESTART_SECONDS = Fraction(1, 10)
"""By how much times step back at least where such files are joined, as in the ffmpeg command line."""

HARMLESS_MESSAGES = frozenset({"mmco: unref short failure"})
"""Errors of decoders that cost no pixel: an H.264 stream that begins at a recovery point releases what it never had."""

LOSSES = ("concealing ", "Failed to parse header of NALU", "Skipping invalid undecodable NALU")
"""That FFmpeg made up a part of a picture, or left a whole one out, it tells as mere information."""


def _is_error(line: tuple[int, str, str]) -> bool:
    level, _, text = line
    return level <= av.logging.ERROR or text.startswith(LOSSES)


@dataclass(frozen=True, slots=True)
class Film:
    """An opened film, to be read once from its start.

    Attributes:
        container: The file.
        video: The one stream of it that is read.
        ending: Tells whether the file was cut off.
        grid: The grid times, per second.
    """

    container: InputContainer
    video: VideoStream
    ending: "Ending"
    grid: Grid

    @property
    def tick(self) -> Fraction:
        """Seconds."""
        return self.video.time_base or Fraction(1)

    @property
    def decoder(self) -> VideoCodecContext:
        return self.video.codec_context

    @property
    def times_from_header(self) -> int:
        """How many grid times the film has by its header; 0 where that tells no duration."""
        ticks = self.video.duration
        seconds = ticks * self.tick if ticks else Fraction(self.container.duration or 0, av.time_base)
        return self.grid.between(Fraction(0), max(seconds, Fraction(0))).stop

    def shortfall(self, times: int) -> VideoRejected | None:
        """Why a film that ended after so many grid times may have been longer; None: there is no sign of that."""
        if times == self.grid.count:
            return None
        if self.ending.is_cut_off():
            what = "the file ends before the packets that its index or size promises"
            return VideoRejected(DropReason.TRUNCATED, what)
        complaint = self.ending.complaint(self.container.format.name)
        if complaint and times < self.times_from_header:
            return VideoRejected(DropReason.DAMAGED, f"the file cannot be read to its end: {complaint}")
        return None

    def damage(self) -> VideoRejected | None:
        """What the decoder has complained of since this was last asked: FFmpeg conceals damage, and only says so."""
        return self._complaint(of_demuxer=False)

    def hole(self) -> VideoRejected | None:
        """What the demuxer has complained of; ask when a packet has come all the same: something before it is lost."""
        return self._complaint(of_demuxer=True)

    def _complaint(self, *, of_demuxer: bool) -> VideoRejected | None:
        if self.ending.is_quiet:
            return None
        component, what = self.decoder.codec.name, f"the {self.video.name} stream is damaged"
        if of_demuxer:
            component, what = self.container.format.name, "the file has a hole"
        complaint = self.ending.complaint(component)
        return VideoRejected(self.ending.reason(), f"{what}: {complaint}") if complaint else None

    def packets(self) -> Iterator[VideoPacket]:
        """The packets that hold something, in decoding order.

        After the last one PyAV 18 flushes each stream, and fails on those that FFmpeg found after opening the file.
        """
        with suppress(IndexError):
            packets = (packet for packet in self.container.demux(self.video) if packet.size)
            is_joinable = self.container.format.name in JOINABLE
            yield from in_one_timeline(packets, self.tick) if is_joinable else packets

    def drained(self) -> Iterator[VideoFrame]:
        """The frames that the decoder still holds; then it is empty, and can begin anew."""
        yield from self.decoder.decode(None)
        self.decoder.flush_buffers()


def in_one_timeline(packets: Iterator[VideoPacket], tick: Fraction) -> Iterator[VideoPacket]:
    """Where times begin anew at a keyframe, they go on from the end of what was before."""
    slack, shift, duration = round(RESTART_SECONDS / tick), 0, 0
    latest: int | None = None
    for packet in packets:
        if packet.dts is not None:
            if latest is not None and packet.is_keyframe and packet.dts + shift < latest - slack:
                shift = latest + duration - packet.dts
            packet.dts += shift
            packet.pts = None if packet.pts is None else packet.pts + shift
            latest, duration = packet.dts, packet.duration or 0
        yield packet


@dataclass(frozen=True, slots=True)
class Chosen:
    """A frame of the grid, as it came from the decoder.

    Attributes:
        index: k.
        pts_seconds: Its presentation time after the film's start.
        frame: The frame.
    """

    index: int
    pts_seconds: Fraction
    frame: VideoFrame


@contextmanager
def open_film(stream: BinaryIO, decoding: Decoding) -> Iterator[Film]:
    """The film of a file, from its start.

    Raises:
        VideoRejected: NOT_A_VIDEO, NO_VIDEO_STREAM, UNSUPPORTED_CODEC, TRUNCATED, DAMAGED, IO_ERROR.
    """
    stream.seek(0)
    with _opened(stream, decoding) as (container, ending):
        grid = Grid.of(decoding.rate, Fraction(str(decoding.max_seconds)))
        yield Film(container, _video_stream(container, ending), ending, grid)


@contextmanager
def _opened(stream: BinaryIO, decoding: Decoding) -> "Iterator[tuple[InputContainer, Ending]]":
    """A container of one of the whitelisted kinds. Nothing but the stream is read.

    Packets without pts stay without: FFmpeg's guesses run backwards where frames are reordered.

    Raises:
        VideoRejected: NOT_A_VIDEO, TRUNCATED, DAMAGED, IO_ERROR.
    """
    av.logging.set_level(av.logging.INFO)
    av.logging.set_skip_repeated(False)
    options = {
        "fflags": "-genpts",
        "format_whitelist": ",".join(decoding.demuxers),
        "protocol_whitelist": ",".join(decoding.protocols),
    }
    with av.logging.Capture() as log:
        ending = Ending(stream, log, decoding.demuxers)
        with rejecting("the container cannot be opened", ending.reason_not_opened):
            container = av.open(stream, "r", container_options=options, metadata_errors="replace")
        ending.is_opened()
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


def _video_stream(container: InputContainer, ending: "Ending") -> VideoStream:
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
    """Tells a file that was cut off from one that is damaged inside."""

    def __init__(self, stream: BinaryIO, log: Log, demuxers: Sequence[str]) -> None:
        self._stream, self._log, self._demuxers = stream, log, demuxers
        self.index: IndexEntries | tuple[()] = ()
        self._said_at_opening = 0
        self._noticed: dict[str, int] = {}

    def is_opened(self) -> None:
        """What was logged so far will be met again, or does not matter."""
        self._said_at_opening = len(self._log)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing at all was logged since the file was opened."""
        return len(self._log) == self._said_at_opening

    def complaint(self, component: str) -> str | None:
        """The first error that a demuxer or decoder has logged since its complaints were last asked for."""
        news = self._log[self._noticed.get(component, self._said_at_opening) :]
        self._noticed[component] = len(self._log)
        said = (line[2].strip() for line in news if line[1] == component and _is_error(line))
        return next((text for text in said if text not in HARMLESS_MESSAGES), None)

    def is_cut_off(self) -> bool:
        """Whether the container says that there is more than what is there."""
        logged = any(words in message for _, _, message in self._log for words in CUT_OFF_MESSAGES)
        return logged or self._ends_before_indexed_packets() or self._ends_inside_box(b"moov", b"moof")

    def reason(self) -> DropReason:
        return DropReason.TRUNCATED if self.is_cut_off() else DropReason.DAMAGED

    def reason_not_opened(self) -> DropReason:
        """A file whose damage no demuxer of ours has met is no video."""
        ours = any(_is_error(line) and line[1].split(",")[0] in self._demuxers for line in self._log)
        return self.reason() if ours else DropReason.NOT_A_VIDEO

    def reason_of_partial_packet(self) -> DropReason:
        """An incomplete packet after which nothing is left to read is where the file was cut."""
        return DropReason.TRUNCATED if self._stream.tell() >= self._size() else self.reason()

    def _ends_before_indexed_packets(self) -> bool:
        return max((entry.pos + entry.size for entry in self.index if entry.size), default=0) > self._size()

    def _ends_inside_box(self, *kinds: bytes) -> bool:
        """Walks the top-level boxes of an MP4 (ISO/IEC 14496-12 §4.2)."""
        place, end = 0, self._size()
        with self._returning():
            while place + 8 <= end:
                self._stream.seek(place)
                length, kind, long_length = BOX.unpack(self._stream.read(BOX.size).ljust(BOX.size, b"\0"))
                length = {0: end - place, 1: long_length}.get(length, length)
                if length < 8 or place + length > end:
                    return length >= 8 and kind in kinds
                place += length
        return False

    def _size(self) -> int:
        with self._returning():
            return self._stream.seek(0, SEEK_END)

    @contextmanager
    def _returning(self) -> Iterator[None]:
        """Puts the stream back to where it was: a demuxer that reads on does not see that it was moved."""
        here = self._stream.tell()
        yield
        self._stream.seek(here)
