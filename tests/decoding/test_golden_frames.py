"""The golden videos against the ffmpeg command line, and against a plain decode of everything (golden/README.md)."""

import io
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import UInt8Array
from yt8m_pipeline.decoding.codings.picture import Unplannable
from yt8m_pipeline.decoding.container import open_video
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.sparing_decoder import decode_sparingly

GOLDEN = Path(__file__).parent / "golden"
VIDEOS = json.loads((GOLDEN / "frames.json").read_text())["videos"]
SIZE = 48
CONVERSION = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

DECODED_PLAINLY = {
    *("h264_starts_at_recovery_point.ts", "hevc_starts_at_cra.ts", "changing_size.ts"),  # what they need comes later
    *("mpeg4_packed_b_frames.avi", "missing_pts.avi", "mpeg2.mpg"),  # packets without pts
    *("repeated_pts.mkv", "backward_pts.mkv"),
    *("wmv2.asf", "ffv1_gray.mkv", "ffv1_bgr0.mkv"),  # codecs whose headers are not read
}

BEST_STREAM = {"second_stream_is_default.mkv": 1}
UPRIGHT: dict[str, Callable[[UInt8Array], UInt8Array]] = {
    "rotated_90.mp4": lambda picture: np.rot90(picture, -1),
    "rotated_180.mp4": lambda picture: picture[::-1, ::-1],
    "rotated_270.mkv": np.rot90,
    "mirrored.mp4": np.fliplr,
}


def stream_of(video: str) -> io.BytesIO:
    return io.BytesIO((GOLDEN / video).read_bytes())


def plain_decode(video: str) -> tuple[list[Fraction], Fraction, list[VideoFrame]]:
    """When each frame appears and when the last one ends, both after the first frame; and every frame.

    PyAV would have libavformat invent pts that a file lacks, out of order for B-frames: not here.
    """
    with av.open(stream_of(video), "r", container_options={"fflags": "-genpts"}) as container:
        stream = container.streams.video[BEST_STREAM.get(video, 0)]
        stream.codec_context.thread_count = 1
        packets = (packet for packet in container.demux(stream) if packet.size or packet.dts is None)
        frames = [frame for packet in packets for frame in packet.decode()]
        tick = stream.time_base
    assert tick is not None
    times = [time * tick for time in ticks(frames)]
    appears = list(accumulate((time - times[0] for time in times), max))
    return appears, appears[-1] + frames[-1].duration * tick, frames


def ticks(frames: list[VideoFrame]) -> Iterator[int]:
    """The pts of each frame; without one, the dts; without both, the end of the frame before."""
    following = 0
    for frame in frames:
        known = [time for time in (frame.pts, frame.dts) if time is not None]
        time = known[0] if known else following
        following = time + frame.duration
        yield time


def square(video: str, frame: VideoFrame) -> UInt8Array:
    """uint8, (SIZE, SIZE, 3), upright."""
    rgb = frame.reformat(SIZE, SIZE, "rgb24", interpolation=CONVERSION).to_ndarray().astype(np.uint8)
    upright = UPRIGHT.get(video)
    return upright(rgb) if upright else rgb


def test_every_video_has_golden_frames() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {*VIDEOS, "frames.json", "README.md"}
    assert all(video["frames"] for video in VIDEOS.values())


def is_planned(video: str) -> bool:
    """Whether the sparing way gives the frames, so that the plain one need not take over."""
    with open_video(stream_of(video), Decoding()) as opened:
        try:
            return bool(list(decode_sparingly(opened)))
        except Unplannable:
            return False


def test_all_videos_but_a_known_few_are_decoded_sparingly() -> None:
    assert {video for video in VIDEOS if not is_planned(video)} == DECODED_PLAINLY


@pytest.mark.parametrize("video", VIDEOS)
def test_the_frames_are_those_of_the_ffmpeg_command_line(video: str) -> None:
    frames = list(decode_frames(stream_of(video), Decoding()))
    golden = VIDEOS[video]["frames"]
    assert [frame.index for frame in frames] == [expected["k"] for expected in golden]
    times = [expected["pts_seconds"] for expected in golden]
    assert [frame.pts_seconds for frame in frames] == pytest.approx(times, abs=1e-6)
    assert [frame.rgb.shape[:2] for frame in frames] == [(each["height"], each["width"]) for each in golden]
    assert [sha256(frame.rgb.tobytes()).hexdigest() for frame in frames] == [expected["sha256"] for expected in golden]


@pytest.mark.parametrize("video", VIDEOS)
def test_at_any_rate_and_size_the_frames_are_those_of_a_plain_decode(video: str) -> None:
    appears, end, plain = plain_decode(video)
    for rate in (Fraction(1), Fraction(7, 2)):
        frames = list(decode_frames(stream_of(video), Decoding(frames_per_second=float(rate)), SIZE))
        assert [frame.index for frame in frames] == [k for k in range(100) if k / rate < end]
        for frame in frames:
            expected = bisect_right(appears, frame.index / rate) - 1
            assert frame.pts_seconds == pytest.approx(float(appears[expected]))
            assert np.array_equal(frame.rgb, square(video, plain[expected]))
