"""The sampling grid (paper §3.3): which frame is on screen at k / rate seconds, in exact rational time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Generic, TypeVar

Image = TypeVar("Image")
Time = TypeVar("Time", int, Fraction)


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


@dataclass(frozen=True, slots=True)
class Grid:
    """The times k / rate after a film's start, for k = 0, 1, … < count.

    Attributes:
        rate: Grid times per unit of time, above 0.
        count: How many there are at most, above 0.
    """

    rate: Fraction
    count: int

    @classmethod
    def of(cls, rate: Fraction, max_seconds: Fraction) -> "Grid":
        """Grid times per second; those at and after `max_seconds` are left out."""
        return cls(rate, ceil(max_seconds * rate))

    def in_ticks(self, time_base: Fraction) -> "Grid":
        """The same times, in ticks of `time_base` seconds."""
        return Grid(self.rate * time_base, self.count)

    def between(self, begin: Time, end: Time) -> range:
        """Every k with begin ≤ k / rate < end, both counted from the film's start."""
        numerator, denominator = self.rate.numerator, self.rate.denominator
        first, stop = -(-begin * numerator // denominator), -(-end * numerator // denominator)
        return range(min(self.count, first), min(self.count, stop))


def frames_on_grid(frames: Iterable[TimedFrame[Image]], grid: Grid) -> Iterator[tuple[int, TimedFrame[Image]]]:
    """Yields (k, the frame on screen at start + k / rate seconds) for k = 0, 1, … < rate · duration.

    Start is the first frame's pts, duration the end of the last frame's display minus start; neither comes from a
    header. The frame on screen at t is the last one, in the order given, with pts ≤ t. A pts that goes back is
    set to the greatest so far: a late frame is shown at once. An unknown last duration is the gap before that frame.
    The first frame is always chosen. Frames are read only until the last grid time is settled.

    Args:
        frames: In presentation order.
        grid: Grid times per second.
    """
    remaining = iter(frames)
    shown = next(remaining, None)
    if shown is None:
        return
    start, gap = shown.pts_seconds, Fraction(0)
    for following in remaining:
        until = max(following.pts_seconds, shown.pts_seconds)
        times = grid.between(shown.pts_seconds - start, until - start)
        yield from ((k, shown) for k in times)
        if times.stop == grid.count:
            return
        gap = until - shown.pts_seconds
        shown = following if until == following.pts_seconds else replace(following, pts_seconds=until)
    end = shown.pts_seconds + (shown.duration_seconds or gap)
    times = grid.between(shown.pts_seconds - start, end - start)
    yield from ((k, shown) for k in times or range(shown.pts_seconds == start))
