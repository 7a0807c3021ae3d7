"""Decoding every packet of a film: always right, and where all damage shows."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from av.video.frame import VideoFrame

from yt8m_pipeline.errors import VideoRejected
from yt8m_pipeline.extraction.container import Film, VideoPacket, rejecting
from yt8m_pipeline.extraction.damage import Account, OnScreen
from yt8m_pipeline.extraction.frame_times import TimedFrame, frames_on_grid

NOMINAL_RATE = Fraction(25)
"""Frames per second of a stream that gives neither times nor a rate."""


def decode_plainly(film: Film, account: Account) -> Iterator[tuple[int, OnScreen]]:
    """Yields (k, what is on screen at grid time k).

    Raises:
        VideoRejected: at damage, if the account is strict.
    """
    frames = _PlainDecoder(film, account).frames()
    return ((index, shown.image) for index, shown in frames_on_grid(frames, film.grid))


class _PlainDecoder:
    def __init__(self, film: Film, account: Account) -> None:
        self._film, self._account = film, account
        self._nominal_ticks = round(1 / ((film.video.guessed_rate or NOMINAL_RATE) * film.tick))
        self._next_pts = 0

    def frames(self) -> Iterator[TimedFrame[OnScreen]]:
        """Every frame in presentation order, and one that is not there for each packet that cannot be decoded."""
        for packet in self._packets():
            try:
                decoded = self._decoded(packet)
            except VideoRejected as damage:
                self._account.note(damage)
                yield self._shown(None, packet.pts, 0)
            else:
                yield from map(self._timed, decoded)
        yield from map(self._timed, self._film.drained())

    def _packets(self) -> Iterator[VideoPacket]:
        """A demuxer that fails ends the film."""
        try:
            with rejecting(f"the {self._film.container.format.name} file cannot be read", self._film.ending.reason):
                yield from self._film.packets()
        except VideoRejected as damage:
            self._account.note(damage)

    def _decoded(self, packet: VideoPacket) -> Iterable[VideoFrame]:
        ending = self._film.ending
        if packet.is_corrupt:
            raise VideoRejected(ending.reason_of_partial_packet(), f"the packet with pts {packet.pts} is incomplete")
        with rejecting(f"the {self._film.video.name} stream cannot be decoded", ending.reason):
            return self._film.decoder.decode(packet)

    def _timed(self, frame: VideoFrame) -> TimedFrame[OnScreen]:
        duration = max(frame.duration or 0, 0)
        return self._shown(frame, frame.pts, duration)

    def _shown(self, frame: VideoFrame | None, pts: int | None, duration: int) -> TimedFrame[OnScreen]:
        """A missing pts is the end of the frame before."""
        pts = self._next_pts if pts is None else pts
        self._next_pts = pts + (duration or self._nominal_ticks)
        screen = self._account.shown(frame, pts * self._film.tick)
        return TimedFrame(pts * self._film.tick, duration * self._film.tick, screen)
