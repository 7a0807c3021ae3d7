"""What is encoded decodes to the same pictures at the planned times."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.data_model import UInt8Array
from yt8m_pipeline.demo.encoding import Format, encode, timeline, write_audio_only, write_truncated

RATES = st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24), None])


def ramp(count: int) -> list[UInt8Array]:
    """Grey frames, each lighter than the last."""
    return [np.full((64, 96, 3), 40 + index * 150 // count, np.uint8) for index in range(count)]


def decode(path: Path) -> list[tuple[float, float]]:
    """(time in seconds, mean luma) of each frame."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [(float(frame.time or 0), float(frame.to_ndarray(format="gray").mean())) for frame in frames]


@given(st.floats(0.1, 60), RATES)
def test_a_timeline_is_the_fewest_frames_that_last_long_enough(seconds: float, rate: Fraction | None) -> None:
    times = timeline(seconds, rate)
    assert times.ticks[0] == 0
    assert all(earlier < later for earlier, later in pairwise(times.ticks))
    assert times.ticks[-1] * times.time_base < Fraction(seconds) <= times.end * times.time_base


def test_a_variable_rate_varies_and_a_constant_one_does_not() -> None:
    steps = [
        {later - earlier for earlier, later in pairwise(timeline(2.0, rate).ticks)} for rate in (None, Fraction(25))
    ]
    assert len(steps[0]) > 2
    assert steps[1] == {1}


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), None])
@pytest.mark.parametrize("kind", Format)
def test_every_format_keeps_each_frame_and_its_time(tmp_path: Path, kind: Format, rate: Fraction | None) -> None:
    times = timeline(1.0, rate)
    frames = ramp(len(times.ticks))
    encode(tmp_path / "video", frames, times, kind)
    decoded = decode(tmp_path / "video")
    assert np.allclose([time for time, _ in decoded], times.times_seconds, atol=0.00051)
    assert np.allclose([luma for _, luma in decoded], [frame.mean() for frame in frames], atol=6)


@pytest.mark.parametrize("kind", Format)
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, kind: Format) -> None:
    times = timeline(1.0, Fraction(25))
    noisy = [
        frame + np.random.default_rng(0).integers(0, 40, frame.shape, np.uint8) for frame in ramp(len(times.ticks))
    ]
    for name in ("one", "two"):
        encode(tmp_path / name, noisy, times, kind)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_faststart_puts_the_index_before_the_data(tmp_path: Path) -> None:
    times = timeline(1.0, Fraction(25))
    for kind, index_first in ((Format.H264_FASTSTART_MP4, True), (Format.H264_MP4, False)):
        encode(tmp_path / kind.name, ramp(25), times, kind)
        data = (tmp_path / kind.name).read_bytes()
        assert (data.index(b"moov") < data.index(b"mdat")) is index_first


def test_a_truncated_video_has_its_index_and_a_part_of_its_frames(tmp_path: Path) -> None:
    times = timeline(2.0, Fraction(25))
    write_truncated(tmp_path / "video.mp4", ramp(50), times)
    with av.open(str(tmp_path / "video.mp4"), "r") as container:
        promised = container.streams.video[0].frames
        packets = sum(packet.size > 0 for packet in container.demux(video=0))
    assert promised == 50
    assert 0 < packets < 50


def test_an_audio_only_file_has_sound_of_its_length_and_no_picture(tmp_path: Path) -> None:
    write_audio_only(tmp_path / "tone.mp4", 2.0)
    with av.open(str(tmp_path / "tone.mp4"), "r") as container:
        assert not container.streams.video
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == pytest.approx(2.0 * 44_100, abs=2048)
