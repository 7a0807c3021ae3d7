"""Decoding a video at a fixed rate with FFmpeg (through PyAV): one frame per second, up to `max_seconds` (paper §3.3).

Frame k is the frame on screen k / `frames_per_second` seconds after the first one, for every such time that is before
the end of the video and before `decoding.max_seconds`. A video is decoded in one of three ways, all with one decoder
thread:

- *sparingly*, where the packets tell which of them the chosen frames depend on: all other packets, such as B-frames
  that are not chosen, are left out (`sparing_decoder`);
- *plainly*, every packet, where they do not tell it, or where anything is amiss (`plain_decoder`);
- at its *keyframes* alone, if the config says so (`keyframe_decoder`).

The first two give the same pixels.

Everything here may crash or hang on hostile bytes: run it in a `Sandbox`.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO, cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from yt8m_pipeline.accounting.reasons import DropReason
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import UInt8Array
from yt8m_pipeline.decoding.account import Account, OnScreen
from yt8m_pipeline.decoding.codings.picture import Unplannable
from yt8m_pipeline.decoding.container import ChosenFrame, OpenedVideo, open_video, rejecting
from yt8m_pipeline.decoding.display import Display, display_of
from yt8m_pipeline.decoding.facts import TRANSFERS, Decoded, SampledFrame
from yt8m_pipeline.decoding.keyframe_decoder import decode_keyframes
from yt8m_pipeline.decoding.plain_decoder import decode_plainly
from yt8m_pipeline.decoding.sparing_decoder import decode_sparingly

RESIZING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Frames are resized by area averaging, with results that do not depend on the processor's vector instructions."""


def library_version() -> str:
    """What the decoded pixels depend on, for the fingerprint of the feature space.

    It names PyAV by its major version, the two libraries of FFmpeg by the major and minor ones that a release series of
    FFmpeg keeps, and the flags of resizing.
    """
    codec, scale = (".".join(map(str, av.library_versions[name][:2])) for name in ("libavcodec", "libswscale"))
    return f"PyAV {av.__version__.split('.')[0]}, libavcodec {codec}, libswscale {scale}, {RESIZING.name}"


def decode_frames(
    file: BinaryIO, decoding: Decoding, size: int | None = None
) -> Generator[SampledFrame, None, Decoded]:
    """Yields the frame on screen at k / `frames_per_second` seconds after the first one, for k = 0, 1, …

    The last k is the last one before the end of the video and before `decoding.max_seconds` (`frames_on_grid`). Only
    what these frames depend on is decoded, and only they are converted: area-averaged to a square (which absorbs the
    sample aspect ratio), to RGB by the frame's own colour matrix and range (BT.601 limited where it names none), and
    turned upright by the display matrix. Damage that no chosen frame depends on does not show.

    Under `damage: salvage`, a frame that is damaged or may depend on damage (up to the next keyframe) is replaced by
    the last sound one, or at the beginning by the first. Under `sampling: keyframes`, the keyframe nearest to each
    grid time is taken.

    >>> import io, av
    >>> file = io.BytesIO()
    >>> with av.open(file, "w", format="matroska") as container:  # a video of three black pictures, one per second
    ...     stream = container.add_stream("mjpeg", rate=1, width=64, height=48, pix_fmt="yuvj420p")
    ...     for _ in range(3):
    ...         container.mux(stream.encode(av.VideoFrame(64, 48, "yuvj420p")))
    >>> [(frame.index, frame.pts_seconds, frame.rgb.shape) for frame in decode_frames(file, Decoding(), size=299)]
    [(0, 0.0, (299, 299, 3)), (1, 1.0, (299, 299, 3)), (2, 2.0, (299, 299, 3))]

    Args:
        file: The file's bytes, seekable. Nothing else is opened.
        decoding: The grid, the whitelists and the policies.
        size: Height and width of the frames, in pixels; None: each frame has its own size.

    Returns:
        What the file is, and the share of the video's grid times whose frame is sound. The grid times that a video
        lacks because it was cut off count as not sound, as far as its header tells how long it was.

    Raises:
        VideoRejected: NOT_A_VIDEO, NO_VIDEO_STREAM, UNSUPPORTED_CODEC, NO_FRAMES, IO_ERROR; TRUNCATED or DAMAGED
            where that is not salvaged, whatever was yielded before, with the share of frames that are sound.
        MemoryError: when FFmpeg gets no memory.
    """
    way = {"exact": _exactly, "keyframes": _at_keyframes}[decoding.sampling]
    return (yield from _converted(way(file, decoding), size))


def _converted(
    chosen: Generator[ChosenFrame, None, Decoded], size: int | None
) -> Generator[SampledFrame, None, Decoded]:
    convert = _Converter(size)
    try:
        while True:
            item = next(chosen)
            transfer = TRANSFERS.get(item.frame.color_trc, "")
            rgb = convert(item.frame)
            aspect = convert.aspect(item.frame, item.pixel_aspect)
            yield SampledFrame(item.index, float(item.pts_seconds), rgb, transfer, aspect)
    except StopIteration as end:
        return cast(Decoded, end.value)


def _exactly(file: BinaryIO, decoding: Decoding) -> Generator[ChosenFrame, None, Decoded]:
    """Decodes sparingly and, where that does not work out, plainly from the beginning."""
    done = 0
    with open_video(file, decoding) as video:
        try:
            for chosen in decode_sparingly(video):
                yield chosen
                done = chosen.index + 1
            return Decoded(1.0, video.media())
        except Unplannable:
            in_vain = video.work.decoded
    decoded = yield from _accounted(file, decoding, decode_plainly, begin=done)
    media = replace(decoded.media, decoded_packets=decoded.media.decoded_packets + in_vain)
    return replace(decoded, media=media)


def _at_keyframes(file: BinaryIO, decoding: Decoding) -> Generator[ChosenFrame, None, Decoded]:
    return _accounted(file, decoding, decode_keyframes)


def _accounted(
    file: BinaryIO,
    decoding: Decoding,
    decode: Callable[[OpenedVideo, Account], Iterator[tuple[int, OnScreen]]],
    begin: int = 0,
) -> Generator[ChosenFrame, None, Decoded]:
    """Decodes from the beginning in a way that keeps account of damage, and leaves out grid times before `begin`."""
    with open_video(file, decoding) as video:
        account = Account(video, is_strict=decoding.damage == "strict")
        decoded_fraction = yield from account.settle(decode(video, account), begin=begin)
        return Decoded(decoded_fraction, video.media())


class _Converter:
    """Turns frames into upright RGB of one size (None: their own). A frame that is shown again is turned only once."""

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._reformatter = VideoReformatter()
        self._rotation: float | None = None
        self._display = Display()
        self._previous: VideoFrame | None = None
        self._rgb: UInt8Array = np.empty((0, 0, 3), np.uint8)

    def __call__(self, frame: VideoFrame) -> UInt8Array:
        """Returns uint8, (height, width, 3)."""
        if frame is not self._previous:
            self._previous, self._rgb = frame, self._upright(frame)
        return self._rgb

    def aspect(self, frame: VideoFrame, pixel_aspect: Fraction) -> float:
        """The width : height of a frame that was just converted, as it is shown upright."""
        aspect = pixel_aspect * frame.width / frame.height
        return float(1 / aspect if self._display.quarter_turns % 2 else aspect)

    def _upright(self, frame: VideoFrame) -> UInt8Array:
        kind = f"{frame.format.name} with colour matrix {frame.colorspace}"
        with rejecting(f"{kind} cannot be converted to RGB", lambda: DropReason.UNSUPPORTED_CODEC):
            rgb = self._reformatter.reformat(
                frame, self._size, self._size, "rgb24", interpolation=RESIZING, threads=1
            ).to_ndarray()
        if frame.rotation != self._rotation:
            self._rotation, self._display = frame.rotation, display_of(frame)
        is_mirrored, quarter_turns, _ = self._display
        return np.ascontiguousarray(np.rot90(np.fliplr(rgb) if is_mirrored else rgb, quarter_turns))
