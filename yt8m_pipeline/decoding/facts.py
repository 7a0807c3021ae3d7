"""What decoding and probing answer: sampled frames, and what a video is."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from yt8m_pipeline.data_model import UInt8Array


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One decoded frame of the 1-fps grid (paper §3.3).

    Attributes:
        index: k: this is the frame on screen k / frames_per_second after the video's start.
        pts_seconds: The frame's own presentation time, seconds after the video's start: ≤ its grid time, but for
            keyframe sampling and for the first sound frame of a damaged film, which stands for those before it.
        rgb: uint8, (height, width, 3).
    """

    index: int
    pts_seconds: float
    rgb: UInt8Array

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise ValueError(f"a frame is uint8 (height, width, 3), got {self.rgb.dtype} {self.rgb.shape}")

    def __repr__(self) -> str:
        return f"SampledFrame(index={self.index}, pts_seconds={self.pts_seconds}, rgb={self.rgb.shape})"


@dataclass(frozen=True, slots=True)
class ProbedFrame:
    """One frame of the grid as the build would see it, in its own size.

    Attributes:
        k: This is the frame on screen k / frames_per_second after the film's start.
        pts_seconds: The frame's own presentation time, seconds after the film's start.
        width: Pixels, upright.
        height: Pixels, upright.
        sha256: The digest of its RGB24 bytes, row by row, hexadecimal.
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
    """What a film is, by its header and by its content. Unknown is None.

    Attributes:
        container: FFmpeg's name of the demuxer.
        codec: FFmpeg's name of the codec.
        profile: FFmpeg's name of the codec's profile.
        pixel_format: FFmpeg's name of the first frame's pixel format.
        width: Of the first frame as it is coded, pixels.
        height: Of the first frame as it is coded, pixels.
        is_mirrored: Whether the display matrix mirrors the picture from left to right …
        rotation_degrees: … and then how far it turns it clockwise: 0, 90, 180 or 270.
        sample_aspect_ratio: Width : height of a pixel.
        frame_rate: Frames per second by the header, a rational number.
        start_seconds: The presentation time of the first frame, by the container's clock.
        duration_seconds_from_header: As the header has it, or FFmpeg estimates where it has none.
        duration_seconds_from_content: From the first frame's presentation time to the end of the last frame's.
        frames_from_header: How many frames the header counts.
        frames_from_content: How many packets there are; a packet is a frame, but for codecs with hidden ones (VP8).
        grid_frames: How many grid times the content covers: the frames that a build takes.
        decoded_fraction: The share of them that is sound; None where they were not decoded.
        frames: The frames of the grid; () where they were not decoded.
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

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.frames_from_content, self.grid_frames) < 1:
            raise ValueError(f"a film has pixels, packets and frames, got {self}")
        texts = (self.container, self.codec, self.profile, self.pixel_format, self.sample_aspect_ratio, self.frame_rate)
        if not all((text or "").isprintable() for text in texts):
            raise ValueError(f"a name is one line of printable text, got {self}")

    def to_json(self) -> dict[str, Any]:
        """The attributes by name, in values that JSON knows."""
        return asdict(self) | {"frames": [asdict(frame) for frame in self.frames]}

    @classmethod
    def from_json(cls, values: object) -> "VideoFacts":
        """The inverse of `to_json`, for values that nobody vouches for.

        Raises:
            ValueError: if a name is missing or unknown, a value has the wrong type, or a number is not finite.
        """
        from pydantic import TypeAdapter  # noqa: PLC0415  `yt8m --help` does not need it

        return TypeAdapter(cls).validate_json(json.dumps(values, allow_nan=False), strict=True, extra="forbid")
