"""What a film is, by its header and by its content: `yt8m probe`.

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
from yt8m_pipeline.decoding.container import Film, VideoPacket, open_film, rejecting
from yt8m_pipeline.decoding.facts import ProbedFrame, SampledFrame, VideoFacts
from yt8m_pipeline.decoding.frame_times import Grid
from yt8m_pipeline.decoding.frames import decode_frames, is_mirrored, quarter_turns


def probe(stream: BinaryIO, decoding: Decoding, *, frames: bool) -> VideoFacts:
    """Reads a whole film, and decodes its first frame or every frame of the grid.

    Args:
        stream: The file's bytes, seekable. Nothing else is opened.
        decoding: The grid, the whitelists and the policies.
        frames: Whether to decode the grid; else damage inside a packet goes unseen.

    Raises:
        VideoRejected: what `decode_frames` says of the same film, as far as it is decoded; TRUNCATED, DAMAGED or
            IO_ERROR, under the policy `strict`, where packets that the grid needs are not all there.
        MemoryError: when FFmpeg gets no memory.
    """
    sampled, decoded_fraction = _sample(stream, decoding, frames=frames)
    with open_film(stream, decoding) as film:
        packets = _packets(film)
        first, read = _first_frame(film, packets)
        mirrored = is_mirrored(first)
        extent = _extent(film, chain(read, packets), decoding)
        return VideoFacts(
            container=film.container.format.name,
            codec=film.decoder.codec.canonical_name,
            profile=film.video.profile,
            pixel_format=first.format.name,
            width=first.width,
            height=first.height,
            is_mirrored=mirrored,
            rotation_degrees=-quarter_turns(first, mirrored=mirrored) % 4 * 90,
            sample_aspect_ratio=_ratio(film.video.sample_aspect_ratio, ":"),
            frame_rate=_ratio(film.video.average_rate, "/"),
            start_seconds=float(extent.start_seconds),
            duration_seconds_from_header=_header_duration(film),
            duration_seconds_from_content=float(extent.duration_seconds),
            frames_from_header=film.video.frames or None,
            frames_from_content=extent.packets,
            grid_frames=extent.grid_frames(film.grid),
            decoded_fraction=decoded_fraction,
            frames=sampled,
        )


class Extent:
    """From when to when a film goes, by the times of its packets in whatever order. Only the ends are kept.

    Args:
        tick: The unit of the times, seconds.
    """

    def __init__(self, tick: Fraction) -> None:
        self._tick = tick
        self._start = self._next_pts = 0
        self._latest: list[tuple[int, int]] = []
        self.packets = 0

    def add(self, pts: int | None, duration: int) -> None:
        """Adds a packet. A missing pts is the end of the packet before."""
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
        """From the first frame to the end of the last one's display, by the rules of `frames_on_grid`."""
        if not self._latest:
            return Fraction(0)
        (pts, duration), (pts_before, _) = self._latest[0], self._latest[-1]
        return (pts + (duration or pts - pts_before) - self._start) * self._tick

    def grid_frames(self, grid: Grid) -> int:
        """How many times of a grid, per second, it covers; the first one always."""
        return max(1, len(grid.between(Fraction(0), self.duration_seconds)))


def _sample(stream: BinaryIO, decoding: Decoding, *, frames: bool) -> tuple[tuple[ProbedFrame, ...], float | None]:
    """The frames of the grid and the share of them that is sound, or a mere trial of the first."""
    decoded_fraction = None

    def decoded() -> Generator[SampledFrame, None, None]:
        nonlocal decoded_fraction
        decoded_fraction = yield from decode_frames(stream, decoding)

    with closing(decoded()) as grid:
        if frames:
            return tuple(map(_described, grid)), decoded_fraction
        next(grid)
        return (), None


def _described(frame: SampledFrame) -> ProbedFrame:
    height, width, _ = frame.rgb.shape
    return ProbedFrame(frame.index, frame.pts_seconds, width, height, hashlib.sha256(frame.rgb.data).hexdigest())


def _packets(film: Film) -> Iterator[VideoPacket]:
    with rejecting(f"the {film.container.format.name} file cannot be read", film.ending.reason):
        yield from film.packets()


def _first_frame(film: Film, packets: Iterator[VideoPacket]) -> "tuple[VideoFrame, list[VideoPacket]]":
    """The first frame that can be decoded, and the packets that were read until it came."""
    read = []
    for packet in packets:
        read.append(packet)
        with suppress(av.FFmpegError):
            for frame in film.decoder.decode(packet):
                return frame, read
    for frame in film.drained():
        return frame, read
    raise VideoRejected(DropReason.NO_FRAMES, "no packet of the film can be decoded")


def _extent(film: Film, packets: Iterable[VideoPacket], decoding: Decoding) -> Extent:
    """Reads the film to its end, or to damage that the policy or the end of the grid excuses."""
    extent, is_strict = Extent(film.tick), decoding.damage == "strict"
    try:
        for packet in packets:
            if is_strict and (packet.is_keyframe or decoding.sampling == "exact"):
                _check_whole(film, packet)
            if not packet.is_discard:
                extent.add(packet.dts if packet.pts is None else packet.pts, max(packet.duration or 0, 0))
    except VideoRejected:
        if is_strict and extent.grid_frames(film.grid) < film.grid.count:
            raise
    shortfall = film.shortfall(extent.grid_frames(film.grid))
    if is_strict and shortfall:
        raise shortfall
    return extent


def _check_whole(film: Film, packet: VideoPacket) -> None:
    if packet.is_corrupt:
        reason = film.ending.reason_of_partial_packet()
        raise VideoRejected(reason, f"the packet with pts {packet.pts} is incomplete")


def _header_duration(film: Film) -> float | None:
    if film.video.duration:
        return float(film.video.duration * film.tick)
    return film.container.duration / av.time_base if film.container.duration else None


def _ratio(value: Fraction | None, sign: str) -> str | None:
    return f"{value.numerator}{sign}{value.denominator}" if value else None
