import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import count, takewhile
from typing import Literal

import av
import numpy as np
import pytest
from av.video.frame import PictureType, VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding import keyframe_decoder
from yt8m_pipeline.decoding.container import OpenedVideo, VideoPacket
from yt8m_pipeline.decoding.frames import decode_frames

from .clips import encode, encode_new_parameters, joined_flv, number_of

RATES = (0.3, 1.0, 2.0, 25.0)


def decoding(rate: float = 1.0, damage: Literal["strict", "salvage"] = "strict", seconds: float = 360.0) -> Decoding:
    return Decoding(sampling="keyframes", frames_per_second=rate, damage=damage, max_seconds=seconds)


def sampled(file: bytes, config: Decoding) -> list[tuple[int, float, int]]:
    """(k, pts in seconds, the number that the frame shows)."""
    frames = decode_frames(io.BytesIO(file), config)
    return [(frame.index, frame.pts_seconds, number_of(frame.rgb)) for frame in frames]


def video_of(keyframes: Sequence[int], frames: int) -> bytes:
    """Ten frames per second, with keyframes where they are asked for."""
    buffer = io.BytesIO(encode(range(0, 100 * frames, 100)))
    target = io.BytesIO()
    options = {"g": "1000", "bf": "0", "sc_threshold": "0", "preset": "ultrafast"}
    with av.open(buffer, "r") as source, av.open(target, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=10, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            frame.pict_type = PictureType.I if number in keyframes else PictureType.NONE
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return target.getvalue()


def nearest(keyframes: Sequence[int], frames: int, rate: float, seconds: float = 360.0) -> list[tuple[int, float, int]]:
    """For every grid time, a search through all keyframes; at a tie the later."""
    step = 1 / Fraction(str(rate))
    inside = takewhile(lambda k: k == 0 or k * step < min(Fraction(frames, 10), Fraction(str(seconds))), count())
    chosen = ((k, max(keyframes, key=lambda n: (-abs(Fraction(n, 10) - k * step), n))) for k in inside)
    return [(k, number / 10, number) for k, number in chosen]


@settings(max_examples=20)
@given(st.sets(st.integers(1, 59), max_size=12), st.integers(60, 75), st.sampled_from(RATES))
def test_the_keyframe_nearest_to_each_grid_time_is_taken(later: set[int], frames: int, rate: float) -> None:
    keyframes = [0, *sorted(later)]
    file = video_of(keyframes, frames)
    assert sampled(file, decoding(rate)) == nearest(keyframes, frames, rate)


def test_a_video_with_one_keyframe_shows_it_all_the_time() -> None:
    assert sampled(video_of([0], 38), decoding()) == [(k, 0.0, 0) for k in range(4)]


def test_at_a_tie_the_later_keyframe_is_taken() -> None:
    assert sampled(video_of([0, 20], 25), decoding()) == [(0, 0.0, 0), (1, 2.0, 20), (2, 2.0, 20)]


def test_no_grid_time_is_taken_after_the_limit() -> None:
    keyframes = range(0, 60, 7)
    file = video_of(keyframes, 60)
    assert sampled(file, decoding(2.0, seconds=1.6)) == nearest(keyframes, 60, 2.0, 1.6)


@pytest.mark.parametrize(("rate", "decoded"), [(25.0, 9), (1.0, 6), (0.3, 2)])
def test_each_keyframe_that_is_taken_is_decoded_once_and_no_others(
    rate: float, decoded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = []
    real = keyframe_decoder.decode_keyframe

    def counting(video: OpenedVideo, packet: VideoPacket) -> VideoFrame:
        packets.append(packet.pts)
        return real(video, packet)

    monkeypatch.setattr(keyframe_decoder, "decode_keyframe", counting)
    chosen = sampled(video_of(range(0, 60, 7), 60), decoding(rate))
    assert len(packets) == len(set(packets)) == len({number for _, _, number in chosen}) == decoded


VIDEOS = {
    "H.264": ("mp4", "libx264", {"g": "12"}),
    "H.264 open GOP": ("mp4", "libx264", {"x264-params": "keyint=12:open-gop=1:bframes=3"}),
    "H.264 Annex B": ("mpegts", "libx264", {"g": "12"}),
    "HEVC open GOP": ("mp4", "libx265", {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1"}),
    "AV1": ("mp4", "libsvtav1", {"g": "16", "preset": "12", "svtav1-params": "lp=1"}),
    "VP9": ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime"}),
    "MPEG-2": ("mpegts", "mpeg2video", {"g": "10", "bf": "2"}),
    "Motion JPEG": ("mov", "mjpeg", {}),
}


def video(name: str) -> bytes:
    container, codec, options = VIDEOS[name]
    return encode(range(60), container=container, codec=codec, options=options, time_base=Fraction(1, 25))


@pytest.mark.parametrize("name", VIDEOS)
def test_a_keyframe_has_the_pixels_that_it_has_among_the_others(name: str) -> None:
    file = video(name)
    exact = {frame.pts_seconds: frame.rgb for frame in decode_frames(io.BytesIO(file), Decoding(frames_per_second=25))}
    found = list(decode_frames(io.BytesIO(file), decoding(5.0)))
    assert [frame.index for frame in found] == list(range(12))
    assert len({frame.pts_seconds for frame in found}) > 3
    assert all(np.array_equal(frame.rgb, exact[frame.pts_seconds]) for frame in found)


def destroyed(file: bytes, packet: int) -> bytes:
    """A packet is overwritten, but for the length of its first NAL unit."""
    with av.open(io.BytesIO(file), "r") as container:
        packets = [bytes(one) for one in container.demux(video=0) if one.size]
    return file.replace(packets[packet], packets[packet][:4] + b"\xff" * (len(packets[packet]) - 4))


def test_damage_between_keyframes_does_not_matter() -> None:
    file = video("HEVC open GOP")
    assert sampled(destroyed(file, 5), decoding(5.0)) == sampled(file, decoding(5.0))


def test_strictly_a_video_ends_at_a_damaged_keyframe() -> None:
    frames = decode_frames(io.BytesIO(destroyed(video("HEVC open GOP"), 0)), decoding(5.0))
    with pytest.raises(VideoRejected, match="the keyframe with pts 0 gives no sound frame") as caught:
        next(frames)
    assert (caught.value.reason, caught.value.decoded_fraction) == (DropReason.DAMAGED, 0.0)


def test_a_damaged_keyframe_is_replaced_by_the_last_sound_one_and_at_the_beginning_by_the_first() -> None:
    file = video("HEVC open GOP")
    assert [number for _, _, number in sampled(file, decoding(5.0))] == [0, 0, 12, 12, 24, 24, 36, 36, 36, 48, 48, 48]
    with av.open(io.BytesIO(file), "r") as container:
        flags = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    second = flags.index(True, 1)
    salvaged = sampled(destroyed(file, second), decoding(5.0, "salvage"))
    assert [number for _, _, number in salvaged] == [0, 0, 0, 0, 24, 24, 36, 36, 36, 48, 48, 48]
    salvaged = sampled(destroyed(file, 0), decoding(5.0, "salvage"))
    assert [number for _, _, number in salvaged] == [12, 12, 12, 12, 24, 24, 36, 36, 36, 48, 48, 48]


def test_a_keyframe_that_ffmpeg_makes_up_in_part_is_damaged() -> None:
    file = video("H.264")
    with av.open(io.BytesIO(file), "r") as container:
        keyframes = [bytes(one) for one in container.demux(video=0) if one.size and one.is_keyframe]
    half = len(keyframes[1]) // 2
    garbled = keyframes[1][:-half] + bytes(byte ^ 0x5A for byte in keyframes[1][-half:])
    salvaged = sampled(file.replace(keyframes[1], garbled), decoding(5.0, "salvage"))
    assert [number for _, _, number in salvaged] == [0, 0, 0, 0, 24, 24, 36, 36, 36, 48, 48, 48]
    with pytest.raises(VideoRejected, match="gives no sound frame"):
        sampled(file.replace(keyframes[1], garbled), decoding(5.0))


def test_damaged_keyframes_are_not_counted_as_sound() -> None:
    frames = decode_frames(io.BytesIO(destroyed(video("HEVC open GOP"), 0)), decoding(5.0, "salvage"))
    with pytest.raises(StopIteration) as end:
        while True:
            next(frames)
    assert end.value.value.decoded_fraction == 10 / 12


def test_a_video_whose_only_keyframe_is_destroyed_has_no_frames() -> None:
    with pytest.raises(VideoRejected, match="the video has no frame to show") as caught:
        sampled(destroyed(video_of([0], 30), 0), decoding())
    assert caught.value.reason is DropReason.NO_FRAMES


def restarted() -> bytes:
    first, second = (encode(range(0, 4000, 40), container="flv", options={"qp": qp, "g": "5"}) for qp in ("10", "45"))
    return joined_flv(first, second, milliseconds=4000)


@pytest.mark.parametrize("make", [encode_new_parameters, restarted])
def test_parameters_that_change_are_not_lost_with_a_keyframe_that_is_left_out(make: Callable[[], bytes]) -> None:
    file = make()
    every = {frame.pts_seconds: frame.rgb for frame in decode_frames(io.BytesIO(file), Decoding(frames_per_second=25))}
    found = list(decode_frames(io.BytesIO(file), decoding(0.7)))
    assert len(found) > 2
    for frame in found:
        np.testing.assert_array_equal(frame.rgb, every[frame.pts_seconds])


def test_what_cannot_be_planned_has_keyframes_all_the_same() -> None:
    options = {"g": "10", "bf": "2", "flags": "+ilme+ildct"}
    file = encode(range(0, 4000, 40), codec="mpeg4", options=options)
    assert [index for index, _, _ in sampled(file, decoding())] == [0, 1, 2, 3]
