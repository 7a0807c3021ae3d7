"""The sampling grid (paper §3.3): which frame is on screen at k / rate seconds, in exact rational time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Generic, TypeVar

Image = TypeVar("Image")


@dataclass(frozen=True, slots=True)
class TimedFrame(Generic[Image]):
    """A frame and when it is shown.

    Attributes:
        pts_seconds: When it appears on screen.
        duration_seconds: How long it stays there if no frame follows; 0 where that is unknown.
        image: The frame itself.
    """

    pts_seconds: Fraction
    duration_seconds: Fraction
    image: Image

    def __post_init__(self) -> None:
        if self.duration_seconds < 0:
            raise ValueError(f"a frame cannot last {float(self.duration_seconds)} s")


def frames_on_grid(
    frames: Iterable[TimedFrame[Image]], *, rate: Fraction, max_seconds: Fraction
) -> Iterator[tuple[int, TimedFrame[Image]]]:
    """Yields (k, the frame on screen at start + k / rate seconds) for k = 0, 1, … < rate · min(duration, max_seconds).

    Start is the first frame's pts, duration the end of the last frame's display minus start; neither comes from a
    header. The frame on screen at t is the last one, in the order given, with pts ≤ t. A pts that goes back is
    set to the greatest so far: a late frame is shown at once. An unknown last duration is the gap before that frame.
    The first frame is always chosen. Frames are read only until the last grid time is settled.

    Args:
        frames: In presentation order.
        rate: Grid times per second, above 0.
        max_seconds: Grid times at and after this are left out; above 0.
    """
    count = ceil(max_seconds * rate)
    k, gap = 0, Fraction(0)
    remaining = iter(frames)
    shown = next(remaining, None)
    if shown is None:
        return
    start = shown.pts_seconds
    for following in remaining:
        while k < count and start + k / rate < following.pts_seconds:
            yield k, shown
            k += 1
        if k == count:
            return
        gap = max(following.pts_seconds - shown.pts_seconds, Fraction(0))
        shown = replace(following, pts_seconds=shown.pts_seconds + gap)
    duration = shown.pts_seconds + (shown.duration_seconds or gap) - start
    for last in range(k, max(1, min(count, ceil(duration * rate)))):
        yield last, shown
