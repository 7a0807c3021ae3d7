"""Which packets must be decoded for the frames of a grid: those that a chosen frame depends on, and no others.

B-frames (pictures that no other picture depends on), other disposable pictures and whole groups of pictures are left
out here where no frame of the grid needs them.

Packets come in decoding order and frames are chosen in presentation order, so a few packets of look-ahead settle what
is on screen at each grid time. A packet is let go as soon as it is known whether it is needed.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush, heappushpop
from typing import Generic, NamedTuple, TypeVar

from yt8m_pipeline.decoding.codings.picture import ALL_SLOTS, Picture, Unplannable
from yt8m_pipeline.decoding.frame_times import Grid, Screen

Packet = TypeVar("Packet")

REORDERING = 16
"""At most this many pictures precede another one in decoding order and follow it in presentation order, because a
decoded picture buffer holds no more (ITU-T H.264 §A.3.1, ITU-T H.265 §A.4.2)."""


@dataclass(eq=False, slots=True)
class CodedFrame(Generic[Packet]):
    """A packet in decoding order, and what is found out about it.

    Attributes:
        packet: The packet.
        pts: The presentation time, in ticks; None: the frame is never on screen.
        duration: The duration, in ticks; 0 where that is unknown.
        size: The packet's size, in bytes.
        picture: What the packet's headers say.
        grid: The grid times, k, at which the frame is on screen.
        parents: The frames that this one depends on.
        replaced: For an entry, the frames that others could have depended on before it.
        is_needed: Whether a frame of the grid depends on this one.
        is_settled: Whether `grid` is final.
    """

    packet: Packet
    pts: int | None
    duration: int
    size: int
    picture: Picture
    grid: range = range(0)
    parents: "tuple[CodedFrame[Packet], ...]" = field(default=(), repr=False)
    replaced: "tuple[CodedFrame[Packet], ...]" = field(default=(), repr=False)
    is_needed: bool = False
    is_settled: bool = False


class Step(NamedTuple, Generic[Packet]):
    """What a decoder gets next.

    Attributes:
        packet: The packet.
        pts: The frame's presentation time, in ticks; None: it is never on screen.
        grid: The grid times, k, at which the frame is on screen.
        is_fresh: Whether decoding begins anew here: the decoder must be drained and emptied before.
    """

    packet: Packet
    pts: int | None
    grid: range
    is_fresh: bool


def needed_packets(frames: Iterable[CodedFrame[Packet]], grid: Grid, *, max_bytes: int) -> Iterator[Step[Packet]]:
    """Yields, in decoding order, the packets that the frames of a grid depend on.

    B-frames, and all other packets that no chosen frame depends on, are left out. The frames of the grid are those of
    the on-screen rule (`frame_times.Screen`); the presentation order is that of the pts.

    Args:
        frames: The coded frames of a video, in decoding order, read until the last grid time is settled.
        grid: Grid times per tick.
        max_bytes: When the undecided packets have more bytes than this, the decoder gets them, needed or not.

    Raises:
        Unplannable: if two frames have the same time, or one comes later than pictures can be reordered.
    """
    timeline: _Timeline[Packet] = _Timeline(grid)
    undecided: _Undecided[Packet] = _Undecided()
    for frame in frames:
        undecided.add(frame)
        if settled := timeline.add(frame):
            undecided.settle(settled)
        if undecided.bytes > max_bytes:
            undecided.need_what_lives()
        if undecided.is_changed:
            yield from undecided.decided()
        if timeline.is_complete:
            break
    for settled in timeline.finish():
        undecided.settle(settled)
    undecided.forget_references()
    yield from undecided.decided()


class _Timeline(Generic[Packet]):
    """Puts frames into presentation order by a window of look-ahead, and gives those that leave it their grid times."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._window: list[tuple[int, int, CodedFrame[Packet]]] = []
        self._added = 0
        self._screen: Screen[int] | None = None
        self._shown: CodedFrame[Packet] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every grid time belongs to a frame."""
        return self._screen is not None and self._screen.is_complete

    def add(self, frame: CodedFrame[Packet]) -> CodedFrame[Packet] | None:
        """Takes a frame up, and returns one whose grid times are settled now; None: there is none."""
        if frame.pts is None:
            return frame
        self._added += 1
        item = (frame.pts, self._added, frame)
        if len(self._window) < REORDERING:
            heappush(self._window, item)
            return None
        return self._follow(*heappushpop(self._window, item))

    def finish(self) -> Iterator[CodedFrame[Packet]]:
        """Yields the frames that are left: there are no more."""
        while self._window:
            if settled := self._follow(*heappop(self._window)):
                yield settled
        if self._shown is not None and self._screen is not None:
            self._shown.grid = self._screen.end(self._shown.duration)
            yield self._shown

    def _follow(self, pts: int, _: int, frame: CodedFrame[Packet]) -> CodedFrame[Packet] | None:
        shown, self._shown = self._shown, frame
        if shown is None or self._screen is None:
            self._screen = Screen(self._grid, pts)
            return None
        if pts <= self._screen.pts:
            raise Unplannable(f"the frame at {pts} follows that at {self._screen.pts}")
        shown.grid = self._screen.show(pts)
        return shown


class _Undecided(Generic[Packet]):
    """Holds frames in decoding order until it is known whether they are needed."""

    def __init__(self) -> None:
        self._frames: deque[CodedFrame[Packet]] = deque()
        self._slots: dict[int, CodedFrame[Packet]] = {}
        self._holders: tuple[CodedFrame[Packet], ...] = ()
        self._entry_pts: int | None = None
        self._before_entry: tuple[CodedFrame[Packet], ...] = ()
        self.is_changed = False
        self.bytes = 0

    def add(self, frame: CodedFrame[Packet]) -> None:
        """Takes a frame up, and finds its parents.

        Leading pictures follow an entry in decoding order and precede it in presentation order. They may depend on
        what was before the entry, and no other pictures depend on them.
        """
        picture, slots = frame.picture, self._slots
        self._frames.append(frame)
        self.bytes += frame.size
        reads_all = picture.reads is ALL_SLOTS
        frame.parents = self._holders if reads_all else _distinct(slots[one] for one in picture.reads & slots.keys())
        if picture.is_entry:
            frame.replaced = self._holders
            self._entry_pts, self._before_entry = frame.pts, frame.replaced
        elif frame.pts is not None and self._entry_pts is not None:
            if frame.pts < self._entry_pts:
                self._add_leading(frame)
                return
            self._entry_pts, self._before_entry = None, ()
        if picture.writes:
            slots.update(dict.fromkeys(picture.writes, frame))
            self._holders = (frame,) if picture.writes is ALL_SLOTS else _distinct(slots.values())

    def _add_leading(self, frame: CodedFrame[Packet]) -> None:
        frame.parents += self._before_entry
        if frame.picture.writes:
            self._before_entry = (*self._before_entry, frame)

    def settle(self, frame: CodedFrame[Packet]) -> None:
        """Is called when the grid times of a frame are known."""
        frame.is_settled = True
        if frame.grid:
            _need(frame)
            self.is_changed = True
        elif not frame.is_needed and not frame.picture.writes:
            self._frames.remove(frame)
            self.bytes -= frame.size

    def need_what_lives(self) -> None:
        """Gives up waiting: everything that a later frame may depend on counts as needed."""
        for frame in self._roots():
            _need(frame)
        self.is_changed = True

    def forget_references(self) -> None:
        """Is called when no more frames come that could depend on these."""
        self._holders, self._before_entry, self.is_changed = (), (), True

    def decided(self) -> Iterator[Step[Packet]]:
        """Yields the needed frames up to the first one that is still undecided."""
        self.is_changed = False
        live: set[CodedFrame[Packet]] | None = None
        while self._frames and self._frames[0].is_settled:
            frame = self._frames[0]
            if not frame.is_needed:
                live = _ancestry(self._roots()) if live is None else live
                if frame in live:
                    return
            self._frames.popleft()
            self.bytes -= frame.size
            if frame.is_needed:
                yield _step(frame)
            frame.parents = frame.replaced = ()

    def _roots(self) -> Iterator[CodedFrame[Packet]]:
        """Yields the frames that later ones may depend on, and those that may still be chosen."""
        yield from self._holders
        yield from self._before_entry
        yield from (frame for frame in self._frames if not frame.is_settled)


def _distinct(frames: Iterable[CodedFrame[Packet]]) -> tuple[CodedFrame[Packet], ...]:
    return tuple(dict.fromkeys(frames))


def _step(frame: CodedFrame[Packet]) -> Step[Packet]:
    is_fresh = frame.picture.is_entry and not all(one.is_needed for one in frame.replaced)
    return Step(frame.packet, frame.pts, frame.grid, is_fresh)


def _need(frame: CodedFrame[Packet]) -> None:
    """Marks a frame and all that it depends on as needed."""
    open_frames = [frame]
    while open_frames:
        one = open_frames.pop()
        if not one.is_needed:
            one.is_needed = True
            open_frames += one.parents


def _ancestry(frames: Iterable[CodedFrame[Packet]]) -> set[CodedFrame[Packet]]:
    """Returns these frames and all that they depend on."""
    found: set[CodedFrame[Packet]] = set()
    open_frames = list(frames)
    while open_frames:
        frame = open_frames.pop()
        if frame not in found:
            found.add(frame)
            open_frames += frame.parents
    return found
