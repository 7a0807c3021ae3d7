"""What damage costs a video: the whole video (`strict`), or the frames that depend on the damage (`salvage`)."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from av.video.frame import VideoFrame

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.decoding.container import ChosenFrame, OpenedVideo, VideoPacket, rejecting


@dataclass(frozen=True, slots=True)
class OnScreen:
    """What is shown for a frame: the frame itself or, where it is damaged, the last sound frame before it.

    Attributes:
        frame: What is shown; None if no frame so far is sound.
        pts_seconds: The presentation time of `frame`, in seconds after the video's start.
        is_sound: Whether the frame is shown itself.
    """

    frame: VideoFrame | None
    pts_seconds: Fraction
    is_sound: bool


class Account:
    """Keeps account of a video's damage.

    Args:
        video: The video.
        is_strict: Whether any damage ends the video.
    """

    def __init__(self, video: OpenedVideo, *, is_strict: bool) -> None:
        self._video, self._is_strict = video, is_strict
        self._start: Fraction | None = None
        self._last_sound = OnScreen(None, Fraction(0), is_sound=False)
        self._first: VideoRejected | None = None
        self._ends_early = False

    @property
    def is_damaged(self) -> bool:
        """Whether any damage was noted."""
        return self._first is not None

    def packets(self) -> Iterator[VideoPacket]:
        """Yields the video's packets. A demuxer that fails ends the video."""
        try:
            with rejecting(f"the {self._video.container.format.name} file cannot be read", self._video.ending.reason):
                yield from self._video.packets()
        except VideoRejected as damage:
            self._ends_early = True
            self.note(damage)

    def note(self, damage: VideoRejected) -> None:
        """Notes damage. A fault that is not the video's own, such as a failing disk, ends it in any case."""
        if self._is_strict or damage.reason.is_transient:
            raise damage
        self._first = self._first or damage
        self._ends_early |= damage.reason is DropReason.TRUNCATED

    def shown(self, frame: VideoFrame | None, pts_seconds: Fraction) -> OnScreen:
        """Returns what is on screen for a sound frame, or for one that is not sound (None)."""
        self._start = pts_seconds if self._start is None else self._start
        if frame is None:
            return replace(self._last_sound, is_sound=False)
        self._last_sound = OnScreen(frame, pts_seconds - self._start, is_sound=True)
        return self._last_sound

    def settle(self, shown: Iterable[tuple[int, OnScreen]], *, begin: int = 0) -> Generator[ChosenFrame, None, float]:
        """Yields what is on screen at grid times k ≥ `begin`; the first sound frame stands for those before it.

        Args:
            shown: (k, what is on screen then), for k = 0, 1, …
            begin: Grid times before this one are left out.

        Returns:
            The share of grid times whose frame is sound, among those that the video should have.

        Raises:
            VideoRejected: NO_FRAMES; or what was noted, if damage ends the video or no frame is sound.
        """
        times = sound = 0
        waiting: list[int] = []
        try:
            for index, screen in shown:
                times, sound = index + 1, sound + screen.is_sound
                waiting += [index] if index >= begin else []
                if screen.frame is not None:
                    aspect = self._video.pixel_aspect
                    yield from (ChosenFrame(one, screen.pts_seconds, screen.frame, aspect) for one in waiting)
                    waiting.clear()
            expected = self._expected(times)
            if not sound:
                raise self._first or VideoRejected(DropReason.NO_FRAMES, "the video has no frame to show")
        except VideoRejected as rejection:
            fraction = sound / max(self._video.times_from_header, times, 1)
            raise VideoRejected(rejection.reason, rejection.detail, fraction) from rejection
        return sound / expected

    def _expected(self, times: int) -> int:
        """Returns how many grid times the video should have, given how many it has."""
        if shortfall := self._video.shortfall(times):
            self._ends_early = True
            self.note(shortfall)
        return max(times, self._video.times_from_header) if self._ends_early else times
