"""How to read the pictures of each codec for which it is known what they depend on.

Nothing is decoded: a few header bits are read, to find the keyframes at which decoding can begin and the B-frames (and
other pictures) that no other picture depends on. Where a header is not understood, the picture is taken to read and
write everything, which is always safe.

To add a codec, write a class with a `read` method (see `picture.Coding`), enter it in `coding_of`, and add videos of it
to `tests/decoding/test_codings.py` and `scripts/make_golden_frames.py`.
"""

from collections.abc import Callable

from yt8m_pipeline.decoding.codings.av1 import Av1
from yt8m_pipeline.decoding.codings.mpeg import Mpeg2, Mpeg4
from yt8m_pipeline.decoding.codings.nal_units import H264, Hevc
from yt8m_pipeline.decoding.codings.picture import ALONE, ENTRY, HIDDEN, REFERENCE, Coding, Picture


def coding_of(codec: str, extradata: bytes, *, is_reordered: bool) -> Coding | None:
    """Returns the reader of a codec's pictures; None where only decoding everything is known to be exact.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: The stream's headers, as the container has them.
        is_reordered: Whether the decoder knows that frames are shown in another order than they are coded in.
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
    """Motion JPEG: a picture stands alone if it brings its own quantization and Huffman tables (ISO/IEC 10918-1
    §B.2.4.1, §B.2.4.2)."""

    DEFINE_QUANTIZATION_TABLES, DEFINE_HUFFMAN_TABLES = b"\xff\xdb", b"\xff\xc4"

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        has_tables = self.DEFINE_QUANTIZATION_TABLES in data and self.DEFINE_HUFFMAN_TABLES in data
        return ALONE if has_tables else REFERENCE


class Vp8:
    """VP8: the frame tag's lowest bit is 0 in keyframes, and its `show_frame` bit is 0 in alternate reference pictures,
    which are never on screen (RFC 6386 §9.1)."""

    INTER_FRAME, SHOW_FRAME = 0x01, 0x10

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        if not data or not data[0] & self.INTER_FRAME:
            return ENTRY if data else HIDDEN
        return REFERENCE if data[0] & self.SHOW_FRAME else HIDDEN
