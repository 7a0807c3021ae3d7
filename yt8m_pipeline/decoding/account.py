"""What damage costs a film: all of it (strict), or the frames that it touches (salvage)."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from av.video.frame import VideoFrame

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.decoding.container import Chosen, Film, VideoPacket, rejecting


@dataclass(frozen=True, slots=True)
class OnScreen:
    """What is shown for a frame: itself, or where it is damaged the last sound frame before it.

    Attributes:
        frame: None if no frame before it is sound either.
        pts_seconds: The presentation time of `frame`.
        is_sound: Whether it is shown itself.
    """

    frame: VideoFrame | None
    pts_seconds: Fraction
    is_sound: bool


class Account:
    """The account of a film's damage.

    Args:
        film: The film.
        is_strict: Whether any damage ends it.
    """

    def __init__(self, film: Film, *, is_strict: bool) -> None:
        self._film, self._is_strict = film, is_strict
        self._start: Fraction | None = None
        self._last_sound = OnScreen(None, Fraction(0), is_sound=False)
        self._first: VideoRejected | None = None
        self._ends_early = False

    @property
    def is_damaged(self) -> bool:
        """Whether any damage was noted."""
        return self._first is not None

    def packets(self) -> Iterator[VideoPacket]:
        """The film's packets. A demuxer that fails ends the film."""
        try:
            with rejecting(f"the {self._film.container.format.name} file cannot be read", self._film.ending.reason):
                yield from self._film.packets()
        except VideoRejected as damage:
            self._ends_early = True
            self.note(damage)

    def note(self, damage: VideoRejected) -> None:
        """What the film is not to blame for, such as a failing disk, ends it in any case."""
        if self._is_strict or damage.reason.is_transient:
            raise damage
        self._first = self._first or damage
        self._ends_early |= damage.reason is DropReason.TRUNCATED

    def shown(self, frame: VideoFrame | None, pts_seconds: Fraction) -> OnScreen:
        """What is on screen for a sound frame, or for one that is not (None)."""
        self._start = pts_seconds if self._start is None else self._start
        if frame is None:
            return replace(self._last_sound, is_sound=False)
        self._last_sound = OnScreen(frame, pts_seconds - self._start, is_sound=True)
        return self._last_sound

    def settle(self, shown: Iterable[tuple[int, OnScreen]], *, begin: int = 0) -> Generator[Chosen, None, float]:
        """Yields what is on screen at grid times k ≥ `begin`; before the first sound frame, that one.

        Args:
            shown: (k, what is on screen then), for k = 0, 1, …
            begin: Grid times before are left out.

        Returns:
            The share of grid times whose frame is sound, of those that the film should have.

        Raises:
            VideoRejected: NO_FRAMES; what was noted, if damage ends the film or no frame is sound.
        """
        times = sound = 0
        waiting: list[int] = []
        try:
            for index, screen in shown:
                times, sound = index + 1, sound + screen.is_sound
                waiting += [index] if index >= begin else []
                if screen.frame is not None:
                    yield from (Chosen(one, screen.pts_seconds, screen.frame) for one in waiting)
                    waiting.clear()
            expected = self._expected(times)
            if not sound:
                raise self._first or VideoRejected(DropReason.NO_FRAMES, "the film has no frame to show")
        except VideoRejected as rejection:
            fraction = sound / max(self._film.times_from_header, times, 1)
            raise VideoRejected(rejection.reason, rejection.detail, fraction) from rejection
        return sound / expected

    def _expected(self, times: int) -> int:
        """How many grid times the film should have, which has so many."""
        if shortfall := self._film.shortfall(times):
            self._ends_early = True
            self.note(shortfall)
        return max(times, self._film.times_from_header) if self._ends_early else times
