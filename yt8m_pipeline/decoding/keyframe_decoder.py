"""Decoding keyframes alone: for each grid time the nearest one. It is cheap, and off by up to half their distance."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from av.video.frame import VideoFrame

from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.decoding.account import Account, OnScreen
from yt8m_pipeline.decoding.codings.coding import coding_of
from yt8m_pipeline.decoding.codings.picture import Unplannable
from yt8m_pipeline.decoding.container import OpenedVideo, VideoPacket, has_side_data, rejecting


def decode_keyframes(video: OpenedVideo, account: Account) -> Iterator[tuple[int, OnScreen]]:
    """Yields (k, the keyframe nearest to grid time k), the video's start being its first keyframe.

    Raises:
        VideoRejected: at damage, if the account is strict.
    """
    for packet, pts, times in _nearest(video, account):
        frame: VideoFrame | None = None
        try:
            frame = decode_keyframe(video, packet)
        except VideoRejected as damage:
            account.note(damage)
        screen = account.shown(frame, pts * video.tick)
        yield from ((index, screen) for index in times)


def _nearest(video: OpenedVideo, account: Account) -> Iterator[tuple[VideoPacket, int, range]]:
    """Yields each keyframe that is nearest to a grid time, its time in ticks, and those grid times; at a tie the later.

    Once the video's parameters have changed, the other keyframes come too, each with no grid time, because what they
    bring holds for those after them.
    """
    parameters = _Parameters(video)
    grid = video.grid.in_ticks(video.tick)
    begin, end, start = Fraction(0), 0, 0
    key: tuple[VideoPacket, int] | None = None
    for packet, pts in _timed(account):
        parameters.note(packet)
        end = max(end, pts + max(packet.duration or 0, 0))
        if key is None and packet.is_keyframe:
            key, start = (packet, pts), pts
        elif key is not None and packet.is_keyframe and pts > key[1]:
            middle = Fraction(key[1] + pts, 2) - start
            times = grid.between(begin, middle)
            if times or parameters.have_changed:
                yield *key, times
            if times and times.stop == grid.count:
                return
            key, begin = (packet, pts), middle
    if key is not None and (times := grid.between(begin, Fraction(end - start)) or range(begin == 0)):
        yield *key, times


class _Parameters:
    """Notices whether the parameters of a stream have changed, as far as its packets tell."""

    def __init__(self, video: OpenedVideo) -> None:
        self.have_changed = False
        decoder = video.decoder
        with self._watching():
            self._coding = coding_of(decoder.codec.canonical_name, decoder.extradata or b"", is_reordered=True)

    def note(self, packet: VideoPacket) -> None:
        self.have_changed |= has_side_data(packet, "new_extradata")
        if not self.have_changed and self._coding is not None:
            with self._watching():
                self._coding.read(bytes(packet), is_keyframe=packet.is_keyframe)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Takes a stream that cannot be planned for as one whose parameters may have changed."""
        try:
            yield
        except Unplannable:
            self.have_changed = True


def _timed(account: Account) -> Iterator[tuple[VideoPacket, int]]:
    """Yields the packets that have a time, with the time at which the packet's frame is shown."""
    for packet in account.packets():
        pts = packet.dts if packet.pts is None else packet.pts
        if pts is not None and not packet.is_discard:
            yield packet, pts


def decode_keyframe(video: OpenedVideo, packet: VideoPacket) -> VideoFrame:
    """Decodes the one frame of a packet that needs no other."""
    with rejecting(f"a keyframe of the {video.stream.name} stream cannot be decoded", video.ending.reason):
        frames = [*video.decode(packet), *video.drained()]
    if not frames or frames[0].is_corrupt:
        raise VideoRejected(video.ending.reason(), f"the keyframe with pts {packet.pts} gives no sound frame")
    return frames[0]
