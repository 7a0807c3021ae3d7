"""Decoding every packet of a video. This is always right, and all damage shows."""

from collections.abc import Iterator
from fractions import Fraction
from heapq import heappop, heappush
from math import inf

from av.video.frame import VideoFrame

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.decoding.account import Account, OnScreen
from yt8m_pipeline.decoding.container import Fragments, OpenedVideo, VideoPacket, rejecting
from yt8m_pipeline.decoding.frame_times import TimedFrame, frames_on_grid

NOMINAL_RATE = Fraction(25)
"""A stream that gives neither times nor a rate is taken to have this many frames per second, FFmpeg's default."""


def decode_plainly(video: OpenedVideo, account: Account) -> Iterator[tuple[int, OnScreen]]:
    """Yields (k, what is on screen at grid time k).

    Raises:
        VideoRejected: at damage, if the account is strict.
    """
    frames = _PlainDecoder(video, account).frames()
    return ((index, shown.image) for index, shown in frames_on_grid(frames, video.grid))


class _PlainDecoder:
    def __init__(self, video: OpenedVideo, account: Account) -> None:
        self._video, self._account = video, account
        self._nominal_ticks = max(round(1 / ((video.rate or NOMINAL_RATE) * video.tick)), 1)
        self._next_pts: int | None = None
        self._latest: int | None = None
        self._has_pts = False
        self._awaited: list[int] = []
        self._fragments = Fragments(video)
        self._start: int | None = None
        self._end = 0
        self._taint, self._lead_in = _Taint(), _LeadIn(video)

    def frames(self) -> Iterator[TimedFrame[OnScreen]]:
        """Yields every frame in presentation order, and one that is not sound for each that damage has cost.

        A frame that comes after one with a greater pts is shown at once (`frame_times.Screen`).
        """
        for packet in self._account.packets():
            for frame in self._attempted(packet):
                yield from self._in_turn(frame)
        for frame in self._attempted(None):
            yield from self._in_turn(frame)
        yield from self._lost_before(inf)

    def _attempted(self, packet: "VideoPacket | None") -> list[VideoFrame]:
        """Returns the frames that come out of the decoder after a packet, or at the end of the video (None)."""
        frames: list[VideoFrame] = []
        hole, failure = self._video.hole() if packet else None, None
        if packet:
            self._lead_in.follow(packet)
            self._note_lost_fragment(packet)
        try:
            frames = self._decoded(packet)
        except VideoRejected as rejection:
            failure = rejection
        complaint = self._video.damage()
        damage = failure or complaint or hole
        if packet and damage and self._lead_in.holds(packet):
            self._lead_in.cut(packet)
        elif damage:
            self._account.note(damage)
        if packet:
            is_doubtful = packet.pos is not None and packet.pos < self._video.ending.doubtful_bytes
            self._taint.follow(packet, is_damaged=damage is not None or is_doubtful)
            if packet.pts is not None and not packet.is_discard and not self._lead_in.has_cut(packet.pts):
                heappush(self._awaited, packet.pts)
        return frames

    def _note_lost_fragment(self, packet: VideoPacket) -> None:
        """If grid times lie in a gap between fragments, a frame that is not sound is on screen from its begin on."""
        is_lost = self._fragments.is_lost_before(packet)
        if is_lost and packet.pts is not None and self._start is not None:
            grid = self._video.grid.in_ticks(self._video.tick)
            if grid.between(self._end - self._start, packet.pts - self._start):
                gap = float((packet.pts - self._end) * self._video.tick)
                what = f"a fragment is lost: {gap:.3f} s are missing before the packet with pts {packet.pts}"
                self._account.note(VideoRejected(DropReason.DAMAGED, what))
                heappush(self._awaited, self._end)
        if packet.pts is not None:
            self._start = packet.pts if self._start is None else min(self._start, packet.pts)
            self._end = max(self._end, packet.pts + max(packet.duration or 0, 0))

    def _decoded(self, packet: "VideoPacket | None") -> list[VideoFrame]:
        ending = self._video.ending
        if packet and packet.is_corrupt:
            raise VideoRejected(ending.reason_of_partial_packet(), f"the packet with pts {packet.pts} is incomplete")
        with rejecting(f"the {self._video.stream.name} stream cannot be decoded", ending.reason):
            return self._video.decode(packet) if packet else list(self._video.drained())

    def _in_turn(self, frame: VideoFrame) -> Iterator[TimedFrame[OnScreen]]:
        """Yields a frame, after the lost ones before it. In a video without pts, a frame is shown at its dts."""
        pts = frame.dts if frame.pts is None and not self._has_pts else frame.pts
        self._has_pts |= frame.pts is not None
        if self._lead_in.has_cut(pts):
            return
        if frame.is_corrupt:
            what = f"the frame at {float((pts or 0) * self._video.tick):.3f} s is damaged"
            self._account.note(VideoRejected(self._video.ending.reason(), what))
        yield from self._lost_before(-inf if pts is None else pts)
        if self._awaited and self._awaited[0] == pts:
            heappop(self._awaited)
        if not self._was_given_up(pts):
            is_sound = not frame.is_corrupt and not self._taint.covers(frame)
            yield self._shown(frame if is_sound else None, pts, max(frame.duration or 0, 0))

    def _was_given_up(self, pts: int | None) -> bool:
        """Whether a frame comes late from a decoder that met damage, when others were shown in its place."""
        is_late = pts is not None and self._latest is not None and pts < self._latest
        return is_late and self._account.is_damaged

    def _lost_before(self, pts: float) -> Iterator[TimedFrame[OnScreen]]:
        """Yields a frame that is not sound for each packet before a time that gave none.

        In a video without damage, a packet that gives no frame is one that is not shown.
        """
        while self._awaited and self._awaited[0] < pts:
            lost = heappop(self._awaited)
            if self._account.is_damaged:
                yield self._shown(None, lost, 0)

    def _shown(self, frame: VideoFrame | None, pts: int | None, duration: int) -> TimedFrame[OnScreen]:
        """A frame without a time follows the end of the one before."""
        pts = (self._next_pts or 0) if pts is None else pts
        self._latest = pts if self._latest is None else max(pts, self._latest)
        self._next_pts = pts + (duration or self._nominal_ticks)
        pts_seconds = self._latest * self._video.tick
        return TimedFrame(pts_seconds, duration * self._video.tick, self._account.shown(frame, pts_seconds))


class _LeadIn:
    """The pictures before the first keyframe, where a video may have been cut out of a longer one.

    They depend on pictures that are not there. From the first complaint about one of them on, those before the first
    keyframe, in decoding order or in presentation order, count as cut off and not as damaged: the video begins after
    them.
    """

    def __init__(self, video: OpenedVideo) -> None:
        self._keyframe_pts: int | None = None
        self._has_keyframe, self._is_cut = not video.is_joinable, False
        self._cut_pts: set[int | None] = set()

    def follow(self, packet: VideoPacket) -> None:
        if packet.is_keyframe and not self._has_keyframe:
            self._has_keyframe, self._keyframe_pts = True, packet.pts
        if self._is_cut and self.holds(packet):
            self._cut_pts.add(packet.pts)

    def holds(self, packet: VideoPacket) -> bool:
        """Whether a packet belongs to the lead-in."""
        if packet.pts is None or self._keyframe_pts is None:
            return not self._has_keyframe
        return packet.pts < self._keyframe_pts

    def cut(self, packet: VideoPacket) -> None:
        """Cuts off a packet and, of the lead-in, those after it."""
        self._is_cut = True
        self._cut_pts.add(packet.pts)

    def has_cut(self, pts: int | None) -> bool:
        """Whether the frame of this time was cut off."""
        return pts in self._cut_pts


class _Taint:
    """Tells which frames may depend on damage: those that follow it in decoding order, up to the next keyframe.

    Frames that follow a keyframe in decoding order and precede it in presentation order (leading ones) may depend on
    what was before the keyframe.
    """

    def __init__(self) -> None:
        self._is_tainted = self._was_tainted = False
        self._keyframe_pts = -inf
        self._tainted_pts: set[int | None] = set()

    def follow(self, packet: VideoPacket, *, is_damaged: bool) -> None:
        pts = self._keyframe_pts if packet.pts is None else packet.pts
        if packet.is_keyframe:
            self._was_tainted, self._is_tainted, self._keyframe_pts = self._is_tainted, False, pts
        is_leading = pts < self._keyframe_pts
        self._was_tainted |= is_damaged and is_leading
        self._is_tainted |= is_damaged and not is_leading
        if self._is_tainted or (self._was_tainted and is_leading):
            self._tainted_pts.add(packet.pts)

    def covers(self, frame: VideoFrame) -> bool:
        return frame.pts in self._tainted_pts
