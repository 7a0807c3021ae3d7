"""Files whose headers, ends or contents are not what they seem: each is judged by what its chosen frames depend on."""

import io
import json
from fractions import Fraction
from pathlib import Path
from struct import pack

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import SampledFrame, VideoFacts
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.probing import probe
from yt8m_pipeline.decoding.sandbox import parent
from yt8m_pipeline.decoding.sandbox.parent import Sandbox

from .clips import encode, encode_streams, number_of, with_packets

TICK = Fraction(1, 25)
SIZE = 48
TS_PACKET = 188
ASF_PACKET = 3200
STRICT, SALVAGE = Decoding(), Decoding(damage="salvage")
SALVAGE_ALL = Decoding(damage="salvage", frames_per_second=25.0)


def sampled(video: bytes, decoding: Decoding = STRICT) -> list[SampledFrame]:
    return list(decode_frames(io.BytesIO(video), decoding, SIZE))


def numbers(video: bytes, decoding: Decoding = STRICT) -> list[int]:
    return [number_of(frame.rgb) for frame in sampled(video, decoding)]


def rejection(video: bytes, decoding: Decoding = STRICT) -> VideoRejected:
    with pytest.raises(VideoRejected) as caught:
        sampled(video, decoding)
    return caught.value


def facts_of(video: bytes, decoding: Decoding = STRICT) -> VideoFacts:
    return probe(io.BytesIO(video), decoding, frames=True)


def in_mp4(**options: str) -> bytes:
    return encode(range(75), options={"g": "25", **options}, time_base=TICK)


def test_a_reject_says_nothing_of_the_video_before_it() -> None:
    """The same process decodes many videos, and FFmpeg's messages are those of a process."""
    alone = rejection(b"no video")
    av.logging.set_level(av.logging.INFO)
    av.logging.log(av.logging.ERROR, "h264", "this is said of another video")
    assert rejection(b"no video").detail == alone.detail


class TestHeaders:
    @pytest.mark.parametrize("matrix", [bytes(36), pack(">9i", 65536, 65536, 0, 65536, 65536, 0, 0, 0, 1 << 30)])
    def test_a_display_matrix_that_maps_a_picture_to_no_area_is_ignored(self, matrix: bytes) -> None:
        video = in_mp4()
        place = video.index(b"tkhd") + 44
        broken = video[:place] + matrix + video[place + 36 :]
        for whole, found in zip(sampled(video), sampled(broken), strict=True):
            assert np.array_equal(whole.rgb, found.rgb)
        facts = facts_of(broken)
        assert (facts.is_mirrored, facts.rotation_degrees) == (False, 0)
        assert facts.ignored == ("a display matrix that maps the picture to no area",)
        assert facts_of(video).ignored == ()

    @pytest.mark.parametrize("scale", [0, 2**32 - 1])
    def test_a_time_scale_of_the_file_that_makes_no_sense_is_ignored_and_told(self, scale: int) -> None:
        """No time of a frame is in units of `mvhd` (ISO/IEC 14496-12 §8.2.2)."""
        video = in_mp4()
        place = video.index(b"mvhd") + 16
        broken = video[:place] + pack(">I", scale) + video[place + 4 :]
        assert numbers(broken) == numbers(video) == [0, 25, 50]
        (told,) = facts_of(broken).ignored
        assert told.startswith("Invalid mvhd time scale")

    def test_a_negative_frame_rate_is_ignored_and_told(self) -> None:
        video = encode(range(75), container="flv", options={"g": "25"}, time_base=TICK)
        place = video.index(b"framerate") + len(b"framerate") + 1
        broken = video[:place] + pack(">d", -5.0) + video[place + 8 :]
        assert numbers(broken) == [0, 25, 50]
        facts = facts_of(broken)
        assert (facts.frame_rate, facts.ignored) == (None, ("a negative frame rate",))

    def test_pixels_of_no_sensible_shape_are_ignored_and_told(self) -> None:
        def wide(stream: VideoStream) -> None:
            stream.codec_context.sample_aspect_ratio = Fraction(40)

        video = encode(range(75), time_base=TICK, prepare=wide)
        assert facts_of(video).ignored == ("pixels of 40:1",)
        assert {frame.aspect for frame in sampled(video)} == {4 / 3}

    @pytest.mark.parametrize("offset", [2**40, 2**50, 2**62, 2**63 - 1])
    def test_an_offset_beyond_the_end_is_the_videos_fault_on_every_file_system(
        self, offset: int, tmp_path: Path
    ) -> None:
        """One chunk's place in `co64` (ISO/IEC 14496-12 §8.7.5)."""
        path = tmp_path / "video.mp4"
        video = with_long_offsets(in_mp4(), offset)
        path.write_bytes(video)
        with path.open("rb", buffering=0) as file, pytest.raises(VideoRejected) as caught:
            list(decode_frames(file, STRICT))
        assert not caught.value.reason.is_transient
        assert rejection(video).reason is caught.value.reason


def with_long_offsets(video: bytes, offset: int) -> bytes:
    """An MP4 whose first chunk, by a `co64` in place of `stco`, lies at an offset."""
    place = video.index(b"stco")
    count = int.from_bytes(video[place + 8 : place + 12], "big")
    chunks = [int.from_bytes(video[place + 12 + 4 * one : place + 16 + 4 * one], "big") for one in range(count)]
    co64 = b"co64" + bytes(4) + pack(">I", count) + b"".join(pack(">Q", one) for one in [offset, *chunks[1:]])
    data = video[: place - 4] + pack(">I", 4 + len(co64)) + co64 + video[place + 12 + 4 * count :]
    for box in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = data.index(box) - 4
        grown = int.from_bytes(data[at : at + 4], "big") + 4 * count
        data = data[:at] + pack(">I", grown) + data[at + 4 :]
    return data


class TestSideData:
    def test_side_data_that_nobody_needs_does_not_cost_the_video(self) -> None:
        """Of a JPEG's EXIF data FFmpeg makes side data that PyAV 18.1 has no name for. The orientation counts."""
        video = encode(range(75), container="matroska", codec="mjpeg", time_base=TICK)
        turned = with_packets(video, "matroska", lambda _, data: data[:2] + exif(orientation=6) + data[2:])
        for before, after in zip(sampled(video), sampled(turned), strict=True):
            assert np.array_equal(after.rgb, np.rot90(before.rgb, -1))
        assert facts_of(turned).rotation_degrees == 90

    def test_an_exception_that_is_no_verdict_on_the_video_is_an_internal_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "video.mp4"
        path.write_bytes(in_mp4())
        (tmp_path / "child.py").write_text(
            "import sys\n"
            "from yt8m_pipeline.config import Decoding\n"
            "from yt8m_pipeline.decoding.sandbox import child\n"
            "def decode_frames(*_):\n"
            "    raise ValueError('31 is not a valid Type')\n"
            "child.decode_frames = decode_frames\n"
            "child.main(Decoding.model_validate_json(sys.argv[1]), int(sys.argv[2]) or None)\n"
        )
        monkeypatch.setattr(parent, "CHILD", "child")
        monkeypatch.syspath_prepend(str(tmp_path))
        with Sandbox(STRICT, SIZE) as sandbox, pytest.raises(VideoRejected, match="31 is not a valid Type") as caught:
            list(sandbox.decode(str(path)))
        assert caught.value.reason is DropReason.INTERNAL_ERROR
        assert "please report it" in caught.value.detail
        assert "video.mp4: ValueError: 31 is not a valid Type" in caplog.text


def exif(orientation: int) -> bytes:
    """An APP1 segment with one entry, the orientation (EXIF 2.3 §4.6.4, TIFF 6.0)."""
    tiff = b"MM\0\x2a" + pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    payload = b"Exif\0\0" + tiff
    return b"\xff\xe1" + pack(">H", len(payload) + 2) + payload


TS_VIDEOS = {
    "H.264": ("libx264", {"g": "25", "bf": "2"}),
    "H.264 open GOP": ("libx264", {"x264-params": "keyint=25:min-keyint=25:bframes=3:open-gop=1"}),
    "HEVC": ("libx265", {"x265-params": "log-level=none:keyint=25:min-keyint=25:open-gop=0"}),
    "MPEG-2": ("mpeg2video", {"g": "25", "bf": "2"}),
}


def stream(name: str, frames: int = 150) -> bytes:
    codec, options = TS_VIDEOS[name]
    return encode(range(frames), container="mpegts", codec=codec, options=options, time_base=TICK, noise=40)


class TestCutAndJoined:
    @pytest.mark.parametrize("name", TS_VIDEOS)
    @pytest.mark.parametrize("tenths", [1, 2, 3, 5])
    def test_a_stream_that_was_cut_into_begins_with_its_first_sound_frame(self, name: str, tenths: int) -> None:
        whole = stream(name)
        cut = whole[: 2 * TS_PACKET] + whole[len(whole) // 10 * tenths // TS_PACKET * TS_PACKET :]
        every = Decoding(frames_per_second=25.0)
        found = sampled(cut, every)
        expected = [frame.rgb for frame in sampled(whole, every)][-len(found) :]
        assert len(found) >= 150 - 15 * tenths - 30
        assert all(np.array_equal(frame.rgb, rgb) for frame, rgb in zip(found, expected, strict=True))
        facts = facts_of(cut, every)
        with av.open(io.BytesIO(cut), "r") as container:
            begins_with_keyframe = next(container.demux(video=0)).is_keyframe
        assert facts.packets_before_start or begins_with_keyframe
        assert (facts.grid_frames, facts.decoded_fraction) == (len(found), 1.0)

    @pytest.mark.parametrize("decoding", [STRICT, SALVAGE], ids=["strict", "salvage"])
    @pytest.mark.parametrize("first", TS_VIDEOS)
    def test_a_joint_is_no_damage_where_every_chosen_frame_is_whole(self, first: str, decoding: Decoding) -> None:
        codec, options = TS_VIDEOS[first]
        part, other = (
            encode(range(50), container="mpegts", codec=codec, options=o, time_base=TICK)
            for o in (options, options | {"b": "90k"})
        )
        every = decoding.model_copy(update={"frames_per_second": 25.0})
        for joined in (part + part, part + other):
            assert numbers(joined, every) == 2 * list(range(50))
            assert numbers(joined, decoding) == [0, 25, 0, 25]

    def test_a_stream_whose_first_part_was_cut_off_inside_a_picture_is_damaged_at_the_joint(self) -> None:
        part = stream("H.264", 50)
        joined = part[: -3 * TS_PACKET] + part
        assert rejection(joined, Decoding(frames_per_second=25.0)).reason in {DropReason.DAMAGED, DropReason.TRUNCATED}


def fragments() -> tuple[bytes, list[tuple[int, int]]]:
    """An MP4 of eight fragments of one second, and where each lies."""
    muxer = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    video = encode(range(200), options={"x264-params": "keyint=25:scenecut=0"}, muxer=muxer, time_base=TICK)
    heads = [place - 4 for place in range(len(video)) if video[place : place + 4] == b"moof"]
    ends = [*heads[1:], video.rindex(b"mfra") - 4]
    return video, list(zip(heads, ends, strict=True))


class TestFragments:
    @pytest.mark.parametrize("lost", [1, 3, 6])
    def test_a_lost_fragment_counts_in_the_decoded_fraction(self, lost: int) -> None:
        video, places = fragments()
        begin, end = places[lost]
        shortened = video[:begin] + video[end:]
        assert rejection(shortened).reason is DropReason.DAMAGED
        assert "a fragment is lost: 1.000 s are missing" in rejection(shortened).detail
        facts = facts_of(shortened, SALVAGE)
        assert (facts.decoded_fraction, facts.grid_frames) == (7 / 8, 8)
        shown = [25 * k if k != lost else 25 * k - 1 for k in range(8)]
        assert numbers(shortened, SALVAGE) == shown

    @pytest.mark.parametrize("decoding", [STRICT, SALVAGE], ids=["strict", "salvage"])
    def test_a_doubled_fragment_loses_nothing(self, decoding: Decoding) -> None:
        video, places = fragments()
        begin, end = places[3]
        doubled = video[:end] + video[begin:]
        assert numbers(doubled, decoding) == list(range(0, 200, 25))

    def test_frames_of_any_duration_are_no_lost_fragments(self) -> None:
        muxer = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        times = [0, 40, 80, 400, 420, 1500, 1540, 3000, 3040]
        assert numbers(encode(times, options={"g": "3", "bf": "0"}, muxer=muxer)) == [0, 4, 6, 7]


class TestOpening:
    @pytest.mark.parametrize("place", [3, 12, 20])
    def test_damage_that_the_demuxer_met_while_it_opened_the_file_counts(self, place: int) -> None:
        """FFmpeg reads some twenty packets to learn what a stream is, and keeps them."""
        file = bytearray(encode(range(100), container="flv", options={"g": "12"}, time_base=TICK))
        with av.open(io.BytesIO(file), "r") as container:
            head = [packet.pos or 0 for packet in container.demux(video=0) if packet.size][place]
        file[head : head + 11] = bytes(11)
        refused = rejection(bytes(file), Decoding(frames_per_second=25.0))
        assert (refused.reason, "the file has a hole" in refused.detail) == (DropReason.DAMAGED, True)


def spans(video: bytes) -> list[tuple[int, int]]:
    """Where each packet begins, and how long it is."""
    with av.open(io.BytesIO(video), "r") as container:
        return [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]


class TestSilentLosses:
    """FFmpeg goes on behind bytes that it cannot read, and often says nothing."""

    @pytest.mark.parametrize(("codec", "lost"), [("mpeg4", 30), ("mpeg4", 47), ("libx264", 30)])
    def test_a_packet_of_an_avi_that_only_the_index_has_is_lost(self, codec: str, lost: int) -> None:
        """Without the index, all frames after it would be one too early."""
        video = bytearray(encode(range(100), container="avi", codec=codec, options={"g": "12"}, time_base=TICK))
        place, _ = spans(bytes(video))[lost]
        video[place - 8 : place] = bytes(8)
        refused = rejection(bytes(video))
        assert (refused.reason, "its index has 1 more before" in refused.detail) == (DropReason.DAMAGED, True)
        if codec == "mpeg4":  # FFmpeg gives H.264 in AVI no pts, and which frames a loss has cost is not known
            facts = facts_of(bytes(video), SALVAGE_ALL)
            assert facts.decoded_fraction is not None and 0.8 < facts.decoded_fraction < 1
            found = numbers(bytes(video), SALVAGE_ALL)
            assert (found[:lost], found[60:]) == (list(range(lost)), list(range(60, 100)))

    @pytest.mark.parametrize("lost", [10, 30])
    def test_an_flv_that_is_not_read_to_its_end_is_damaged(self, lost: int) -> None:
        video = encode(range(100), container="flv", options={"g": "12"}, time_base=TICK, noise=40)
        place, _ = spans(video)[lost]
        broken = video[:place] + b"\xff" + video[place:]
        refused = rejection(broken)
        assert (refused.reason, f"there is no tag at {place}" in refused.detail) == (DropReason.DAMAGED, True)
        facts = facts_of(broken, SALVAGE_ALL)
        assert facts.decoded_fraction is not None and facts.decoded_fraction < (lost + 5) / 100

    def test_a_lost_rest_of_a_picture_in_an_asf_is_damage(self) -> None:
        options = {"g": "12", "qscale": "3"}
        video = encode(range(100), container="asf", codec="wmv2", options=options, time_base=TICK, noise=90, scale=4)
        place = spans(video)[0][0] + 20 * ASF_PACKET
        broken = video[:place] + bytes(64) + video[place + 64 :]
        assert rejection(broken).reason is DropReason.DAMAGED


def muxed_as(container: str, codec: str, muxer: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=muxer) as output:
        stream = output.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = 720, 576
        stream.pix_fmt = {"gif": "rgb8", "dvvideo": "yuv420p"}.get(codec, "yuv420p")
        for number in range(1 if container == "avif" else 10):
            frame = av.VideoFrame(720, 576, stream.pix_fmt)
            frame.pts, frame.time_base = number, TICK
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return buffer.getvalue()


class TestReasons:
    @pytest.mark.parametrize(
        ("container", "codec"),
        [("mxf", "mpeg2video"), ("dv", "dvvideo"), ("m4v", "mpeg4"), ("gif", "gif"), ("nut", "mpeg4")],
    )
    def test_a_container_that_is_not_accepted_is_named_with_the_field(self, container: str, codec: str) -> None:
        refused = rejection(muxed_as(container, codec))
        assert refused.reason is DropReason.CONTAINER_NOT_ACCEPTED
        name = {"m4v": "m4v"}.get(container, container)
        assert f"the container {name} is not among decoding.demuxers: mov, matroska" in refused.detail

    def test_a_still_picture_is_no_video_of_one_frame(self) -> None:
        refused = rejection(muxed_as("avif", "libsvtav1"))
        assert (refused.reason, refused.detail) == (
            DropReason.NOT_A_VIDEO,
            "the file is a still picture of the brand avif",
        )

    def test_more_streams_than_the_limit_are_told(self) -> None:
        assert len(sampled(encode_streams(3), Decoding(max_streams=3))) == 1
        refused = rejection(encode_streams(4), Decoding(max_streams=3))
        assert refused.reason is DropReason.TOO_MANY_STREAMS
        assert refused.detail == "the file has more than decoding.max_streams = 3 streams"

    @pytest.mark.parametrize("decoding", [STRICT, SALVAGE], ids=["strict", "salvage"])
    def test_an_encrypted_video_is_told(self, decoding: Decoding) -> None:
        muxer = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "11" * 16, "encryption_kid": "22" * 16}
        refused = rejection(encode(range(75), options={"g": "25"}, muxer=muxer, time_base=TICK), decoding)
        assert (refused.reason, refused.detail) == (DropReason.ENCRYPTED, "the packet with pts 0 is encrypted")

    @pytest.mark.parametrize(("code", "name"), [(16, "PQ"), (18, "HLG"), (1, None)])
    def test_a_high_dynamic_range_is_told(self, code: int, name: str | None) -> None:
        def transfer(stream: VideoStream) -> None:
            stream.codec_context.color_trc = code

        facts = facts_of(encode(range(75), time_base=TICK, prepare=transfer))
        assert facts.transfer == name
        assert VideoFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
