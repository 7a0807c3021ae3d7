"""What decoding and probing answer: sampled frames, and what a video is."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Literal

import numpy as np

from yt8m_pipeline.data_model import MediaFile, UInt8Array

TRANSFERS: Mapping[int, Literal["PQ", "HLG"]] = {16: "PQ", 18: "HLG"}
"""The transfer characteristics of high dynamic range, by their code points (ITU-T H.273 §8.2)."""


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One decoded frame of the 1-fps grid (paper §3.3).

    Attributes:
        index: The number k of the grid time: the frame is on screen k / `frames_per_second` seconds after the start.
        pts_seconds: The frame's own presentation time, in seconds after the video's start. It is ≤ the grid time,
            except under keyframe sampling and for the first sound frame of a damaged video, which stands for those
            before it.
        rgb: The pixels: uint8, (height, width, 3).
        transfer: The transfer function of a frame of high dynamic range, "PQ" or "HLG" (ITU-R BT.2100), which is not
            tone-mapped; '' for other frames.
        aspect: The width : height of the upright picture as players show it, which that of the pixels may not be.
    """

    index: int
    pts_seconds: float
    rgb: UInt8Array
    transfer: str = ""
    aspect: float = 1.0

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise ValueError(f"a frame is uint8 (height, width, 3), got {self.rgb.dtype} {self.rgb.shape}")
        if not 0 < self.aspect < inf:
            raise ValueError(f"a picture has a width and a height, got {self.aspect}")

    def __repr__(self) -> str:
        return f"SampledFrame(index={self.index}, pts_seconds={self.pts_seconds}, rgb={self.rgb.shape})"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is known of a video when all its frames have been sampled.

    Attributes:
        decoded_fraction: The share of its grid times whose frame is sound, in [0, 1].
        media: What its file is, and what decoding it took.
    """

    decoded_fraction: float
    media: MediaFile

    def __post_init__(self) -> None:
        if not 0 <= self.decoded_fraction <= 1:
            raise ValueError(f"a decoded fraction is in 0 … 1, got {self}")


@dataclass(frozen=True, slots=True)
class ProbedFrame:
    """One frame of the grid as the build would see it, in its own size.

    Attributes:
        k: The number of the grid time: the frame is on screen k / `frames_per_second` seconds after the start.
        pts_seconds: The frame's own presentation time, in seconds after the video's start.
        width: The width of the upright frame, in pixels.
        height: The height of the upright frame, in pixels.
        sha256: The digest of the frame's RGB24 bytes, row by row, hexadecimal.
    """

    k: int
    pts_seconds: float
    width: int
    height: int
    sha256: str

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"a probed frame has pixels and a SHA-256, got {self}")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is, by its header and by its content. None stands for what is unknown.

    Attributes:
        container: FFmpeg's name of the demuxer.
        codec: FFmpeg's name of the codec.
        profile: FFmpeg's name of the codec's profile.
        pixel_format: FFmpeg's name of the first frame's pixel format.
        width: The width of the first frame as it is coded, in pixels.
        height: The height of the first frame as it is coded, in pixels.
        is_mirrored: Whether the display matrix mirrors the picture from left to right, before it turns it.
        rotation_degrees: How far the display matrix turns the picture clockwise: 0, 90, 180 or 270.
        sample_aspect_ratio: The width : height of a pixel.
        frame_rate: Frames per second by the header, a rational number.
        start_seconds: The presentation time of the first frame, by the container's clock.
        duration_seconds_from_header: The duration that the header tells, or FFmpeg's estimate where it tells none.
        duration_seconds_from_content: The time from the first frame's appearance to the end of the last frame.
        frames_from_header: The number of frames that the header tells.
        frames_from_content: The number of packets. A packet is a frame, except in codecs with hidden frames (VP8).
        grid_frames: The number of grid times that the content covers: the frames that a build takes.
        decoded_fraction: The share of these frames that is sound; None where they were not decoded.
        frames: The frames of the grid; () where they were not decoded.
        packets_before_start: The number of packets whose frames would precede the first one that can be decoded: the
            video was cut out of a longer one there. They are not part of the video.
        transfer: "PQ" or "HLG" for the transfer function of a video of high dynamic range (ITU-R BT.2100), which is not
            tone-mapped, so its frames look dull; None for others.
        ignored: The values of the header that make no sense and are ignored.
    """

    container: str
    codec: str
    profile: str | None
    pixel_format: str
    width: int
    height: int
    is_mirrored: bool
    rotation_degrees: int
    sample_aspect_ratio: str | None
    frame_rate: str | None
    start_seconds: float
    duration_seconds_from_header: float | None
    duration_seconds_from_content: float
    frames_from_header: int | None
    frames_from_content: int
    grid_frames: int
    decoded_fraction: float | None
    frames: tuple[ProbedFrame, ...]
    packets_before_start: int = 0
    transfer: Literal["PQ", "HLG"] | None = None
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.frames_from_content, self.grid_frames) < 1:
            raise ValueError(f"a video has pixels, packets and frames, got {self}")
        texts = (self.container, self.codec, self.profile, self.pixel_format, self.sample_aspect_ratio, self.frame_rate)
        if not all((text or "").isprintable() for text in (*texts, *self.ignored)):
            raise ValueError(f"a name is one line of printable text, got {self}")

    def to_json(self) -> dict[str, Any]:
        """The attributes by name, in values that JSON knows."""
        return asdict(self) | {"frames": [asdict(frame) for frame in self.frames]}

    @classmethod
    def from_json(cls, values: object) -> "VideoFacts":
        """Reads what `to_json` has written, from a source that is not trusted.

        Raises:
            ValueError: if a name is missing or unknown, a value has the wrong type, or a number is not finite.
        """
        from pydantic import TypeAdapter  # noqa: PLC0415  `yt8m --help` does not need it

        return TypeAdapter(cls).validate_json(json.dumps(values, allow_nan=False), strict=True, extra="forbid")
