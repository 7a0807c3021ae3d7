import hashlib
import io
import json
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.damage import MEASURING_REVISION
from yt8m_pipeline.decoding.facts import VideoFacts
from yt8m_pipeline.decoding.frame_times import Grid, TimedFrame, frames_on_grid
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.probing import Extent, probe
from yt8m_pipeline.decoding.sandbox.parent import Sandbox

from .clips import encode, encode_audio, real_clip

TIMES = range(0, 3400, 40)
SALVAGE = Decoding(damage="salvage")
ALTERED_CLIPS = ("rotated_0.mov", "rotated_90.mov", "rotated_180.mov", "rotated_270.mov", "unordered.mov")
CLIPS = ("pancake.mkv", "vp8_vorbis.mkv", "h264_aac.flv", "h264_720p_aac.mp4", *ALTERED_CLIPS)


def facts_of(video: bytes, decoding: Decoding | None = None, *, frames: bool = False) -> VideoFacts:
    return probe(io.BytesIO(video), decoding or Decoding(), frames=frames)


def rejection(video: bytes, decoding: Decoding | None = None, *, frames: bool = False) -> tuple[DropReason, str]:
    with pytest.raises(VideoRejected) as caught:
        facts_of(video, decoding, frames=frames)
    return caught.value.reason, caught.value.detail


def rejection_by_a_build(video: bytes) -> tuple[DropReason, str]:
    with pytest.raises(VideoRejected) as caught:
        list(decode_frames(io.BytesIO(video), Decoding()))
    return caught.value.reason, caught.value.detail


def with_index_first() -> bytes:
    """An MP4 video that can be opened when its end is missing."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        return encode(TIMES, options={"g": "25"}, muxer={"movflags": "faststart"}, path=path)


def turned(stream: VideoStream) -> None:
    stream.set_display_rotation(-90)


def with_ntsc_rate(stream: VideoStream) -> None:
    stream.codec_context.framerate = Fraction(30000, 1001)


def with_long_pixels(stream: VideoStream) -> None:
    stream.codec_context.sample_aspect_ratio = Fraction(4, 3)


def spoiled(video: bytes, number: int) -> bytes:
    """A Matroska video whose packet of this number has a bad payload."""
    place = [at for at in range(len(video)) if video[at] == 0xA3][number]
    return video[: place + 12] + b"\xff" * 8 + video[place + 20 :]


class TestFacts:
    @pytest.mark.parametrize(
        ("container", "codec", "name", "profile", "frames_from_header"),
        [
            ("mp4", "libx264", "mov,mp4,m4a,3gp,3g2,mj2", "High", 85),
            ("matroska", "libx264", "matroska,webm", "High", None),
            ("mpegts", "libx264", "mpegts", "High", None),
            ("flv", "libx264", "flv", "High", None),
            ("avi", "mpeg4", "avi", "Simple Profile", 3400),
            ("webm", "libvpx", "matroska,webm", None, None),
        ],
    )
    def test_a_video_is_what_was_encoded(
        self, container: str, codec: str, name: str, profile: str | None, frames_from_header: int | None
    ) -> None:
        facts = facts_of(encode(TIMES, container=container, codec=codec))
        assert (facts.container, facts.profile) == (name, profile)
        assert facts.codec == {"libx264": "h264", "libvpx": "vp8"}.get(codec, codec)
        assert (facts.width, facts.height, facts.pixel_format, facts.rotation_degrees) == (64, 48, "yuv420p", 0)
        assert (facts.frames_from_content, facts.grid_frames) == (85, 4)
        assert facts.frames_from_header == frames_from_header
        assert facts.duration_seconds_from_content == pytest.approx(3.4, abs=0.001)
        assert facts.duration_seconds_from_header == pytest.approx(3.4, abs=0.1)
        assert (facts.decoded_fraction, facts.frames) == (None, ())

    def test_the_frame_rate_is_an_exact_rational_number(self) -> None:
        ticks = Fraction(1, 30000)
        video = encode(range(0, 60060, 1001), time_base=ticks, prepare=with_ntsc_rate)
        assert facts_of(video).frame_rate == "30000/1001"

    def test_rotation_is_clockwise_and_the_frames_stand_upright(self) -> None:
        facts = facts_of(encode(TIMES, prepare=turned), frames=True)
        assert (facts.rotation_degrees, facts.width, facts.height) == (90, 64, 48)
        assert {(frame.width, frame.height) for frame in facts.frames} == {(48, 64)}

    def test_pixels_that_are_not_square_are_told(self) -> None:
        assert facts_of(encode(TIMES, prepare=with_long_pixels)).sample_aspect_ratio == "4:3"

    def test_times_are_counted_from_a_start_that_is_not_zero(self) -> None:
        facts = facts_of(encode(range(5000, 7000, 40), container="matroska", muxer={"avoid_negative_ts": "disabled"}))
        assert (facts.start_seconds, facts.duration_seconds_from_content, facts.grid_frames) == (5.0, 2.0, 2)

    def test_a_wrong_duration_in_the_header_stands_beside_the_true_one(self) -> None:
        video = encode(TIMES, container="flv")
        place = video.index(b"duration\x00") + len(b"duration\x00")
        wrong = video[:place] + bytes.fromhex("40c3880000000000") + video[place + 8 :]
        facts = facts_of(wrong)
        assert facts.duration_seconds_from_header == 10000.0
        assert facts.duration_seconds_from_content == pytest.approx(3.4, abs=0.001)

    def test_the_grid_ends_with_max_seconds_and_the_video_does_not(self) -> None:
        facts = facts_of(encode(TIMES), Decoding(max_seconds=1.5, frames_per_second=2), frames=True)
        assert (facts.grid_frames, len(facts.frames)) == (3, 3)
        assert facts.duration_seconds_from_content == pytest.approx(3.4)

    @pytest.mark.parametrize("name", CLIPS)
    def test_the_frames_are_those_that_a_build_takes(self, name: str) -> None:
        video = real_clip(name).read_bytes()
        facts = facts_of(video, frames=True)
        taken = list(decode_frames(io.BytesIO(video), Decoding()))
        for probed, frame in zip(facts.frames, taken, strict=True):
            assert (probed.k, probed.pts_seconds) == (frame.index, frame.pts_seconds)
            assert (probed.height, probed.width) == frame.rgb.shape[:2]
            assert probed.sha256 == hashlib.sha256(frame.rgb.tobytes()).hexdigest()
        assert (facts.grid_frames, facts.decoded_fraction) == (len(taken), 1.0)

    @given(
        st.lists(st.tuples(st.integers(-500, 5000), st.sampled_from([0, 40, 700])), min_size=1, max_size=8),
        st.sampled_from([Fraction(1), Fraction(5, 2)]),
        st.sampled_from([Fraction(2), Fraction(60)]),
    )
    def test_the_extent_covers_the_grid_times_of_the_frames_in_presentation_order(
        self, packets: list[tuple[int, int]], rate: Fraction, max_seconds: Fraction
    ) -> None:
        tick, grid = Fraction(1, 1000), Grid.of(rate, max_seconds)
        extent = Extent(tick)
        for pts, duration in packets:
            extent.add(pts, duration)
        frames = [TimedFrame(pts * tick, duration * tick, None) for pts, duration in sorted(packets)]
        assert extent.grid_frames(grid) == len(list(frames_on_grid(frames, grid)))
        assert (extent.packets, extent.start_seconds) == (len(packets), frames[0].pts_seconds)

    def test_a_packet_without_a_time_follows_the_one_before(self) -> None:
        extent = Extent(Fraction(1, 1000))
        for pts in (None, 40, None):
            extent.add(pts, 40)
        assert extent.start_seconds == 0
        assert extent.duration_seconds == Fraction(120, 1000)


class TestRejections:
    @pytest.mark.parametrize("frames", [False, True])
    @pytest.mark.parametrize(
        ("video", "reason"),
        [
            (b"this is text, whatever its name", DropReason.NOT_A_VIDEO),
            (encode_audio(), DropReason.NO_VIDEO_STREAM),
            (encode(TIMES)[:-600], DropReason.TRUNCATED),
            (with_index_first()[:-600], DropReason.TRUNCATED),
            (encode(TIMES, container="matroska")[:-600], DropReason.TRUNCATED),
            (encode(TIMES, container="flv")[:-300], DropReason.TRUNCATED),
        ],
    )
    def test_a_video_is_rejected_as_by_a_build(self, video: bytes, reason: DropReason, *, frames: bool) -> None:
        assert rejection(video, frames=frames) == rejection_by_a_build(video)
        assert rejection(video, frames=frames)[0] == reason

    @pytest.mark.parametrize("frames", [False, True])
    def test_a_video_is_not_rejected_for_an_end_that_a_build_does_not_need(self, *, frames: bool) -> None:
        video = with_index_first()[:-600]
        facts = facts_of(video, Decoding(max_seconds=2), frames=frames)
        assert facts.grid_frames == 2
        assert facts.duration_seconds_from_content < 3.4 == facts.duration_seconds_from_header

    def test_damage_inside_a_packet_shows_where_the_frames_are_decoded(self) -> None:
        video = real_clip("corrupted.mp4").read_bytes()
        assert facts_of(video).grid_frames == 5
        assert rejection(video, frames=True) == rejection_by_a_build(video)

    def test_what_salvage_saves_is_told(self) -> None:
        video = with_index_first()
        video = video[: (video.index(b"mdat") + len(video)) // 2]
        read, decoded = facts_of(video, SALVAGE), facts_of(video, SALVAGE, frames=True)
        assert (read.decoded_fraction, read.frames) == (None, ())
        sound = [frame for frame in decoded.frames if frame.k - frame.pts_seconds < 0.04]
        assert decoded.decoded_fraction == len(sound) / 4 < 1
        assert decoded.duration_seconds_from_content == read.duration_seconds_from_content < 3.4

    def test_a_first_frame_that_cannot_be_decoded_shows_without_the_others(self) -> None:
        video = spoiled(encode(range(0, 2000, 40), container="matroska", codec="mjpeg"), 0)
        assert rejection(video) == rejection_by_a_build(video)


class TestThroughTheSandbox:
    @pytest.mark.parametrize("frames", [False, True])
    def test_a_confined_process_finds_the_same(self, tmp_path: Path, *, frames: bool) -> None:
        path = tmp_path / "video.mp4"
        path.write_bytes(encode(TIMES))
        with Sandbox(Decoding(), 1) as sandbox:
            assert sandbox.probe(str(path), frames=frames) == facts_of(path.read_bytes(), frames=frames)


@pytest.fixture(scope="module")
def facts() -> VideoFacts:
    return facts_of(encode(range(0, 2000, 40)), frames=True)


class TestJson:
    def test_facts_survive_json(self, facts: VideoFacts) -> None:
        assert VideoFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"width": "64"}, "width"),
            ({"width": 64.0}, "width"),
            ({"width": True}, "width"),
            ({"width": 0}, "a video has pixels"),
            ({"grid_frames": 0}, "a video has pixels"),
            ({"start_seconds": float("nan")}, "JSON compliant"),
            ({"start_seconds": float("inf")}, "JSON compliant"),
            ({"codec": None}, "codec"),
            ({"codec": "\x1b[2J"}, "printable"),
            ({"frames": None}, "frames"),
            ({"frames": [{"k": 0}]}, "pts_seconds"),
            ({"surplus": 1}, "surplus"),
        ],
    )
    def test_what_nobody_vouches_for_is_checked(self, facts: VideoFacts, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            VideoFacts.from_json(facts.to_json() | changes)

    @pytest.mark.parametrize("changes", [{"sha256": "x"}, {"sha256": "A" * 64}, {"width": 0}, {"height": -1}])
    def test_a_probed_frame_has_pixels_and_a_digest(self, facts: VideoFacts, changes: dict[str, Any]) -> None:
        frame = facts.to_json()["frames"][0]
        with pytest.raises(ValueError, match="a probed frame has pixels and a SHA-256"):
            VideoFacts.from_json(facts.to_json() | {"frames": [frame | changes]})

    def test_a_fact_that_is_missing_is_no_fact(self, facts: VideoFacts) -> None:
        values = facts.to_json()
        del values["codec"]
        with pytest.raises(ValueError, match="codec"):
            VideoFacts.from_json(values)

    @pytest.mark.parametrize("values", [None, [], "facts", 7])
    def test_facts_are_an_object(self, values: object) -> None:
        with pytest.raises(ValueError, match="object"):
            VideoFacts.from_json(values)


MEASURED = {
    "backward_pts.mkv": 3.46,
    "dropped_frames.avi": 5.6,
    "edit_list.mp4": 4.0,
    "gap.mkv": 6.1,
    "hevc_starts_at_cra.ts": 2.8,
    "mpeg2.mpg": 3.36,
    "no_duration.mkv": 3.4,
    "rate_23_976.mp4": 3.4200833333333334,
    "variable_rate.mp4": 2.995,
    "wrong_frame_counts.avi": 3.4,
}
"""Golden films, and their durations in seconds as they were measured when the revision was 1."""


def test_who_measures_other_durations_raises_their_revision() -> None:
    """Else a store would keep durations of two kinds."""
    golden = Path(__file__).parent / "golden"
    found = {name: facts_of((golden / name).read_bytes()).duration_seconds_from_content for name in MEASURED}
    assert (MEASURING_REVISION, found) == (2, MEASURED)
