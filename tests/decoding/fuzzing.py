"""Damaged videos through the sandbox: what became of each one, and what may never happen."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from time import monotonic

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.damage import check_damage
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.sandbox.parent import Sandbox

from .clips import encode
from .damage import TRUNCATIONS, Variant, Video

SIZE = 64
STRICT = Decoding(damage="strict", timeout_seconds=30, timeout_seconds_per_frame=0)
SALVAGE = STRICT.model_copy(update={"damage": "salvage"})
EVERY_FRAME = STRICT.model_copy(update={"frames_per_second": 120.0})

STARTING_SECONDS = 30.0
"""What the wall time may be above the limit: a child that was lost is replaced."""

GOP = {"g": "20"}
X265 = {"x265-params": "keyint=20:log-level=none"}
VIDEOS: tuple[tuple[str, str, str, dict[str, str], dict[str, str]], ...] = (
    ("h264.mp4", "mp4", "libx264", GOP, {}),
    ("fragmented.mp4", "mp4", "libx264", GOP, {"movflags": "frag_keyframe+empty_moov"}),
    ("hevc.mp4", "mp4", "libx265", X265, {}),
    ("hevc.mkv", "matroska", "libx265", X265, {}),
    ("vp8.webm", "webm", "libvpx", GOP, {}),
    ("vp9.webm", "webm", "libvpx-vp9", GOP, {}),
    ("h264.flv", "flv", "libx264", GOP, {}),
    ("mpeg4.avi", "avi", "mpeg4", GOP, {}),
    ("h264.ts", "mpegts", "libx264", GOP, {}),
)
"""Name, container, encoder, its options, options of the muxer."""


@dataclass(frozen=True)
class Original:
    """The undamaged video.

    Attributes:
        digests: pts in seconds → digest of the pixels, for every frame on screen at a multiple of 1/120 s; empty if the
            video is rejected.
        grid_frames: How many frames it has on the grid; 0 if it is rejected.
    """

    digests: Mapping[float, bytes]
    grid_frames: int


@dataclass(frozen=True)
class Attempt:
    """One decoding, as its parent sees it.

    Attributes:
        frames: What was delivered, before a rejection too.
        end: The decoded fraction, or why there is none.
        seconds: Wall time.
        peak_mib: Greatest resident memory of a living child meanwhile (VmHWM in /proc), MiB. A child that was lost
            is not in it, but in `getrusage(RUSAGE_CHILDREN)`.
    """

    frames: Sequence[SampledFrame]
    end: float | VideoRejected
    seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Outcome:
    """What became of one variant under one policy.

    Attributes:
        variant: Its name.
        mutation: How it was damaged.
        policy: `Decoding.damage`.
        reason: Why it was rejected; None: it was decoded to its end.
        detail: The rejection's detail.
        expected: How many frames the undamaged video has.
        frames: How many were delivered, before a rejection too.
        known: How many of these have the pts of a frame of the undamaged video …
        identical: … and how many of those its pixels.
        decoded_fraction: None where it is not known.
        seconds: Wall time.
        peak_mib: As in `Attempt`.
        violations: What may never happen, and did.
    """

    variant: str
    mutation: str
    policy: str
    reason: DropReason | None
    detail: str
    expected: int
    frames: int
    known: int
    identical: int
    decoded_fraction: float | None
    seconds: float
    peak_mib: float
    violations: tuple[str, ...]


def encode_videos() -> list[Video]:
    """A video of 4 s at 25 frames per second, a keyframe every 20 frames, for each of `VIDEOS`."""
    return [
        Video.of(
            name,
            encode(
                range(100),
                container=container,
                codec=codec,
                time_base=Fraction(1, 25),
                options=options,
                muxer=muxer,
            ),
        )
        for name, container, codec, options, muxer in VIDEOS
    ]


def originals_of(videos: Iterable[Video], folder: Path) -> dict[str, Original]:
    """Decodes videos as they are, by name. The folder is for their files."""
    with Sandbox(EVERY_FRAME, SIZE) as sandbox:
        return {video.name: _original(sandbox, video, folder / video.name) for video in videos}


def outcomes(
    variants: Iterable[Variant], originals: Mapping[str, Original], folder: Path, *, keep: bool = False
) -> Iterator[Outcome]:
    """Decodes each variant under both policies.

    Args:
        variants: What to decode.
        originals: The undamaged videos, by name.
        folder: Where the variants are written …
        keep: … and left.
    """
    with Sandbox(STRICT, SIZE) as strict, Sandbox(SALVAGE, SIZE) as salvage:
        for variant in variants:
            path = folder / variant.name
            path.write_bytes(variant.data)
            for decoding, sandbox in ((STRICT, strict), (SALVAGE, salvage)):
                yield _outcome(variant, decoding, _attempt(sandbox, decoding, path), originals[variant.video.name])
            if not keep:
                path.unlink()


def violations(attempt: Attempt, decoding: Decoding) -> Iterator[str]:
    """What may never happen, whatever the bytes are."""
    frames, end = attempt.frames, attempt.end
    fraction = end.decoded_fraction if isinstance(end, VideoRejected) else end
    accepted = {"strict": 1.0, "salvage": decoding.min_decoded_fraction}[decoding.damage]
    times = [frame.pts_seconds for frame in frames]
    on_time = frames if decoding.damage == "strict" else []  # salvage may begin with the first sound frame, a later one
    laws = {
        "more frames than the grid has times": len(frames) <= ceil(decoding.max_seconds * decoding.rate),
        "frames without an order": [frame.index for frame in frames] == list(range(len(frames))),
        "a frame of another size": all(frame.rgb.shape == (SIZE, SIZE, 3) for frame in frames),
        "a frame before its time": all(frame.pts_seconds <= frame.index / decoding.rate for frame in on_time),
        "times that go back": [0.0, *times] == sorted([0.0, *times]),
        "neither a frame nor a reason": bool(frames) or isinstance(end, VideoRejected),
        "a fraction that is none": fraction is None or 0 <= fraction <= 1,
        "an accepted video of too few sound frames": isinstance(end, VideoRejected) or end >= accepted,
        "too long": attempt.seconds <= decoding.timeout_seconds + STARTING_SECONDS,
        "too much memory": attempt.peak_mib < decoding.memory_limit_mib,
    }
    return (law for law, holds in laws.items() if not holds)


def _original(sandbox: Sandbox, video: Video, path: Path) -> Original:
    path.write_bytes(video.data)
    attempt = _attempt(sandbox, EVERY_FRAME, path)
    path.unlink()
    frames = [] if isinstance(attempt.end, VideoRejected) else attempt.frames
    count = ceil(len(frames) * STRICT.rate / EVERY_FRAME.rate)
    return Original({frame.pts_seconds: _digest(frame) for frame in frames}, count)


def _attempt(sandbox: Sandbox, decoding: Decoding, path: Path) -> Attempt:
    _forget_peaks()
    frames: list[SampledFrame] = []
    began = monotonic()
    try:
        fraction = _decode_into(frames, sandbox, path)
        check_damage(fraction, decoding)
        end: float | VideoRejected = fraction
    except VideoRejected as rejection:
        end = rejection
    return Attempt(frames, end, monotonic() - began, _peak_mib())


def _decode_into(frames: list[SampledFrame], sandbox: Sandbox, path: Path) -> float:
    decoding = sandbox.decode(str(path))
    try:
        while True:
            frames.append(next(decoding))
    except StopIteration as end:
        return float(end.value.decoded_fraction)


def _outcome(variant: Variant, decoding: Decoding, attempt: Attempt, original: Original) -> Outcome:
    known = [frame for frame in attempt.frames if frame.pts_seconds in original.digests]
    identical = sum(_digest(frame) == original.digests[frame.pts_seconds] for frame in known)
    rejection = attempt.end if isinstance(attempt.end, VideoRejected) else None
    broken = list(violations(attempt, decoding))
    if variant.mutation in TRUNCATIONS and original.digests and identical < len(attempt.frames):
        broken.append("a frame that the whole video does not have")
    return Outcome(
        variant=variant.name,
        mutation=variant.mutation,
        policy=decoding.damage,
        reason=rejection.reason if rejection else None,
        detail=rejection.detail if rejection else "",
        expected=original.grid_frames,
        frames=len(attempt.frames),
        known=len(known),
        identical=identical,
        decoded_fraction=attempt.end.decoded_fraction if isinstance(attempt.end, VideoRejected) else attempt.end,
        seconds=attempt.seconds,
        peak_mib=attempt.peak_mib,
        violations=tuple(broken),
    )


def _digest(frame: SampledFrame) -> bytes:
    return hashlib.sha256(frame.rgb.tobytes()).digest()


def _children() -> list[Path]:
    """The /proc folders of the processes that this thread has started."""
    return [Path("/proc", pid) for pid in Path("/proc/thread-self/children").read_text(encoding="ascii").split()]


def _forget_peaks() -> None:
    for child in _children():
        (child / "clear_refs").write_text("5", encoding="ascii")


def _peak_mib() -> float:
    found = [re.search(r"VmHWM:\s+(\d+) kB", (child / "status").read_text(encoding="utf-8")) for child in _children()]
    return max((int(peak[1]) / 1024 for peak in found if peak), default=0.0)
