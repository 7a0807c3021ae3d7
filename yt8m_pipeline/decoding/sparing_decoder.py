"""Decoding only what the chosen frames depend on. The frames are those of a plain decode, to the bit.

Of a group of 250 H.264 pictures at 30 fps, for instance, the B-frames between the chosen frames are never sent to the
decoder, and nothing after the group's last chosen frame is.
"""

from bisect import bisect, insort
from collections.abc import Iterable, Iterator

import av
from av.video.frame import VideoFrame

from yt8m_pipeline.decoding.codings.coding import coding_of
from yt8m_pipeline.decoding.codings.picture import Picture, Unplannable
from yt8m_pipeline.decoding.container import ChosenFrame, Fragments, OpenedVideo, VideoPacket, has_side_data
from yt8m_pipeline.decoding.packet_choice import REORDERING, CodedFrame, Step, needed_packets

MAX_HELD_BYTES = 64 * 2**20
"""Packets whose need is undecided may have this many bytes together. Usually they are those of about one second."""


def decode_sparingly(video: OpenedVideo) -> Iterator[ChosenFrame]:
    """Yields the frames of the grid.

    Raises:
        Unplannable: if the packets do not tell which they depend on, if the decoder does not give what the packets
            promise, and at any damage. What was yielded before is right all the same.
    """
    awaited = _Awaited(video)
    try:
        for step in steps(video):
            if step.is_fresh:
                yield from awaited.among(video.drained())
                awaited.is_fresh = True
            awaited.add(step)
            yield from awaited.among(_decoded(video, step.packet))
        yield from awaited.among(video.drained())
    except MemoryError:
        raise
    except (av.FFmpegError, OSError) as error:
        raise Unplannable(str(error)) from error
    if awaited.steps or not awaited.next_index or video.shortfall(awaited.next_index):
        raise Unplannable("frames are missing at the end")


def _decoded(video: OpenedVideo, packet: VideoPacket) -> list[VideoFrame]:
    frames = video.decode(packet)
    if damage := video.damage():
        raise Unplannable(damage.detail)
    return frames


def steps(video: OpenedVideo) -> Iterator[Step[VideoPacket]]:
    """Yields the packets that the frames of the grid depend on, in decoding order."""
    return needed_packets(_coded_frames(video), video.grid.in_ticks(video.tick), max_bytes=MAX_HELD_BYTES)


def _coded_frames(video: OpenedVideo) -> Iterator[CodedFrame[VideoPacket]]:
    decoder = video.decoder
    coding = coding_of(decoder.codec.canonical_name, decoder.extradata or b"", is_reordered=decoder.has_b_frames)
    if coding is None:
        raise Unplannable("of this codec, only decoding everything is known to be exact")
    times, fragments = _Times(is_reordered=decoder.has_b_frames), Fragments(video)
    for packet in video.packets():
        if fragments.is_lost_before(packet):
            raise Unplannable("a fragment is lost")
        if packet.is_corrupt or packet.pts is None or video.hole():
            raise Unplannable("a packet is incomplete, has no time, or has lost the one before")
        if has_side_data(packet, "new_extradata"):
            raise Unplannable("its parameters change")
        picture = coding.read(bytes(packet), is_keyframe=packet.is_keyframe)
        times.check(packet, picture)
        pts = packet.pts if picture.is_shown and not packet.is_discard else None
        yield CodedFrame(packet, pts, max(packet.duration or 0, 0), packet.size, picture)


class _Times:
    """Checks that the times of a video are in the order of its frames, as far as its packets show.

    Where no frames are reordered, times grow in decoding order. Where they are, the first one's pts is later than its
    dts, a B-frame (one that no other depends on) precedes a frame that was decoded before it and follows the B-frame
    before it, an entry follows all frames that were decoded before it, and where headers tell the order in which the
    decoder puts frames out (H.264 and HEVC), times are in that order. Otherwise the times belong to packets and
    not to frames, or run backwards: then a frame is late and is shown at once, which only a decoder can tell.
    """

    def __init__(self, *, is_reordered: bool) -> None:
        self._is_reordered = is_reordered
        self._latest: int | None = None
        self._latest_disposable: int | None = None
        self._ordered: list[tuple[int, int, int]] = []

    def check(self, packet: VideoPacket, picture: Picture) -> None:
        """Raises `Unplannable` if a packet's time is not that of its frame."""
        if packet.pts is None or not picture.is_shown:
            return
        if self._latest is None:
            if self._is_reordered and packet.pts == packet.dts:
                raise Unplannable("its frames are reordered, and their times are not")
            self._latest = packet.pts
        elif self._is_reordered and not picture.is_entry and picture.reads:
            self._check_reordered(packet.pts, is_disposable=not picture.writes)
        elif packet.pts <= self._latest:
            raise Unplannable(f"the frame at {packet.pts} follows that at {self._latest}")
        self._latest = max(self._latest, packet.pts)
        if picture.order is not None:
            self._check_order(picture.order, packet.pts)

    def _check_order(self, order: tuple[int, int], pts: int) -> None:
        one = (*order, pts)
        place = bisect(self._ordered, one)
        self._ordered.insert(place, one)
        beside = [time for _, _, time in self._ordered[max(place - 1, 0) : place + 2]]
        if beside != sorted(set(beside)):
            raise Unplannable(f"the frame at {pts} is not in the decoder's order")
        del self._ordered[: -2 * REORDERING]

    def _check_reordered(self, pts: int, *, is_disposable: bool) -> None:
        if not is_disposable:
            self._latest_disposable = None
            return
        if self._latest is not None and pts > self._latest:
            raise Unplannable("a frame that no other depends on comes last")
        if self._latest_disposable is not None and pts <= self._latest_disposable:
            raise Unplannable(f"the frame at {pts} follows that at {self._latest_disposable}")
        self._latest_disposable = pts


class _Awaited:
    """Holds the chosen frames that have not come out of the decoder yet, by time."""

    def __init__(self, video: OpenedVideo) -> None:
        self._video = video
        self._start: int | None = None
        self.steps: list[tuple[int, range]] = []
        self.next_index = 0
        self.is_fresh = False
        self._latest: int | None = None

    def add(self, step: Step[VideoPacket]) -> None:
        if step.pts is not None and step.grid:
            insort(self.steps, (step.pts, step.grid), key=lambda item: item[0])

    def among(self, frames: Iterable[VideoFrame]) -> Iterator[ChosenFrame]:
        for frame in frames:
            if frame.is_corrupt or frame.pts is None or (self.is_fresh and not frame.key_frame):
                raise Unplannable("a frame is damaged, has no time, or is not the keyframe that it must be")
            if self._latest is not None and frame.pts <= self._latest:
                raise Unplannable(f"the frame at {frame.pts} comes after that at {self._latest}")
            self.is_fresh, self._latest = False, frame.pts
            if self.steps and frame.pts >= self.steps[0][0]:
                yield from self._chosen(frame, *self.steps.pop(0))

    def _chosen(self, frame: VideoFrame, pts: int, grid: range) -> Iterator[ChosenFrame]:
        if frame.pts != pts:
            raise Unplannable(f"there is no frame with the pts {pts}")
        self._start = pts if self._start is None else self._start
        self.next_index = grid.stop
        pts_seconds = (pts - self._start) * self._video.tick
        yield from (ChosenFrame(index, pts_seconds, frame, self._video.pixel_aspect) for index in grid)
