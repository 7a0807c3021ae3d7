"""Finding out what a video is, by its header and by its content, for `yt8m probe`.

Everything here may crash or hang on hostile bytes: run it in a `Sandbox`.
"""

import hashlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from fractions import Fraction
from heapq import nlargest
from itertools import chain
from typing import BinaryIO

import av
from av.video.frame import VideoFrame

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.container import OpenedVideo, VideoPacket, open_video, rejecting
from yt8m_pipeline.decoding.display import Display, display_of
from yt8m_pipeline.decoding.facts import TRANSFERS, ProbedFrame, SampledFrame, VideoFacts
from yt8m_pipeline.decoding.frame_times import Grid
from yt8m_pipeline.decoding.frames import decode_frames


def probe(file: BinaryIO, decoding: Decoding, *, frames: bool) -> VideoFacts:
    """Reads a whole video, and decodes its first frame or every frame of the grid (up to `decoding.max_seconds`).

    Args:
        file: The file's bytes, seekable. Nothing else is opened.
        decoding: The grid, the whitelists and the policies.
        frames: Whether to decode the grid. Otherwise damage inside a packet goes unseen.

    Raises:
        VideoRejected: what `decode_frames` says of the same video, as far as it is decoded; TRUNCATED, DAMAGED or
            IO_ERROR, under the policy `strict`, where packets that the grid needs are not all there.
        MemoryError: when FFmpeg gets no memory.
    """
    sampled, decoded_fraction = _sample(file, decoding, frames=frames)
    with open_video(file, decoding) as video:
        packets = _packets(video)
        first, read = _first_frame(video, packets)
        display = display_of(first)
        extent = _extent(video, chain(read, packets), decoding, first.pts)
        return VideoFacts(
            container=video.container.format.name,
            codec=video.decoder.codec.canonical_name,
            profile=video.stream.profile,
            pixel_format=first.format.name,
            width=first.width,
            height=first.height,
            is_mirrored=display.is_mirrored,
            rotation_degrees=-display.quarter_turns % 4 * 90,
            sample_aspect_ratio=_ratio(video.stream.sample_aspect_ratio, ":"),
            frame_rate=_ratio(video.stream.average_rate, "/"),
            start_seconds=float(extent.start_seconds),
            duration_seconds_from_header=_header_duration(video),
            duration_seconds_from_content=float(extent.duration_seconds),
            frames_from_header=video.stream.frames or None,
            frames_from_content=extent.packets,
            grid_frames=extent.grid_frames(video.grid),
            decoded_fraction=decoded_fraction,
            frames=sampled,
            packets_before_start=extent.packets_before_start,
            transfer=TRANSFERS.get(first.color_trc),
            ignored=tuple(_ignored(video, display)),
        )


class Extent:
    """The time from the first to the last frame, by the times of a video's packets in whatever order.

    Args:
        tick: The unit of the times, in seconds.
        first_pts: The first frame's pts; packets of earlier frames are only counted. None: there are none.

    Attributes:
        packets: The number of packets.
        packets_before_start: The number of packets that were left out.
    """

    def __init__(self, tick: Fraction, first_pts: int | None = None) -> None:
        self._tick, self._first_pts, self.packets_before_start = tick, first_pts, 0
        self._start = self._next_pts = 0
        self._latest: list[tuple[int, int]] = []
        self.packets = 0

    def add(self, pts: int | None, duration: int) -> None:
        """Adds a packet. A packet without pts begins at the end of the packet before."""
        if pts is not None and self._first_pts is not None and pts < self._first_pts:
            self.packets_before_start += 1
            return
        pts = self._next_pts if pts is None else pts
        self._next_pts = pts + duration
        self._start = min(self._start, pts) if self.packets else pts
        self._latest = nlargest(2, [*self._latest, (pts, duration)])
        self.packets += 1

    @property
    def start_seconds(self) -> Fraction:
        return self._start * self._tick

    @property
    def duration_seconds(self) -> Fraction:
        """The time from the first frame to the end of the last one's display, by the rule of `frame_times.Screen`."""
        if not self._latest:
            return Fraction(0)
        (pts, duration), (pts_before, _) = self._latest[0], self._latest[-1]
        return (pts + (duration or pts - pts_before) - self._start) * self._tick

    def grid_frames(self, grid: Grid) -> int:
        """The number of times of a grid, per second, that the extent covers; the first one always."""
        return max(1, len(grid.between(Fraction(0), self.duration_seconds)))


def _sample(file: BinaryIO, decoding: Decoding, *, frames: bool) -> tuple[tuple[ProbedFrame, ...], float | None]:
    """Returns the frames of the grid and the share of them that is sound, or merely tries the first frame."""
    decoded_fraction = None

    def decoded() -> Generator[SampledFrame, None, None]:
        nonlocal decoded_fraction
        decoded_fraction = (yield from decode_frames(file, decoding)).decoded_fraction

    with closing(decoded()) as grid:
        if frames:
            return tuple(map(_described, grid)), decoded_fraction
        next(grid)
        return (), None


def _described(frame: SampledFrame) -> ProbedFrame:
    height, width, _ = frame.rgb.shape
    return ProbedFrame(frame.index, frame.pts_seconds, width, height, hashlib.sha256(frame.rgb.data).hexdigest())


def _packets(video: OpenedVideo) -> Iterator[VideoPacket]:
    with rejecting(f"the {video.container.format.name} file cannot be read", video.ending.reason):
        yield from video.packets()


def _first_frame(video: OpenedVideo, packets: Iterator[VideoPacket]) -> "tuple[VideoFrame, list[VideoPacket]]":
    """Returns the first frame that can be decoded, and the packets that were read until it came."""
    read = []
    for packet in packets:
        read.append(packet)
        frames = []
        with suppress(av.FFmpegError):
            frames = video.decoder.decode(packet)
        is_damaged = video.damage() is not None
        if frames and not (is_damaged and video.is_joinable):
            return frames[0], read
    for frame in video.drained():
        return frame, read
    raise VideoRejected(DropReason.NO_FRAMES, "no packet of the video can be decoded")


def _extent(video: OpenedVideo, packets: Iterable[VideoPacket], decoding: Decoding, first_pts: int | None) -> Extent:
    """Reads the video to its end, or up to damage that the policy or the end of the grid excuses."""
    extent, is_strict = Extent(video.tick, first_pts if video.is_joinable else None), decoding.damage == "strict"
    has_begun = not video.is_joinable
    try:
        for packet in packets:
            has_begun |= packet.is_keyframe
            if is_strict and has_begun and (packet.is_keyframe or decoding.sampling == "exact"):
                _check_whole(video, packet)
            if not packet.is_discard:
                extent.add(packet.dts if packet.pts is None else packet.pts, max(packet.duration or 0, 0))
    except VideoRejected:
        if is_strict and extent.grid_frames(video.grid) < video.grid.count:
            raise
    shortfall = video.shortfall(extent.grid_frames(video.grid))
    if is_strict and shortfall:
        raise shortfall
    return extent


def _check_whole(video: OpenedVideo, packet: VideoPacket) -> None:
    if packet.is_corrupt:
        reason = video.ending.reason_of_partial_packet()
        raise VideoRejected(reason, f"the packet with pts {packet.pts} is incomplete")


def _ignored(video: OpenedVideo, display: Display) -> Iterator[str]:
    """Names the values of the header that make no sense."""
    if display.is_nonsense:
        yield "a display matrix that maps the picture to no area"
    if (video.stream.duration or 0) < 0 or (video.container.duration or 0) < 0:
        yield "a negative duration"
    if (video.stream.average_rate or 0) < 0:
        yield "a negative frame rate"
    if video.stream.sample_aspect_ratio not in (None, 0, video.pixel_aspect):
        yield f"pixels of {_ratio(video.stream.sample_aspect_ratio, ':')}"
    yield from video.ending.nonsense()


def _header_duration(video: OpenedVideo) -> float | None:
    seconds = video.seconds_from_header
    return float(seconds) if seconds > 0 else None


def _ratio(value: Fraction | None, sign: str) -> str | None:
    return f"{value.numerator}{sign}{value.denominator}" if value and value > 0 else None
