"""Decoding a video at a fixed rate with FFmpeg (through PyAV): exact frames, untrusted input (DESIGN §4.3, §4.4).

Everything here may crash or hang on hostile bytes: run it in a `Sandbox`.
"""

from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import DropReason, SampledFrame, UInt8Array
from yt8m_pipeline.errors import VideoRejected
from yt8m_pipeline.extraction.container import Ending, opened, rejecting, video_stream
from yt8m_pipeline.extraction.frame_times import TimedFrame, frames_on_grid

RESIZING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area averaging, with results that do not depend on the processor's vector instructions."""

NOMINAL_RATE = Fraction(25)
"""Frames per second of a stream that gives neither times nor a rate."""


def library_version() -> str:
    """What the decoded pixels depend on, for the fingerprint of the feature space."""
    codec, scale = (av.library_versions[name][0] for name in ("libavcodec", "libswscale"))
    return f"PyAV {av.__version__.split('.')[0]}, libavcodec {codec}, libswscale {scale}"


def decode_frames(
    stream: BinaryIO, decoding: Decoding, size: int | None = None
) -> Generator[SampledFrame, None, float]:
    """Yields the frame on screen at k / rate seconds after the first one, for every k of `frames_on_grid`.

    Frames are decoded in order by one thread until the last grid time is settled; only the chosen ones are converted:
    area-averaged to a square (which absorbs the sample aspect ratio), to RGB by the frame's own colour matrix and
    range (BT.601 limited where it names none), and turned upright by the display matrix.

    Args:
        stream: The file's bytes, seekable. Nothing else is opened.
        decoding: The grid, the whitelists and the policies.
        size: Height and width of the frames, pixels; None: each frame has its own size.

    Returns:
        The share of the film's grid times whose frame is sound.

    Raises:
        VideoRejected: NOT_A_VIDEO, NO_VIDEO_STREAM, UNSUPPORTED_CODEC, NO_FRAMES, IO_ERROR; TRUNCATED or DAMAGED for
            any damage met before the last grid time is settled, whatever was yielded before.
        MemoryError: when FFmpeg gets no memory.
    """
    with opened(stream, decoding) as (container, ending):
        video = video_stream(container, ending)
        limit = Fraction(str(decoding.max_seconds))
        grid = frames_on_grid(_frames(container, video, ending), rate=decoding.rate, max_seconds=limit)
        reformatter, start, previous = VideoReformatter(), None, None
        for index, shown in grid:
            start = shown.pts_seconds if start is None else start
            if shown is not previous:
                rgb, previous = _upright(reformatter, shown.image, size), shown
            yield SampledFrame(index, float(shown.pts_seconds - start), rgb)
        if start is None:
            raise VideoRejected(DropReason.NO_FRAMES, f"the {video.name} stream has no frame to show")
    return 1.0


def _frames(container: InputContainer, video: VideoStream, ending: Ending) -> Iterator[TimedFrame[VideoFrame]]:
    """Every frame in presentation order. A missing pts is the end of the frame before."""
    tick = video.time_base or Fraction(1)
    nominal = round(1 / ((video.guessed_rate or NOMINAL_RATE) * tick))
    next_pts = 0
    with rejecting(f"the {video.name} stream cannot be decoded", ending.reason):
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


def _upright(reformatter: VideoReformatter, frame: VideoFrame, size: int | None) -> UInt8Array:
    """uint8, (size, size, 3), or of the frame's size. The display matrix is taken to the nearest quarter turn."""
    kind = f"{frame.format.name} with colour matrix {frame.colorspace}"
    with rejecting(f"{kind} cannot be converted to RGB", lambda: DropReason.UNSUPPORTED_CODEC):
        rgb = reformatter.reformat(frame, size, size, "rgb24", interpolation=RESIZING, threads=1)
    turns_counterclockwise = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), turns_counterclockwise))
