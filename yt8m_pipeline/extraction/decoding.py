"""Decoding a video at a fixed rate with FFmpeg (through PyAV): exact frames, untrusted input (DESIGN §4.3, §4.4).

Everything here may crash or hang on hostile bytes: run it in a `Sandbox`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import SEEK_END
from struct import Struct
from typing import BinaryIO, TypeAlias

import av
import av.subtitles.codeccontext
import av.subtitles.stream  # PyAV imports these two on first use, when a sandbox can open no file any more
import numpy as np
from av.container import InputContainer
from av.index import IndexEntries
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from yt8m_pipeline.data_model import DropReason, SampledFrame, UInt8Array
from yt8m_pipeline.errors import VideoRejected
from yt8m_pipeline.extraction.frame_times import TimedFrame, frames_on_grid

Log: TypeAlias = list[tuple[int, str, str]]

DEMUXERS = ("mov", "matroska", "flv", "avi", "mpegts", "mpeg", "ogg", "asf")
"""FFmpeg's demuxers of self-contained files. No playlist, no image sequence, no session description."""

RESIZING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area averaging, with results that do not depend on the processor's vector instructions."""

BOX = Struct(">I4sQ")
"""The head of an MP4 box: its length, its kind, and the length again if it needs 64 bits."""

PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails

NOMINAL_RATE = Fraction(25)
"""Frames per second of a stream that gives neither times nor a rate."""

CUT_OFF_MESSAGES = ("moov atom not found", "File ended prematurely")
"""What FFmpeg 8 logs for an MP4 that ends before its index, and for a Matroska file that ends inside an element."""


def library_version() -> str:
    """What the decoded pixels depend on, for the fingerprint of the feature space."""
    codec, scale = (av.library_versions[name][0] for name in ("libavcodec", "libswscale"))
    return f"PyAV {av.__version__.split('.')[0]}, libavcodec {codec}, libswscale {scale}"


def decode_frames(stream: BinaryIO, *, rate: Fraction, max_seconds: float, size: int) -> Iterator[SampledFrame]:
    """Yields the frame on screen at k / rate seconds after the first one, for every k of `frames_on_grid`.

    Frames are decoded in order by one thread until the last grid time is settled; only the chosen ones are converted:
    area-averaged to a square (which absorbs the sample aspect ratio), to RGB by the frame's own colour matrix and
    range (BT.601 limited where it names none), and turned upright by the display matrix.

    Args:
        stream: The file's bytes, seekable. Nothing else is opened.
        rate: Frames per second.
        max_seconds: Grid times at and after this are left out.
        size: Height and width of the frames, pixels.

    Raises:
        VideoRejected: NOT_A_VIDEO, NO_VIDEO_STREAM, UNSUPPORTED_CODEC, NO_FRAMES, IO_ERROR; TRUNCATED or DAMAGED for
            any damage met before the last grid time is settled, whatever was yielded before.
        MemoryError: when FFmpeg gets no memory.
    """
    with _opened(stream) as (container, ending):
        video = _video_stream(container, ending)
        grid = frames_on_grid(_frames(container, video, ending), rate=rate, max_seconds=Fraction(str(max_seconds)))
        reformatter, start, previous = VideoReformatter(), None, None
        for index, shown in grid:
            start = shown.pts_seconds if start is None else start
            if shown is not previous:
                rgb, previous = _upright_square(reformatter, shown.image, size), shown
            yield SampledFrame(index, float(shown.pts_seconds - start), rgb)
        if start is None:
            raise VideoRejected(DropReason.NO_FRAMES, f"the {video.name} stream has no frame to show")


@contextmanager
def _opened(stream: BinaryIO) -> "Iterator[tuple[InputContainer, _Ending]]":
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    options = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": ""}
    with av.logging.Capture() as log:
        ending = _Ending(stream, log)
        with _rejecting("the container cannot be opened", ending.reason_not_opened):
            container = av.open(stream, "r", container_options=options, metadata_errors="replace")
        with container:
            yield container, ending


@contextmanager
def _rejecting(what: str, reason: Callable[[], DropReason]) -> Iterator[None]:
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


def _video_stream(container: InputContainer, ending: "_Ending") -> VideoStream:
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


class _Ending:
    """Tells a file that was cut off from one that is damaged inside. Ask when decoding is over: the stream is moved."""

    def __init__(self, stream: BinaryIO, log: Log) -> None:
        self._stream, self._log = stream, log
        self.index: IndexEntries | tuple[()] = ()

    def is_cut_off(self) -> bool:
        """Whether the container says that there is more than what is there."""
        logged = any(words in message for _, _, message in self._log for words in CUT_OFF_MESSAGES)
        return logged or self._ends_before_indexed_packets() or self._ends_inside_box(b"moov", b"moof")

    def reason(self) -> DropReason:
        return DropReason.TRUNCATED if self.is_cut_off() else DropReason.DAMAGED

    def reason_not_opened(self) -> DropReason:
        """A file whose damage no demuxer of ours has met is no video."""
        ours = any(component.split(",")[0] in DEMUXERS for _, component, _ in self._log)
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


def _frames(container: InputContainer, video: VideoStream, ending: _Ending) -> Iterator[TimedFrame[VideoFrame]]:
    """Every frame in presentation order. A missing pts is the end of the frame before."""
    tick = video.time_base or Fraction(1)
    nominal = round(1 / ((video.guessed_rate or NOMINAL_RATE) * tick))
    next_pts = 0
    with _rejecting(f"the {video.name} stream cannot be decoded", ending.reason):
        for packet in container.demux(video):
            if packet.is_corrupt:
                raise VideoRejected(
                    ending.reason_of_partial_packet(), f"the packet with pts {packet.pts} is incomplete"
                )
            for frame in packet.decode():
                pts = next_pts if frame.pts is None else frame.pts
                if frame.is_corrupt:
                    raise VideoRejected(ending.reason(), f"the frame at {float(pts * tick):.3f} s is damaged")
                duration = max(frame.duration, 0)
                next_pts = pts + (duration or nominal)
                yield TimedFrame(pts * tick, duration * tick, frame)
    if ending.is_cut_off():
        raise VideoRejected(DropReason.TRUNCATED, "the file ends before the packets that its index or size promises")


def _upright_square(reformatter: VideoReformatter, frame: VideoFrame, size: int) -> UInt8Array:
    """uint8, (size, size, 3). The display matrix is taken to the nearest quarter turn."""
    kind = f"{frame.format.name} with colour matrix {frame.colorspace}"
    with _rejecting(f"{kind} cannot be converted to RGB", lambda: DropReason.UNSUPPORTED_CODEC):
        square = reformatter.reformat(frame, size, size, "rgb24", interpolation=RESIZING, threads=1)
    turns_counterclockwise = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(square.to_ndarray(), turns_counterclockwise))
