"""Opening an untrusted video file with FFmpeg (through PyAV): its video stream, and whether all of it is there.

Everything here may crash or hang on hostile bytes: run it in a `Sandbox`. A file is opened as a stream of bytes, never
by a name, and with a whitelist of demuxers and protocols, so that no playlist in it can make FFmpeg open another file
or a network address.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from io import SEEK_CUR, SEEK_END, SEEK_SET
from itertools import takewhile
from struct import Struct
from typing import BinaryIO, TypeAlias, cast

import av
import av.error
import av.subtitles.codeccontext
import av.subtitles.stream  # PyAV imports these two on first use, when a sandbox can open no file any more
from av.container import InputContainer
from av.index import IndexEntries
from av.packet import Packet, PktSideDataT
from av.stream import Discard, Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import HIGHEST_RATE, MediaFile
from yt8m_pipeline.decoding.frame_times import Grid

Log: TypeAlias = list[tuple[int, str, str]]
VideoPacket: TypeAlias = "Packet[VideoStream]"

BOX = Struct(">I4sQ")
"""The head of an MP4 box is its length, its kind and, if the length needs 64 bits, the length again (ISO/IEC 14496-12
§4.2)."""

STILL_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
"""Streams with one of these dispositions are pictures that accompany the video, such as a cover."""

CUT_OFF_MESSAGES = ("moov atom not found", "File ended prematurely")
"""FFmpeg 8 logs these for an MP4 that ends before its index, and for a Matroska file that ends inside an element."""

INCOMPLETE_PACKET_MESSAGE = "Packet corrupt"
"""FFmpeg 8 logs this for a packet that is not all there, and flags the packet."""

TOO_MANY_STREAMS_MESSAGE = "exceeds max_streams"
"""FFmpeg 8 logs this, of streams or tracks, where a file has more streams than its option `max_streams` allows."""

NOT_LISTED_MESSAGE = "Format not on whitelist"
"""FFmpeg 8 logs this, in the name of the demuxer, where a file is of a kind that `format_whitelist` does not list."""

OTHER_CONTAINERS = frozenset(
    {
        *("mxf", "dv", "gif", "nut", "wtv", "rm", "gxf", "nsv", "swf", "ivf", "yuv4mpegpipe", "apng"),
        *("h264", "hevc", "av1", "obu", "m4v", "mpegvideo", "vc1", "dirac"),
    }
)
"""These demuxers read videos too, though they are not listed by default: containers that are rare in collections, and
bare streams, which have no times. All others that are not listed read playlists, still pictures, sound or text."""

STILL_PICTURE_BRANDS = frozenset({"heic", "heix", "heim", "heis", "mif1", "mif2", "miaf", "avif"})
"""Files of these brands are still pictures in the MP4 family (ISO/IEC 23008-12 §10, AVIF §8)."""

JOINABLE = frozenset({"mpegts", "mpeg"})
"""Files in the formats of these demuxers can be cut anywhere and joined end to end, and the result is a video again."""

RESTART_SECONDS = Fraction(1, 10)
"""Times that step back by more than this at a keyframe begin anew, because files were joined there. The ffmpeg command
line uses the same value (`-dts_delta_threshold`)."""

DOUBTFUL_BEFORE_JOINT = 2
"""This many packets before a joint of files may count as incomplete although they are whole."""

HARMLESS_MESSAGES = frozenset({"mmco: unref short failure"})
"""These errors of decoders cost no pixel: an H.264 stream that begins at a recovery point releases pictures that it
never had."""

LOSSES = (
    *("concealing ", "Failed to parse header of NALU", "Skipping invalid undecodable NALU"),
    "freeing incomplete packet",
)
"""Messages that begin so report a loss, although FFmpeg logs them as mere information: it made up a part of a picture,
or left a whole one out; or ASF data packets that hold the rest of a picture are lost."""

NONSENSE = ("Invalid mvhd time scale",)
"""Errors that begin so are of a number in the header that FFmpeg ignores, and that no frame depends on."""

FLV_TAG = Struct(">B3s7x")
"""The head of an FLV tag is its kind and the length of its data, times and the number of a stream; after the data comes
the length of the tag in four bytes (Adobe Flash Video File Format Specification 10.1 §E.4.1)."""

FLV_KINDS = frozenset({8, 9, 18})
"""The kinds of FLV tags, in the five lowest bits: sound, video and data."""

AVI_CHUNK_BYTES = 8
"""The index of an AVI tells where the head of a chunk is, which has so many bytes (AVI RIFF File Reference)."""


def _is_error(line: tuple[int, str, str]) -> bool:
    level, _, text = line
    return (level <= av.logging.ERROR and not text.startswith(NONSENSE)) or text.startswith(LOSSES)


WIDEST_PIXEL = Fraction(16)
"""A pixel is at most so many times as wide as it is high, or as high as it is wide; anything else is nonsense."""


@dataclass(slots=True)
class Work:
    """How many packets of a video were read, and how many were decoded."""

    read: int = 0
    decoded: int = 0


@dataclass(frozen=True, slots=True)
class OpenedVideo:
    """A video file that is open and can be read once, from its start.

    Attributes:
        container: The file.
        stream: The one stream of the file that is read.
        ending: Tells whether the file was cut off.
        grid: The grid times, per second.
        work: What has been read and decoded of it.
    """

    container: InputContainer
    stream: VideoStream
    ending: "Ending"
    grid: Grid
    work: Work = field(default_factory=Work)

    @property
    def tick(self) -> Fraction:
        """The unit of the stream's times, in seconds."""
        return self.stream.time_base or Fraction(1)

    @property
    def decoder(self) -> VideoCodecContext:
        """The stream's decoder."""
        return self.stream.codec_context

    @property
    def pixel_aspect(self) -> Fraction:
        """The width : height of a pixel; 1 where the header tells none, or one that makes no sense."""
        told = self.stream.sample_aspect_ratio
        return told if told and 1 / WIDEST_PIXEL <= told <= WIDEST_PIXEL else Fraction(1)

    @property
    def rate(self) -> Fraction | None:
        """The number of frames per second that the header tells; None where it tells none, or a negative one."""
        told = self.stream.guessed_rate
        return told if told and told > 0 else None

    @property
    def is_joinable(self) -> bool:
        """Whether the file may have been cut out of others, or joined."""
        return self.container.format.name in JOINABLE

    @property
    def times_from_header(self) -> int:
        """The number of grid times that the header's duration covers; 0 where the header tells no duration."""
        return self.grid.between(Fraction(0), self.seconds_from_header).stop

    @property
    def seconds_from_header(self) -> Fraction:
        """The duration that the header tells; 0 where it tells none, or a negative one."""
        ticks = self.stream.duration
        seconds = ticks * self.tick if ticks else Fraction(self.container.duration or 0, av.time_base)
        return max(seconds, Fraction(0))

    def media(self) -> MediaFile:
        """What the file is, and what was done of it so far."""
        rate = self.stream.average_rate
        return MediaFile(
            container=self.container.format.name,
            codec=self.decoder.codec.canonical_name,
            file_bytes=self.ending.size(),
            width=self.decoder.width,
            height=self.decoder.height,
            frame_rate=float(rate) if rate and 0 < rate <= HIGHEST_RATE else None,
            packets=self.work.read,
            decoded_packets=self.work.decoded,
        )

    def shortfall(self, times: int) -> VideoRejected | None:
        """Why a video that ended after so many grid times may have been longer; None: there is no sign of that."""
        if times == self.grid.count:
            return None
        if self.ending.is_cut_off():
            what = "the file ends before the packets that its index or size promises"
            return VideoRejected(DropReason.TRUNCATED, what)
        complaint = self.ending.complaint(self.container.format.name) or self._unread_tags()
        if complaint and times < self.times_from_header:
            return VideoRejected(DropReason.DAMAGED, f"the file cannot be read to its end: {complaint}")
        return None

    def _unread_tags(self) -> str | None:
        return self.ending.unread_tags() if self.container.format.name == "flv" else None

    def damage(self) -> VideoRejected | None:
        """What the decoder has complained of since the last call. FFmpeg conceals damage, and only its log tells."""
        return self._complaint(of_demuxer=False)

    def hole(self) -> VideoRejected | None:
        """What the demuxer has complained of since the last call.

        If a packet has come all the same, something before it is lost.
        """
        return self._complaint(of_demuxer=True)

    def _complaint(self, *, of_demuxer: bool) -> VideoRejected | None:
        if self.ending.is_quiet:
            return None
        component, what = self.decoder.codec.name, f"the {self.stream.name} stream is damaged"
        if of_demuxer:
            component, what = self.container.format.name, "the file has a hole"
        complaint = self.ending.complaint(component)
        return VideoRejected(self.ending.reason(), f"{what}: {complaint}") if complaint else None

    def packets(self) -> Iterator[VideoPacket]:
        """Yields the packets that are not empty, in decoding order.

        Raises:
            VideoRejected: ENCRYPTED.

        After the last packet PyAV 18 flushes each stream, and fails with an IndexError on streams that FFmpeg found
        after opening the file.
        """
        with suppress(IndexError):
            packets: Iterator[VideoPacket] = (one for one in self.container.demux(self.stream) if one.size)
            if self.is_joinable:
                packets = in_one_timeline(packets, self.tick)
            if self.container.format.name == "avi":
                packets = self._in_the_time_of_the_index(packets)
            for packet in packets:
                self.ending.last = packet.pos
                if has_side_data(packet, "encryption_info"):
                    raise VideoRejected(DropReason.ENCRYPTED, f"the packet with pts {packet.pts} is encrypted")
                self.work.read += 1
                yield packet

    def decode(self, packet: VideoPacket) -> list[VideoFrame]:
        """Gives the decoder a packet, and returns the frames that it puts out."""
        self.work.decoded += 1
        return self.decoder.decode(packet)

    def _in_the_time_of_the_index(self, packets: Iterator[VideoPacket]) -> Iterator[VideoPacket]:
        """Yields the packets of an AVI, whose times are those of its index.

        An AVI has no times: FFmpeg counts the packets that it finds, and does not say that it found none where the head
        of a chunk is destroyed. The index counts them all, if there is one, and says which are keyframes.
        """
        entries, lost = {entry.pos + AVI_CHUNK_BYTES: entry for entry in self.stream.index_entries}, 0
        for packet in packets:
            entry = entries.get(packet.pos or 0)
            if entry and packet.dts is not None and entry.timestamp > packet.dts + lost:
                more, lost = entry.timestamp - packet.dts - lost, entry.timestamp - packet.dts
                self.ending.complain(self.container.format.name, f"its index has {more} more before {packet.pos}")
            if entry and lost and packet.dts is not None:
                packet.dts += lost
                packet.pts = None if packet.pts is None else packet.pts + lost
                packet.is_keyframe = entry.is_keyframe
            yield packet

    def drained(self) -> Iterator[VideoFrame]:
        """Yields the frames that the decoder still holds, and empties it so that decoding can begin anew."""
        yield from self.decoder.decode(None)
        self.decoder.flush_buffers()


def has_side_data(packet: VideoPacket, kind: PktSideDataT) -> bool:
    """Whether a packet has side data of a kind. Few packets have any, which PyAV tells faster than it finds a kind."""
    return next(packet.iter_sidedata(), None) is not None and packet.has_sidedata(kind)


class Fragments:
    """Tells where a fragment of a fragmented MP4 is lost.

    Each fragment tells its decode time (`tfdt`, ISO/IEC 14496-12 §8.8.12), and the samples before it tell how long they
    last, so nothing is missing as long as one follows the other. A gap of less than a frame may be rounding.
    """

    def __init__(self, video: OpenedVideo) -> None:
        self._is_fragmented = "mp4" in video.container.format.name.split(",") and not video.stream.frames
        self._end: int | None = None

    def is_lost_before(self, packet: VideoPacket) -> bool:
        """Whether something is missing between a packet and the one that this was asked of before."""
        if packet.dts is None or not self._is_fragmented:
            return False
        duration = max(packet.duration or 0, 0)
        is_lost = self._end is not None and packet.dts - self._end > duration
        self._end = packet.dts + duration
        return is_lost


def in_one_timeline(packets: Iterator[VideoPacket], tick: Fraction) -> Iterator[VideoPacket]:
    """Yields the packets of joined files with times that go on from the end of one file to the start of the next.

    In MPEG-TS the last packet before a joint, or the one before that if FFmpeg parses the stream, counts as incomplete,
    because the packet counter of the next file is not the next number (ISO/IEC 13818-1 §2.4.3.3). Whether they are
    whole is left to the decoder.
    """
    slack, shift, duration = round(RESTART_SECONDS / tick), 0, 0
    latest: int | None = None
    before: deque[VideoPacket] = deque()
    for packet in packets:
        if packet.dts is not None:
            if latest is not None and packet.is_keyframe and packet.dts + shift < latest - slack:
                shift = latest + duration - packet.dts
                for one in before:
                    one.is_corrupt = False
            packet.dts += shift
            packet.pts = None if packet.pts is None else packet.pts + shift
            latest, duration = packet.dts, packet.duration or 0
        before.append(packet)
        if len(before) > DOUBTFUL_BEFORE_JOINT:
            yield before.popleft()
    yield from before


@dataclass(frozen=True, slots=True)
class ChosenFrame:
    """A frame of the grid as it came from the decoder.

    Attributes:
        index: The number k of the grid time.
        pts_seconds: The frame's presentation time, in seconds after the video's start.
        frame: The frame.
        pixel_aspect: The width : height of its pixels.
    """

    index: int
    pts_seconds: Fraction
    frame: VideoFrame
    pixel_aspect: Fraction


@contextmanager
def open_video(file: BinaryIO, decoding: Decoding) -> Iterator[OpenedVideo]:
    """Opens a file as a video, to be read from its start.

    Args:
        file: The file's bytes, seekable. Nothing else is opened.
        decoding: The grid (`frames_per_second`, `max_seconds`) and the whitelists.

    Raises:
        VideoRejected: NOT_A_VIDEO, CONTAINER_NOT_ACCEPTED, TOO_MANY_STREAMS, NO_VIDEO_STREAM, UNSUPPORTED_CODEC,
            TRUNCATED, DAMAGED, IO_ERROR.
    """
    file.seek(0)
    with _opened(file, decoding) as (container, ending):
        yield OpenedVideo(container, _video_stream(container, ending), ending, Grid.of_config(decoding))


@contextmanager
def _opened(file: BinaryIO, decoding: Decoding) -> "Iterator[tuple[InputContainer, Ending]]":
    """Opens a container of one of the whitelisted kinds. Nothing but the file is read.

    Packets without pts stay without one (`-genpts`): FFmpeg's guesses run backwards where frames are reordered.

    Raises:
        VideoRejected: NOT_A_VIDEO, CONTAINER_NOT_ACCEPTED, TOO_MANY_STREAMS, TRUNCATED, DAMAGED, IO_ERROR.
    """
    av.logging.set_level(av.logging.INFO)
    av.logging.set_skip_repeated(False)
    options = {
        "fflags": "-genpts",
        "format_whitelist": ",".join(decoding.demuxers),
        "protocol_whitelist": ",".join(decoding.protocols),
        "max_streams": str(decoding.max_streams),
    }
    bounded = cast(BinaryIO, _BoundedFile(file))
    with av.logging.Capture() as log:
        ending = Ending(bounded, log, decoding.demuxers)
        try:
            with rejecting("the container cannot be opened", ending.reason_not_opened):
                _forget_last_message()
                container = av.open(bounded, "r", container_options=options, metadata_errors="replace")
        finally:
            _check_accepted(log, decoding)
        ending.is_opened(container.format.name)
        with container:
            yield container, ending


def _forget_last_message() -> None:
    """Makes PyAV forget the last error that FFmpeg has logged in this process.

    PyAV adds it to the next exception, which may be about another video than the message.
    """
    with suppress(av.FFmpegError):
        av.error.err_check(-1)


class _BoundedFile:
    """A file in which nobody seeks beyond the end: an impossible offset in a video is met as the end of the file.

    Otherwise the file system decides: a seek to 2^50 is an error on some, which would look like a failing disk.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, file.seek(0, SEEK_END)
        self.read, self.tell = file.read, file.tell
        file.seek(0)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self._file.tell()}.get(whence, self._size)
        return self._file.seek(min(max(start + offset, 0), self._size))


def _check_accepted(log: Log, decoding: Decoding) -> None:
    """Rejects a file of a kind that the config does not accept, by what FFmpeg has logged while opening it."""
    if any(TOO_MANY_STREAMS_MESSAGE in text for _, _, text in log):
        what = f"the file has more than decoding.max_streams = {decoding.max_streams} streams"
        raise VideoRejected(DropReason.TOO_MANY_STREAMS, what)
    unlisted = [component for _, component, text in log if text.startswith(NOT_LISTED_MESSAGE)]
    known = OTHER_CONTAINERS.union(Decoding().demuxers)
    for component in unlisted:
        if known.intersection(component.split(",")):
            what = f"the container {component} is not among decoding.demuxers: {', '.join(decoding.demuxers)}"
            raise VideoRejected(DropReason.CONTAINER_NOT_ACCEPTED, what)


@contextmanager
def rejecting(what: str, reason: Callable[[], DropReason]) -> Iterator[None]:
    """Turns FFmpeg's errors into `VideoRejected`; a lack of memory stays a MemoryError."""
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
    """Returns FFmpeg's best video stream that is no still picture, and makes the demuxer skip all other streams.

    The stream gets one decoder thread: with several, FFmpeg 8 decodes VP8 to other pixels once in some 25 times under
    load.
    """
    brand = container.metadata.get("major_brand", "")
    if brand in STILL_PICTURE_BRANDS:
        raise VideoRejected(DropReason.NOT_A_VIDEO, f"the file is a still picture of the brand {brand}")
    moving = [stream for stream in container.streams.video if not stream.disposition & STILL_PICTURES]
    if not moving:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        reason = DropReason.TRUNCATED if ending.is_cut_off() else DropReason.NO_VIDEO_STREAM
        raise VideoRejected(reason, f"the {container.format.name} file holds {kinds}")
    best = container.streams.best("video")
    chosen = next((stream for stream in moving if stream is best), moving[0])
    if chosen.codec_context is None:
        raise VideoRejected(DropReason.UNSUPPORTED_CODEC, f"no decoder for stream {chosen.index}")
    chosen.codec_context.thread_count = 1
    for other in container.streams:
        if other is not chosen:
            other.discard = Discard.all
    ending.index = chosen.index_entries
    return chosen


class Ending:
    """Tells a file that was cut off from a file that is damaged inside.

    Args:
        file: The file's bytes.
        log: What FFmpeg has logged: level, component and text of each message, growing.
        demuxers: The whitelisted demuxers.

    Attributes:
        index: The index of the stream.
        last: Where the last packet lies that was read.
        doubtful_bytes: In so many first bytes the demuxer has met damage while it opened the file.
    """

    def __init__(self, file: BinaryIO, log: Log, demuxers: Sequence[str]) -> None:
        self._file, self._log, self._demuxers = file, log, demuxers
        self.index: IndexEntries | tuple[()] = ()
        self.last: int | None = None
        self._said_at_opening = 0
        self._noticed: dict[str, int] = {}
        self._is_asked = True
        self.doubtful_bytes = 0

    def is_opened(self, demuxer: str) -> None:
        """Marks the messages so far as met at the opening.

        What decoders complained of will be met again, and so will an incomplete packet. What else the demuxer
        complained of will not: FFmpeg has buffered the packets that it read so far, and something among them (in the
        first `doubtful_bytes`) is lost.
        """
        self._said_at_opening = len(self._log)
        said = takewhile(lambda line: not line[2].startswith(INCOMPLETE_PACKET_MESSAGE), self._log)
        if any(line[1] == demuxer and _is_error(line) for line in said):
            self._noticed[demuxer], self._is_asked, self.doubtful_bytes = 0, False, self._file.tell()

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to ask for: nothing was logged since the file was opened."""
        return self._is_asked and len(self._log) == self._said_at_opening

    def complaint(self, component: str) -> str | None:
        """Returns the first error that a demuxer or decoder has logged since its complaints were last asked for."""
        self._is_asked = True
        news = self._log[self._noticed.get(component, self._said_at_opening) :]
        self._noticed[component] = len(self._log)
        said = (line[2].strip() for line in news if line[1] == component and _is_error(line))
        return next((text for text in said if text not in HARMLESS_MESSAGES), None)

    def complain(self, component: str, text: str) -> None:
        """Adds to what FFmpeg has logged what it has not."""
        self._log.append((av.logging.ERROR, component, text))

    def nonsense(self) -> list[str]:
        """What FFmpeg has said of numbers in the header that it ignores."""
        return [text.strip() for _, _, text in self._log if text.startswith(NONSENSE)]

    def is_cut_off(self) -> bool:
        """Whether the container says that there is more than what is there."""
        logged = any(words in message for _, _, message in self._log for words in CUT_OFF_MESSAGES)
        return logged or self._ends_before_indexed_packets() or self._ends_inside_box(b"moov", b"moof")

    def reason(self) -> DropReason:
        """TRUNCATED for a file that was cut off, else DAMAGED."""
        return DropReason.TRUNCATED if self.is_cut_off() else DropReason.DAMAGED

    def reason_not_opened(self) -> DropReason:
        """NOT_A_VIDEO for a file of whose damage no whitelisted demuxer has complained, else `reason`."""
        ours = any(_is_error(line) and line[1].split(",")[0] in self._demuxers for line in self._log)
        return self.reason() if ours else DropReason.NOT_A_VIDEO

    def reason_of_partial_packet(self) -> DropReason:
        """TRUNCATED for an incomplete packet after which nothing is left to read: there the file was cut."""
        return DropReason.TRUNCATED if self._file.tell() >= self.size() else self.reason()

    def _ends_before_indexed_packets(self) -> bool:
        return max((entry.pos + entry.size for entry in self.index if entry.size), default=0) > self.size()

    def _ends_inside_box(self, *kinds: bytes) -> bool:
        """Whether a top-level box of an MP4 (ISO/IEC 14496-12 §4.2) of one of these kinds goes beyond the file."""
        place, end = 0, self.size()
        with self._returning():
            while place + 8 <= end:
                self._file.seek(place)
                length, kind, long_length = BOX.unpack(self._file.read(BOX.size).ljust(BOX.size, b"\0"))
                length = {0: end - place, 1: long_length}.get(length, length)
                if length < 8 or place + length > end:
                    return length >= 8 and kind in kinds
                place += length
        return False

    def unread_tags(self) -> str | None:
        """Tells where the tags of an FLV that follow the last packet do not lead to the end of the file.

        FFmpeg takes any byte for the head of a tag, and without a word skips as much as that says.
        """
        place, end = self.last, self.size()
        with self._returning():
            while place is not None and place + FLV_TAG.size <= end:
                self._file.seek(place)
                kind, length = FLV_TAG.unpack(self._file.read(FLV_TAG.size))
                if kind & 31 not in FLV_KINDS:
                    return f"there is no tag at {place}"
                place += FLV_TAG.size + int.from_bytes(length) + 4
        return None

    def size(self) -> int:
        """The size of the file, in bytes."""
        with self._returning():
            return self._file.seek(0, SEEK_END)

    @contextmanager
    def _returning(self) -> Iterator[None]:
        """Puts the file back to where it was, so that a demuxer that reads on does not see that it was moved."""
        here = self._file.tell()
        yield
        self._file.seek(here)
