"""Writes the demo's video files, and those that are no good. The same frames give the same bytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from itertools import accumulate, chain, cycle, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from yt8m_pipeline.data_model import UInt8Array

VARIABLE_TIME_BASE = Fraction(1, 600)
VARIABLE_TICKS = (20, 20, 40, 60, 20, 30)
"""The durations of the frames of a video with a variable rate, over and over: 10 to 30 frames per second."""
BITEXACT = MappingProxyType({"fflags": "+bitexact"})
AUDIO_RATE_HZ = 44_100
NOMINAL_RATE = Fraction(25)
"""Frames per second that the encoder is told where the rate varies."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A container with one video codec and its options."""

    extension: str
    container: str
    codec: str
    options: tuple[tuple[str, str], ...]
    container_options: tuple[tuple[str, str], ...] = ()


class Format(Enum):
    """The kinds of file in the corpus."""

    H264_MP4 = Encoder("mp4", "mp4", "libx264", (("preset", "ultrafast"), ("crf", "26"), ("g", "75")))
    H264_FASTSTART_MP4 = Encoder(
        "mp4",
        "mp4",
        "libx264",
        (("preset", "superfast"), ("crf", "27"), ("bf", "2"), ("g", "50")),
        (("movflags", "+faststart"),),
    )
    VP9_WEBM = Encoder(
        "webm", "webm", "libvpx-vp9", (("deadline", "realtime"), ("cpu-used", "8"), ("b", "600k"), ("g", "60"))
    )
    MPEG4_MKV = Encoder("mkv", "matroska", "mpeg4", (("qscale", "5"), ("g", "12")))


@dataclass(frozen=True, slots=True)
class Timeline:
    """The presentation times of a video's frames: `ticks`, from 0, in units of `time_base` seconds, up to `end`."""

    time_base: Fraction
    ticks: tuple[int, ...]
    end: int

    @property
    def times_seconds(self) -> list[float]:
        return [float(tick * self.time_base) for tick in self.ticks]

    @property
    def duration_seconds(self) -> float:
        return float(self.end * self.time_base)


def timeline(seconds: float, rate: Fraction | None) -> Timeline:
    """The fewest frames that last `seconds`, at a constant rate or, where it is None, a variable one."""
    time_base = VARIABLE_TIME_BASE if rate is None else 1 / rate
    steps = VARIABLE_TICKS if rate is None else (1,)
    wanted = Fraction(seconds) / time_base
    ticks = tuple(takewhile(lambda tick: tick < wanted, accumulate(cycle(steps), initial=0)))
    return Timeline(time_base, ticks, ticks[-1] + steps[(len(ticks) - 1) % len(steps)])


def encode(path: Path, frames: Iterable[UInt8Array], times: Timeline, kind: Format) -> None:
    """Encodes RGB frames, (height, width, 3), even sizes, as 4:2:0 video."""
    encoder = kind.value
    options = {**BITEXACT, **dict(encoder.container_options)}
    with av.open(str(path), "w", format=encoder.container, container_options=options) as container:
        stream = cast(VideoStream, container.add_stream(encoder.codec, NOMINAL_RATE, options=dict(encoder.options)))
        stream.codec_context.time_base = times.time_base
        stream.codec_context.framerate = NOMINAL_RATE if times.time_base == VARIABLE_TIME_BASE else 1 / times.time_base
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        remaining = iter(frames)
        first = next(remaining)
        stream.height, stream.width = first.shape[:2]
        for rgb, tick in zip(chain([first], remaining), times.ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = tick, times.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_truncated(path: Path, frames: Iterable[UInt8Array], times: Timeline) -> None:
    """An MP4 whose index is whole and whose data end in the middle, as after a broken download."""
    encode(path, frames, times, Format.H264_FASTSTART_MP4)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"mdat") + (len(whole) - whole.index(b"mdat")) // 2])


def write_audio_only(path: Path, seconds: float) -> None:
    """An MP4 with one audio stream, a tone of 440 Hz."""
    with av.open(str(path), "w", format="mp4", container_options=dict(BITEXACT)) as container:
        stream = container.add_stream("aac", rate=AUDIO_RATE_HZ, layout="mono")
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        phases = np.arange(round(seconds * AUDIO_RATE_HZ), dtype=np.float32) * np.float32(880 * np.pi / AUDIO_RATE_HZ)
        frame = av.AudioFrame.from_ndarray(np.sin(phases)[None] / 4, format="fltp", layout="mono")
        frame.rate, frame.pts = AUDIO_RATE_HZ, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
