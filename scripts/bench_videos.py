"""The videos of bench_decode.py: 30 frames per second, 16:9, encoded once and kept under names of their content."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count, cycle, islice
from pathlib import Path

import av
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.container import open_video
from yt8m_pipeline.decoding.sparing_decoder import steps
from yt8m_pipeline.demo import scenes
from yt8m_pipeline.demo.signatures import SIGNATURES

FRAMES_PER_SECOND = 30
SCENES_SECONDS = 20
"""The drawn pictures repeat after this time."""


@dataclass(frozen=True)
class Recipe:
    """How a video is encoded: an FFmpeg encoder with its options, `height` in pixels, at most `max_seconds` long."""

    name: str
    encoder: str
    height: int
    options: Mapping[str, str] = field(default_factory=dict)
    container: str = "mp4"
    pixel_format: str = "yuv420p"
    max_seconds: int = 360

    @property
    def width(self) -> int:
        return width_of(self.height)


def width_of(height: int) -> int:
    """The width of a 16:9 picture of this height, in pixels."""
    return height * 16 // 9


def _h264(height: int, kind: str, **options: str) -> Recipe:
    """Closed GOPs of at most 250 frames, 3 B-frames, pyramid: what x264 does if nothing is said."""
    return Recipe(f"h264-{height}p-{kind}", "libx264", height, {"preset": "medium", "g": "250", **options})


def _hevc(height: int) -> Recipe:
    """Open GOPs of at most 250 frames: what x265 does if nothing is said."""
    return Recipe(f"hevc-{height}p", "libx265", height, {"preset": "fast", "x265-params": "keyint=250:log-level=none"})


RECIPES = (
    *(_h264(height, "gop250") for height in (360, 720, 1080)),
    *(_h264(height, "gop60", g="60") for height in (360, 720, 1080)),
    _h264(720, "veryfast", preset="veryfast"),
    *(_h264(height, "no-b", bf="0") for height in (240, 720)),
    _h264(240, "one-chain", bf="0", g="600", sc_threshold="0", profile="baseline"),
    _hevc(720),
    _hevc(1080),
    Recipe("vp9-720p", "libvpx-vp9", 720, {"crf": "33", "cpu-used": "4", "row-mt": "1", "g": "150"}, "webm"),
    Recipe("av1-720p", "libsvtav1", 720, {"preset": "8", "crf": "35", "g": "150"}),
    Recipe("h264-720p-short", "libx264", 720, {"preset": "medium", "g": "250"}, max_seconds=10),
    Recipe("mjpeg-720p", "mjpeg", 720, {"b": "40M"}, "mov", "yuvj420p"),
    Recipe("mpeg4-720p", "mpeg4", 720, {"b": "4M", "bf": "2", "g": "250"}),
)
UHD = Recipe("h264-2160p", "libx264", 2160, {"preset": "superfast", "g": "60", "b": "350k"}, max_seconds=10)
"""The bit rate of this recipe is so low that two hours of it stay below 500 MB."""


def make(recipe: Recipe, folder: Path, clips: Sequence[Path], seconds: int) -> Path:
    """Returns the recipe's video of at most `seconds`: the clips one after another, or else drawn scenes."""
    frames = min(seconds, recipe.max_seconds) * FRAMES_PER_SECOND

    def write(path: Path) -> None:
        _encode(path, recipe, islice(_footage(clips) if clips else _scenes(), frames))

    digests = [hashlib.sha256(clip.read_bytes()).hexdigest() for clip in clips]
    return _kept(folder, recipe, (recipe, frames, digests, av.__version__), write)


def make_long(recipe: Recipe, folder: Path, seconds: int) -> Path:
    """A video of `seconds` that shows the recipe's video of drawn scenes over and over; packets are copied."""
    clip = make(recipe, folder, (), recipe.max_seconds)
    repeats = seconds // recipe.max_seconds
    return _kept(folder, recipe, (clip.name, repeats), lambda path: _repeat(path, clip, repeats))


def _kept(folder: Path, recipe: Recipe, content: object, write: Callable[[Path], None]) -> Path:
    key = hashlib.sha256(repr(content).encode()).hexdigest()[:12]
    path = folder / f"{recipe.name}-{key}.{recipe.container}"
    if not path.exists():
        print(f"making {path.name}", file=sys.stderr, flush=True)
        unfinished = path.with_stem(f"unfinished-{path.stem}")
        write(unfinished)
        os.replace(unfinished, path)
    return path


def _footage(clips: Sequence[Path]) -> Iterator[VideoFrame]:
    for clip in cycle(clips):
        with av.open(str(clip)) as container:
            yield from container.decode(video=0)


def _scenes() -> Iterator[VideoFrame]:
    times_seconds = [index / FRAMES_PER_SECOND for index in range(SCENES_SECONDS * FRAMES_PER_SECOND)]
    while True:
        for rgb in scenes.frames(sorted(SIGNATURES), times_seconds, [0]):
            yield VideoFrame.from_ndarray(rgb, format="rgb24")


def _encode(path: Path, recipe: Recipe, pictures: Iterable[VideoFrame]) -> None:
    av.logging.set_level(av.logging.ERROR)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(recipe.encoder, FRAMES_PER_SECOND, options=dict(recipe.options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = recipe.width, recipe.height, recipe.pixel_format
        stream.codec_context.thread_count = 2
        stream.codec_context.open()
        _run_as_an_ordinary_thread()
        for index, picture in zip(count(), pictures):
            frame = picture.reformat(recipe.width, recipe.height, recipe.pixel_format)
            frame.pict_type = PictureType.NONE
            frame.pts, frame.time_base = index, Fraction(1, FRAMES_PER_SECOND)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def _run_as_an_ordinary_thread() -> None:
    """SVT-AV1, opened by root, gives its caller's thread real-time priority, which what is measured would inherit."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _repeat(path: Path, clip: Path, repeats: int) -> None:
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        video = source.streams.video[0]
        copy = output.add_stream_from_template(video)
        period = video.duration
        assert period is not None
        for offset in range(0, repeats * period, period):
            source.seek(0)
            for packet in source.demux(video):
                if packet.pts is not None and packet.dts is not None:
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, copy
                    output.mux(packet)


def floor_fraction(path: Path) -> float:
    """Returns the share of a video's packets that we decode: those that frames of the 1-fps grid depend on."""
    with path.open("rb") as stream, open_video(stream, Decoding()) as video:
        packets = sum(1 for _ in video.packets())
    with path.open("rb") as stream, open_video(stream, Decoding()) as video:
        return sum(1 for _ in steps(video)) / packets
