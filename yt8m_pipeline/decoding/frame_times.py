"""The sampling grid (paper §3.3): which frame is on screen at k / rate seconds, in exact rational time.

The on-screen rule stands here once, as `Screen`: the plain decoder applies it to decoded frames, and the choice of
packets applies it to coded ones.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Generic, TypeVar

from yt8m_pipeline.config import Decoding

Image = TypeVar("Image")
Time = TypeVar("Time", int, Fraction)


@dataclass(frozen=True, slots=True)
class TimedFrame(Generic[Image]):
    """A frame and when it is shown.

    Attributes:
        pts_seconds: When the frame appears on screen.
        duration_seconds: How long the frame stays on screen if no other follows; 0 where that is unknown.
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
    """The times k / rate after a video's start, for k = 0, 1, … < count.

    Attributes:
        rate: The number of grid times per unit of time, above 0.
        count: The largest number of grid times, above 0.
    """

    rate: Fraction
    count: int

    @classmethod
    def of(cls, rate: Fraction, max_seconds: Fraction) -> "Grid":
        """So many grid times per second; those at and after `max_seconds` are left out."""
        return cls(rate, ceil(max_seconds * rate))

    @classmethod
    def of_config(cls, decoding: Decoding) -> "Grid":
        """The grid of `frames_per_second` and `max_seconds` (paper §3.3: 1 per second, up to 360 s)."""
        return cls.of(decoding.rate, Fraction(str(decoding.max_seconds)))

    def in_ticks(self, time_base: Fraction) -> "Grid":
        """The same times, in ticks of `time_base` seconds."""
        return Grid(self.rate * time_base, self.count)

    def between(self, begin: Time, end: Time) -> range:
        """Every k with begin ≤ k / rate < end, both counted from the video's start."""
        return range(self.first_from(begin), self.first_from(end))

    def first_from(self, time: Time) -> int:
        """The first k with k / rate ≥ time, which is counted from the video's start; `count` if there is none."""
        return min(self.count, -(-time * self.rate.numerator // self.rate.denominator))


class Screen(Generic[Time]):
    """The on-screen rule: which grid times belong to each of the frames that are shown one after another.

    The start is the first frame's pts. The frame on screen at a time is the last one, in presentation order, with
    pts ≤ that time. A frame that comes after one with a greater pts is late and is shown at once: its pts counts as
    the greatest so far. The last frame stays for its duration or, where that is unknown, for the gap before it. The
    first frame has grid time 0 in any case.

    Args:
        grid: The grid, in the unit of the frames' times.
        start: The first frame's pts.

    Attributes:
        pts: When the frame that is on screen appeared.
        is_complete: Whether every grid time belongs to a frame.
    """

    def __init__(self, grid: Grid, start: Time) -> None:
        self._grid = grid
        self._start: Time = start
        self._gap: Time = start - start
        self._next = 0
        self.pts: Time = start
        self.is_complete = False

    def show(self, pts: Time) -> range:
        """Shows the next frame. Returns the grid times of the frame before it."""
        until = max(pts, self.pts)
        begin, self._next = self._next, self._grid.first_from(until - self._start)
        self._gap, self.pts = until - self.pts, until
        self.is_complete = self._next == self._grid.count
        return range(begin, self._next)

    def end(self, duration: Time) -> range:
        """Takes the last frame, which lasts so long (0: unknown), off the screen. Returns its grid times."""
        begin = self.pts - self._start
        return self._grid.between(begin, begin + (duration or self._gap)) or range(begin == 0)


def frames_on_grid(frames: Iterable[TimedFrame[Image]], grid: Grid) -> Iterator[tuple[int, TimedFrame[Image]]]:
    """Yields (k, the frame on screen at start + k / rate seconds) for k = 0, 1, … < rate · duration.

    The rule is that of `Screen`. The duration is the end of the last frame's display minus the start; neither comes
    from a header. Frames are read only until the last grid time is settled.

    Args:
        frames: The frames in presentation order.
        grid: The grid times, per second.

    >>> from fractions import Fraction
    >>> frames = [TimedFrame(Fraction(n, 2), Fraction(1, 2), f"frame {n}") for n in range(5)]
    >>> [(k, shown.image) for k, shown in frames_on_grid(frames, Grid(rate=Fraction(1), count=360))]
    [(0, 'frame 0'), (1, 'frame 2'), (2, 'frame 4')]
    """
    remaining = iter(frames)
    shown = next(remaining, None)
    if shown is None:
        return
    screen = Screen(grid, shown.pts_seconds)
    for following in remaining:
        times = screen.show(following.pts_seconds)
        yield from ((k, shown) for k in times)
        if screen.is_complete:
            return
        is_late = following.pts_seconds < screen.pts
        shown = replace(following, pts_seconds=screen.pts) if is_late else following
    yield from ((k, shown) for k in screen.end(shown.duration_seconds))
