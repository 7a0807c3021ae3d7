"""A strip of small pictures of a video, in the film's own aspect, made of frames that are decoded anyway."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import compress

import numpy as np
from av import VideoCodecContext, VideoFrame
from av.codec.context import Flags
from av.video.reformatter import ColorRange, VideoReformatter

from yt8m_pipeline.data_model import UInt8Array
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.frames import RESIZING

HEIGHT = 120
"""The height of a picture, in pixels. One of 16:9 is 214 pixels wide, and four of them have some 20 kB."""

WIDEST = Fraction(8)
"""A picture is at most so many times as wide as it is high, or as high as it is wide."""

QUALITY = "4"
"""The quantizer scale of the JPEG encoder, from 1 to 31, of which 1 is the best."""

KEPT_FOR_EACH = 8
"""How many shrunk frames are kept for each picture, at least half of them, until it is known how long the video is."""


class Strip:
    """Watches the frames of a video go by, and makes a strip of so many of them, evenly apart.

    Args:
        pictures: How many; 0 for none. A video of fewer frames has as many pictures as frames.
    """

    def __init__(self, pictures: int) -> None:
        self._pictures, self._stride, self._seen = pictures, 1, 0
        self._kept: list[UInt8Array] = []
        self._shape: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()

    def watching(self, frames: Iterable[SampledFrame]) -> Iterator[SampledFrame]:
        """Yields the frames as they come."""
        for frame in frames:
            if self._pictures and self._seen % self._stride == 0:
                self._keep(frame)
            self._seen += 1
            yield frame

    def _keep(self, frame: SampledFrame) -> None:
        self._kept.append(self._shrunk(frame))
        if len(self._kept) >= KEPT_FOR_EACH * self._pictures:
            del self._kept[1::2]
            self._stride *= 2

    def _shrunk(self, frame: SampledFrame) -> UInt8Array:
        """The frame in the size of the first picture, whatever sizes the frames of a video have."""
        height, width = self._shape = self._shape or _shape(frame.aspect)
        picture = VideoFrame.from_ndarray(frame.rgb, format="rgb24")
        small = self._reformatter.reformat(picture, width, height, "rgb24", interpolation=RESIZING)
        return np.asarray(small.to_ndarray(), np.uint8)

    @property
    def count(self) -> int:
        """How many pictures there are by now."""
        return min(self._pictures, len(self._kept))

    @property
    def chosen(self) -> list[UInt8Array]:
        """uint8, (height, width, 3), for each picture: those at the middles of as many equal parts of the video."""
        middles = (np.arange(self.count) + 0.5) * (self._seen / self._stride / max(self.count, 1))
        places = np.minimum(middles.astype(int), len(self._kept) - 1)
        return list(compress(self._kept, np.isin(np.arange(len(self._kept)), places)))

    def to_jpeg(self) -> bytes:
        """The pictures side by side, as a JPEG file.

        Raises:
            ValueError: if no frame has gone by.
        """
        if not self._kept:
            raise ValueError("a strip has at least one frame")
        return _jpeg(np.ascontiguousarray(np.concatenate(self.chosen, axis=1)))


def _shape(aspect: float) -> tuple[int, int]:
    """The height and width of a picture, both even, as chroma subsampling wants them."""
    wide = min(max(Fraction(aspect), 1 / WIDEST), WIDEST)
    return HEIGHT, 2 * max(round(HEIGHT * wide / 2), 1)


def _jpeg(rgb: UInt8Array) -> bytes:
    encoder = VideoCodecContext.create("mjpeg", "w")
    encoder.height, encoder.width, _ = rgb.shape
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuvj420p", Fraction(1), 1
    encoder.color_range, encoder.options = ColorRange.JPEG, {"qmin": QUALITY, "qmax": QUALITY}
    encoder.flags |= Flags.bitexact
    picture = VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuvj420p", interpolation=RESIZING)
    return b"".join(bytes(packet) for frame in (picture, None) for packet in encoder.encode(frame))
