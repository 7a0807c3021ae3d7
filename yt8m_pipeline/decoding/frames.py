"""Decoding a video at a fixed rate with FFmpeg (through PyAV): exact frames, untrusted input (DESIGN §4.3, §4.4).

A film is decoded in one of three ways, all with one decoder thread: *sparingly*, where its packets tell which of them
the chosen frames depend on; *plainly*, every packet, where they do not, or where anything is amiss; or at its
*keyframes* alone, if the config says so. The first two give the same pixels.

Everything here may crash or hang on hostile bytes: run it in a `Sandbox`.
"""

from collections.abc import Callable, Generator, Iterator
from struct import Struct
from typing import BinaryIO

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from yt8m_pipeline.accounting.reasons import DropReason
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import UInt8Array
from yt8m_pipeline.decoding.account import Account, OnScreen
from yt8m_pipeline.decoding.codings.picture import Unplannable
from yt8m_pipeline.decoding.container import Chosen, Film, open_film, rejecting
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.keyframe_decoder import decode_keyframes
from yt8m_pipeline.decoding.plain_decoder import decode_plainly
from yt8m_pipeline.decoding.sparing_decoder import decode_sparingly

RESIZING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area averaging, with results that do not depend on the processor's vector instructions."""


MATRIX = Struct("=5i")
"""The first numbers of a display matrix, a b u c d, in 16.16 fixed point (ISO/IEC 14496-12 §6.2.2)."""


def library_version() -> str:
    """What the decoded pixels depend on, for the fingerprint of the feature space.

    It names PyAV by its major version, the two libraries of FFmpeg by the major and minor ones that a release series of
    FFmpeg keeps, and the flags of resizing.
    """
    codec, scale = (".".join(map(str, av.library_versions[name][:2])) for name in ("libavcodec", "libswscale"))
    return f"PyAV {av.__version__.split('.')[0]}, libavcodec {codec}, libswscale {scale}, {RESIZING.name}"


def decode_frames(
    stream: BinaryIO, decoding: Decoding, size: int | None = None
) -> Generator[SampledFrame, None, float]:
    """Yields the frame on screen at k / rate seconds after the first one, for every k of `frames_on_grid`.

    Only what these frames depend on is decoded, and only they are converted: area-averaged to a square (which absorbs
    the sample aspect ratio), to RGB by the frame's own colour matrix and range (BT.601 limited where it names none),
    and turned upright by the display matrix. Damage that no chosen frame depends on does not show.

    Under `damage: salvage`, a frame that is damaged or may depend on damage (up to the next keyframe) is replaced by
    the last sound one, or at the beginning by the first. Under `sampling: keyframes`, the keyframe nearest to each
    grid time is taken.

    Args:
        stream: The file's bytes, seekable. Nothing else is opened.
        decoding: The grid, the whitelists and the policies.
        size: Height and width of the frames, pixels; None: each frame has its own size.

    Returns:
        The share of the film's grid times whose frame is sound. The grid times that a film lacks because it was cut
        off count as not sound, as far as its header tells how long it was.

    Raises:
        VideoRejected: NOT_A_VIDEO, NO_VIDEO_STREAM, UNSUPPORTED_CODEC, NO_FRAMES, IO_ERROR; TRUNCATED or DAMAGED
            where that is not salvaged, whatever was yielded before, with the share of frames that are sound.
        MemoryError: when FFmpeg gets no memory.
    """
    way = {"exact": _exactly, "keyframes": _at_keyframes}[decoding.sampling]
    return (yield from _converted(way(stream, decoding), size))


def _converted(chosen: Generator[Chosen, None, float], size: int | None) -> Generator[SampledFrame, None, float]:
    convert = _Converter(size)
    try:
        while True:
            item = next(chosen)
            yield SampledFrame(item.index, float(item.pts_seconds), convert(item.frame))
    except StopIteration as end:
        return float(end.value)


def _exactly(stream: BinaryIO, decoding: Decoding) -> Generator[Chosen, None, float]:
    """Sparingly, and where that does not work out plainly, from the beginning."""
    done = 0
    try:
        with open_film(stream, decoding) as film:
            for chosen in decode_sparingly(film):
                yield chosen
                done = chosen.index + 1
            return 1.0
    except Unplannable:
        return (yield from _accounted(stream, decoding, decode_plainly, begin=done))


def _at_keyframes(stream: BinaryIO, decoding: Decoding) -> Generator[Chosen, None, float]:
    return _accounted(stream, decoding, decode_keyframes)


def _accounted(
    stream: BinaryIO,
    decoding: Decoding,
    decode: Callable[[Film, Account], Iterator[tuple[int, OnScreen]]],
    begin: int = 0,
) -> Generator[Chosen, None, float]:
    """Decodes in a way that keeps account of damage, from the beginning; grid times before `begin` are left out."""
    with open_film(stream, decoding) as film:
        account = Account(film, is_strict=decoding.damage == "strict")
        return (yield from account.settle(decode(film, account), begin=begin))


class _Converter:
    """Turns frames into RGB of one size (None: their own), upright; a frame that is shown again only once."""

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._reformatter = VideoReformatter()
        self._rotation: float | None = None
        self._is_mirrored = False
        self._previous: VideoFrame | None = None
        self._rgb: UInt8Array = np.empty((0, 0, 3), np.uint8)

    def __call__(self, frame: VideoFrame) -> UInt8Array:
        """uint8, (height, width, 3)."""
        if frame is not self._previous:
            self._previous, self._rgb = frame, self._upright(frame)
        return self._rgb

    def _upright(self, frame: VideoFrame) -> UInt8Array:
        kind = f"{frame.format.name} with colour matrix {frame.colorspace}"
        with rejecting(f"{kind} cannot be converted to RGB", lambda: DropReason.UNSUPPORTED_CODEC):
            rgb = self._reformatter.reformat(
                frame, self._size, self._size, "rgb24", interpolation=RESIZING, threads=1
            ).to_ndarray()
        if frame.rotation != self._rotation:
            self._rotation, self._is_mirrored = frame.rotation, is_mirrored(frame)
        turns = quarter_turns(frame, mirrored=self._is_mirrored)
        return np.ascontiguousarray(np.rot90(np.fliplr(rgb) if self._is_mirrored else rgb, turns))


def is_mirrored(frame: VideoFrame) -> bool:
    """Whether the display matrix mirrors a frame from left to right, before it turns it.

    Ask rarely: PyAV 18 ties a frame whose side data was seen to itself, and its memory waits for the garbage
    collector.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    a, b, _, c, d = MATRIX.unpack_from(matrix) if isinstance(matrix, SideData) else (1, 0, 0, 0, 1)
    return bool(a * d < b * c)


def quarter_turns(frame: VideoFrame, *, mirrored: bool) -> int:
    """How often the display matrix turns a frame by 90° counterclockwise, to the nearest."""
    return round(frame.rotation / 90) + 2 * mirrored
