"""How to read the pictures of each codec for which it is known what they depend on.

Nothing is decoded: a few header bits are read. Where a header is not understood, the picture is taken to read and write
everything, which is always safe. Sources beside those that the modules name: RFC 6386 §9.1 (VP8), ISO/IEC 10918-1 §B.2
(JPEG).
"""

from collections.abc import Callable

from yt8m_pipeline.decoding.codings.av1 import Av1
from yt8m_pipeline.decoding.codings.mpeg import Mpeg2, Mpeg4
from yt8m_pipeline.decoding.codings.nal_units import H264, Hevc
from yt8m_pipeline.decoding.codings.picture import ALONE, ENTRY, HIDDEN, REFERENCE, Coding, Picture


def coding_of(codec: str, extradata: bytes, *, is_reordered: bool) -> Coding | None:
    """How to read a stream of an FFmpeg codec; None where only decoding everything is known to be exact.

    Args:
        codec: FFmpeg's name.
        extradata: The stream's headers, as the container has them.
        is_reordered: Whether the decoder knows that frames come in another order than they are coded in.
    """
    makers: dict[str, Callable[[], Coding]] = {
        "h264": lambda: H264(extradata, is_reordered=is_reordered),
        "hevc": lambda: Hevc(extradata),
        "av1": lambda: Av1(extradata),
        "vp8": Vp8,
        "mjpeg": Mjpeg,
        **dict.fromkeys(("mpeg1video", "mpeg2video"), lambda: Mpeg2(is_reordered=is_reordered)),
        "mpeg4": lambda: Mpeg4(extradata, is_reordered=is_reordered),
        **dict.fromkeys(("vp9", "h263", "flv1", "theora"), ByKeyframes),
        **dict.fromkeys(("prores", "dnxhd"), IntraOnly),
    }
    return makers[codec]() if codec in makers else None


class ByKeyframes:
    """A codec whose pictures form one chain from keyframe to keyframe."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        return ENTRY if is_keyframe else REFERENCE


class IntraOnly:
    """A codec whose every picture stands alone."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        return ALONE


class Mjpeg:
    """Motion JPEG: a picture stands alone if it brings its own quantization and Huffman tables."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        return ALONE if b"\xff\xdb" in data and b"\xff\xc4" in data else REFERENCE


class Vp8:
    """VP8, whose alternate reference pictures are packets that are not shown."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        if not data or not data[0] & 1:
            return ENTRY if data else HIDDEN
        return REFERENCE if data[0] & 0x10 else HIDDEN
