"""How a decoded frame stands: the display matrix of a container, of EXIF data or of an H.264 or HEVC message."""

from enum import Enum
from struct import Struct
from typing import NamedTuple

from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

MATRIX = Struct("=5i")
"""A display matrix begins with the numbers a b u c d, in 16.16 fixed point (ISO/IEC 14496-12 §6.2.2)."""


def _unnamed_type(cls: type[Enum], value: object) -> Enum:
    """Makes a member of PyAV's enumeration of side data for a kind that it has no name for."""
    member = object.__new__(cls)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


setattr(Type, "_missing_", classmethod(_unnamed_type))  # noqa: B010  mypy takes no assignment to a method
"""PyAV 18.1 names the kinds of side data up to 27 only. It builds objects for all side data of a frame when one is
asked for, and would fail at EXIF data (31) or the views of stereoscopic HEVC (29), which nobody here needs."""


class Display(NamedTuple):
    """How a frame is turned upright.

    Attributes:
        is_mirrored: Whether the frame is mirrored from left to right, before it is turned.
        quarter_turns: How often the frame is then turned by 90° counterclockwise, to the nearest.
        is_nonsense: Whether there is a display matrix that maps the frame to no area. It is ignored, as FFmpeg's
            command line, browsers and OpenCV do.
    """

    is_mirrored: bool = False
    quarter_turns: int = 0
    is_nonsense: bool = False


def display_of(frame: VideoFrame) -> Display:
    """Reads the display matrix of a frame.

    Ask rarely: PyAV 18 ties a frame whose side data was seen to itself, and its memory waits for the garbage collector.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return Display()
    a, b, _, c, d = MATRIX.unpack_from(matrix)
    area = a * d - b * c
    if not area:
        return Display(is_nonsense=True)
    return Display(area < 0, (round(frame.rotation / 90) + 2 * (area < 0)) % 4)
