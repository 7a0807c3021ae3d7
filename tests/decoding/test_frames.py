import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import MediaFile, UInt8Array
from yt8m_pipeline.decoding.container import VideoPacket, in_one_timeline
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.decoding.frames import decode_frames, library_version

from .clips import MILLISECOND, encode, encode_audio, number_of, picture_of, real_clip, with_packets

SIZE = 48
X265 = {"x265-params": "log-level=none"}
TEN_FPS = range(0, 3500, 100)


def sampled(video: bytes, *, rate: Fraction = Fraction(1), max_seconds: float = 360.0) -> list[SampledFrame]:
    return list(
        decode_frames(io.BytesIO(video), Decoding(frames_per_second=float(rate), max_seconds=max_seconds), SIZE)
    )


def numbers(video: bytes, *, rate: Fraction = Fraction(1), max_seconds: float = 360.0) -> list[int]:
    return [number_of(frame.rgb) for frame in sampled(video, rate=rate, max_seconds=max_seconds)]


def media_of(video: bytes, decoding: Decoding) -> MediaFile:
    """What decoding says of a file when all its frames have come."""
    frames = decode_frames(io.BytesIO(video), decoding, SIZE)
    while True:
        try:
            next(frames)
        except StopIteration as end:
            assert isinstance(end.value, Decoded)
            return end.value.media


class TestMediaFile:
    """Ten frames a second, of which one is on the grid."""

    VIDEO = encode(range(0, 3000, 100), codec="mjpeg", container="matroska")
    CHAIN = encode(range(0, 3000, 100), options={"bf": "0", "g": "100", "refs": "1"})

    def test_what_a_file_is(self) -> None:
        media = media_of(self.VIDEO, Decoding())
        assert (media.container, media.codec, media.file_bytes) == ("matroska,webm", "mjpeg", len(self.VIDEO))
        assert (media.width, media.height) == (64, 48)
        with av.open(io.BytesIO(self.VIDEO)) as container:
            assert media.frame_rate == container.streams.video[0].average_rate

    def test_packets_that_no_sampled_frame_depends_on_are_read_and_not_decoded(self) -> None:
        media = media_of(self.VIDEO, Decoding())
        assert (media.packets, media.decoded_packets) == (30, 3)
        chain = media_of(self.CHAIN, Decoding())
        assert 21 <= chain.decoded_packets <= chain.packets == 30

    def test_a_video_is_read_up_to_the_last_sampled_frame(self) -> None:
        long = encode(range(0, 10_000, 100), codec="mjpeg", container="matroska")
        media = media_of(long, Decoding(max_seconds=2))
        assert 11 <= media.packets < 50  # pictures may be reordered, so some more are read
        assert media.decoded_packets == 2

    def test_what_was_decoded_in_vain_counts(self) -> None:
        video = bytearray(encode(range(0, 6000, 100), options={"bf": "0", "g": "100", "refs": "1"}))
        place, size = packets_of(bytes(video))[45]
        video[place : place + size] = b"\xff" * size
        media = media_of(bytes(video), Decoding(damage="salvage"))
        assert media.packets == 60
        assert 60 + 10 <= media.decoded_packets <= 60 + 46

    def test_keyframes_alone_are_decoded(self) -> None:
        media = media_of(self.CHAIN, Decoding(sampling="keyframes"))
        assert (media.packets, media.decoded_packets) == (30, 1)


def rejection(video: bytes) -> VideoRejected:
    with pytest.raises(VideoRejected) as caught:
        sampled(video)
    return caught.value


def plain_decode(path: Path) -> tuple[list[Fraction], Fraction, list[UInt8Array]]:
    """Every frame's pts, the end of the last one, and every frame as a square: no grid, no early end."""
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1  # FFmpeg's threaded VP8 errs now and then
        base = container.streams.video[0].time_base
        assert base is not None
        flags = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
        pts: list[Fraction] = []
        squares: list[UInt8Array] = []
        end = Fraction(0)
        for frame in container.decode(video=0):
            assert frame.pts is not None
            rgb = frame.reformat(SIZE, SIZE, "rgb24", interpolation=flags).to_ndarray()
            squares.append(np.rot90(rgb, {0: 0, 90: 1, -90: 3, -180: 2}[frame.rotation]).astype(np.uint8))
            pts.append(frame.pts * base)
            end = (frame.pts + frame.duration) * base
        return pts, end, squares


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("mp4", "libx264", {"bf": "3", "g": "250"}),
        ("mp4", "libx264", {"bf": "0", "g": "20"}),
        ("mp4", "libx264", {"g": "1"}),
        ("mp4", "libx264", {"x264-params": "open-gop=1:keyint=10:bframes=3"}),
        ("mp4", "libx265", X265),
        ("mov", "mjpeg", {}),
        ("mov", "prores", {}),
        ("matroska", "libx264", {"bf": "3"}),
        ("matroska", "ffv1", {}),
        ("webm", "libvpx", {}),
        ("webm", "libvpx-vp9", {}),
        ("flv", "libx264", {"bf": "3"}),
        ("mpegts", "libx264", {"bf": "3"}),
    ],
)
def test_every_container_and_codec_gives_the_frames_on_the_grid(
    container: str, codec: str, options: dict[str, str]
) -> None:
    frames = sampled(encode(TEN_FPS, container=container, codec=codec, options=options))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [number_of(frame.rgb) for frame in frames] == [0, 10, 20, 30]
    assert [frame.pts_seconds for frame in frames] == pytest.approx([0, 1, 2, 3])


@pytest.mark.parametrize(("container", "codec"), [("avi", "mpeg4"), ("mpeg", "mpeg2video"), ("asf", "msmpeg4")])
def test_containers_of_constant_frame_rate_give_the_frames_on_the_grid(container: str, codec: str) -> None:
    video = encode(range(60), container=container, codec=codec, time_base=Fraction(1, 25))
    assert numbers(video) == [0, 25, 50]


@pytest.mark.parametrize("start", [-1700, 0, 86_400_000])
def test_variable_frame_rate_gaps_and_any_start_are_exact(start: int) -> None:
    ticks = [0, 1, 400, 999, 1001, 2000, 2001, 5500, 5999]
    video = encode([start + tick for tick in ticks], container="matroska", options={"bf": "0"})
    frames = sampled(video)
    assert [number_of(frame.rgb) for frame in frames] == [0, 3, 5, 6, 6, 6, 8]
    assert [frame.pts_seconds for frame in frames] == pytest.approx([0, 0.999, 2, 2.001, 2.001, 2.001, 5.999])


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("mpegts", "libx264", 1.0), ("mpegts", "mpeg2video", 1.0), ("mpeg", "mpeg2video", 25.0)],
)
def test_files_that_were_joined_are_one_video(container: str, codec: str, rate: float) -> None:
    """In MPEG-TS the packet before the joint counts as incomplete, as its successor's counter is not the next."""
    part = encode(range(50), container=container, codec=codec, time_base=Fraction(1, 25))
    frames = list(decode_frames(io.BytesIO(part + part), Decoding(damage="salvage", frames_per_second=rate), SIZE))
    step = round(25 / rate)
    assert [number_of(frame.rgb) for frame in frames] == 2 * list(range(0, 50, step))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([one / rate for one in range(len(frames))])


def in_one_timeline_of(times: Sequence[int | None], duration: int) -> list[int | None]:
    packets = []
    for time in times:
        packet = cast(VideoPacket, av.Packet(b"x"))
        packet.dts, packet.duration, packet.is_keyframe = time, duration, True
        packets.append(packet)
    return [packet.dts for packet in in_one_timeline(iter(packets), MILLISECOND)]


@pytest.mark.parametrize("duration", [0, 40, 1000])
def test_only_times_that_step_back_begin_anew(duration: int) -> None:
    """Whatever a guessed duration says: it tells how long the last frame before the joint stays."""
    later = 800 + duration
    assert in_one_timeline_of([0, 400, 800, 0, None, 400], duration) == [0, 400, 800, later, None, later + 400]
    unchanged: tuple[tuple[int | None, ...], ...] = ((0, 40, 80, 9000), (400, None, 310, 440))
    for times in unchanged:
        assert in_one_timeline_of(times, duration) == list(times)


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60000/1001", "120", "1", "1/2"])
def test_at_every_frame_rate_frame_k_is_the_floor_of_k_times_the_rate(rate: str) -> None:
    frame_rate = Fraction(rate)
    video = encode(range(int(4 * frame_rate) + 1), time_base=1 / frame_rate, options={"preset": "ultrafast"})
    seen = numbers(video)
    assert seen == [int(k * frame_rate) for k in range(len(seen))]
    assert len(seen) >= 4


def test_the_sampling_rate_and_the_limit_choose_the_grid() -> None:
    video = encode(TEN_FPS)
    assert numbers(video, rate=Fraction(2), max_seconds=2.0) == [0, 5, 10, 15]
    assert numbers(video, rate=Fraction(1, 2)) == [0, 20]
    assert numbers(video, max_seconds=2.1) == [0, 10, 20]


def test_a_tail_that_is_not_needed_may_be_damaged() -> None:
    video = bytearray(encode(range(0, 20_000, 100), container="matroska", options={"g": "10"}))
    video[len(video) // 2 :] = b"\xaa" * (len(video) - len(video) // 2)
    assert numbers(bytes(video), max_seconds=3.0) == [0, 10, 20]
    assert rejection(bytes(video)).reason in {DropReason.DAMAGED, DropReason.TRUNCATED}


def patched(video: bytes, pattern: bytes, change: Callable[[bytearray, int], None]) -> bytes:
    """The video with a change made at every place where a pattern stands."""
    data, place = bytearray(video), video.find(pattern)
    assert place >= 0
    while place >= 0:
        change(data, place)
        place = video.find(pattern, place + 1)
    return bytes(data)


def overwrite(offset: int, value: bytes) -> Callable[[bytearray, int], None]:
    def change(data: bytearray, place: int) -> None:
        data[place + offset : place + offset + len(value)] = value

    return change


def packets_of(video: bytes) -> list[tuple[int, int]]:
    """Where every packet lies in the file, and its size."""
    with av.open(io.BytesIO(video), "r") as container:
        return [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]


WRONG_DURATIONS = {
    "mp4": (b"mvhd", overwrite(20, bytes([0, 9, 9, 9]))),
    "mov": (b"mdhd", overwrite(20, bytes([0, 0, 0, 1]))),
    "flv": (b"duration\x00", overwrite(9, np.array(9999.0, ">f8").tobytes())),
    "matroska": (b"\x44\x89\x88", overwrite(3, np.array(10.0, ">f8").tobytes())),
}


@pytest.mark.parametrize("container", WRONG_DURATIONS)
def test_a_wrong_duration_in_the_header_changes_nothing(container: str) -> None:
    video = encode(TEN_FPS, container=container)
    pattern, change = WRONG_DURATIONS[container]
    lying = patched(video, pattern, change)
    assert lying != video
    assert numbers(lying) == [0, 10, 20, 30]


def test_a_picture_may_be_mirrored_from_its_middle_on() -> None:
    """By messages of the display's orientation (H.264 §D.1.27)."""
    video = encode(range(100), container="mpegts", options={"g": "10"}, time_base=Fraction(1, 25))
    mirrored = b"\0\0\0\1\6\x2f\3\x40\0\x09\x80"

    def with_message(number: int, data: bytes) -> bytes:
        delimiter, rest = data[:6], data[6:]
        return delimiter + mirrored + rest if number >= 50 else data

    upright, turned = sampled(video), sampled(with_packets(video, "mpegts", with_message))
    assert [frame.index for frame in turned] == [0, 1, 2, 3]
    for before, after in zip(upright, turned, strict=True):
        expected = before.rgb if before.index < 2 else np.fliplr(before.rgb)
        np.testing.assert_array_equal(after.rgb, expected)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_display_rotation_is_applied(turns: int) -> None:
    def turn(stream: VideoStream) -> None:
        stream.set_display_rotation(90 * turns)

    frame = sampled(encode([0, 500], prepare=turn))[0]
    upright = sampled(encode([0, 500]))[0]
    assert np.array_equal(frame.rgb, np.rot90(upright.rgb, turns))
    assert sampled(encode(TEN_FPS, prepare=turn))[3].rgb.flags.c_contiguous


def solid(matrix: int, colour_range: int) -> bytes:
    """A lossless video of Y′CbCr (100, 90, 170), tagged with a matrix and a range."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "0"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, colour_range
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.colorspace, frame.color_range = matrix, colour_range
        for plane, value in zip(frame.planes, (100, 90, 170), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("colour_range", [1, 2])
@pytest.mark.parametrize(
    ("matrix", "red", "blue"),
    [(1, 0.2126, 0.0722), (2, 0.299, 0.114), (5, 0.299, 0.114), (6, 0.299, 0.114), (9, 0.2627, 0.0593)],
)
def test_the_colour_matrix_and_range_of_the_video_are_used(
    matrix: int, red: float, blue: float, colour_range: int
) -> None:
    scale = (np.array([219, 224, 224]), np.array([255, 255, 255]))[colour_range - 1]
    y, cb, cr = (np.array([100, 90, 170]) - ([16, 128, 128], [0, 128, 128])[colour_range - 1]) / scale
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    expected = 255 * np.array([r, (y - red * r - blue * b) / (1 - red - blue), b])
    seen = sampled(solid(matrix, colour_range))[0].rgb
    assert np.abs(seen - expected).max() <= 1.5


def test_a_colour_matrix_that_cannot_be_converted_is_refused() -> None:
    refused = rejection(solid(8, 1))
    assert refused.reason is DropReason.UNSUPPORTED_CODEC
    assert "yuv420p with colour matrix 8 cannot be converted to RGB" in refused.detail


def test_the_picture_is_squashed_to_a_square() -> None:
    video = encode(range(0, 3000, 1000), container="matroska", codec="ffv1")
    rgb = sampled(video)[2].rgb
    assert rgb.shape == (SIZE, SIZE, 3)
    block_centres = np.ix_([8, 24, 40], [6, 18, 30, 42])
    assert np.abs(rgb[block_centres].astype(int) - picture_of(2)[8::16, 8::16]).max() <= 1


def test_a_cover_picture_beside_the_video_is_not_the_video() -> None:
    buffer = io.BytesIO()
    with av.open(io.BytesIO(encode(TEN_FPS)), "r") as video, av.open(buffer, "w", format="mp4") as output:
        cover = output.add_stream("mjpeg", rate=1)
        assert isinstance(cover, VideoStream)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = output.add_stream_from_template(video.streams.video[0])
        output.mux(cover.encode(av.VideoFrame(640, 480, "yuvj420p")))
        for packet in video.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    assert numbers(buffer.getvalue()) == [0, 10, 20, 30]


@pytest.mark.parametrize("packet", [10, 50, 85])
@pytest.mark.parametrize(
    ("container", "muxer"),
    [
        ("mp4", {"movflags": "faststart"}),
        ("mp4", {"movflags": "frag_every_frame+empty_moov"}),
        ("mp4", {}),
        ("matroska", {}),
        ("flv", {}),
    ],
)
def test_a_video_cut_inside_a_packet_is_truncated(
    container: str, muxer: dict[str, str], packet: int, tmp_path: Path
) -> None:
    video = encode(range(0, 9000, 100), container=container, muxer=muxer, path=tmp_path / "video")
    assert len(numbers(video)) == 9
    into_packet = 20 if container == "flv" else 8
    refused = rejection(video[: packets_of(video)[packet][0] + into_packet])
    assert refused.reason is DropReason.TRUNCATED
    assert any(words in refused.detail for words in ("is incomplete", "the file ends before", "moov atom not found"))


@pytest.mark.parametrize(
    ("muxer", "box"), [({}, b"moov"), ({"movflags": "frag_keyframe+empty_moov", "g": "10"}, b"moof")]
)
def test_an_mp4_cut_inside_its_index_is_truncated(muxer: dict[str, str], box: bytes) -> None:
    video = encode(TEN_FPS, muxer=muxer, options={"g": "10"})
    for kept in (16, 60, 120):
        assert rejection(video[: video.rfind(box) + kept]).reason is DropReason.TRUNCATED


def test_an_mp4_cut_exactly_between_two_packets_is_truncated(tmp_path: Path) -> None:
    video = encode(TEN_FPS, muxer={"movflags": "faststart"}, path=tmp_path / "video", options={"bf": "0"})
    refused = rejection(video[: packets_of(video)[20][0]])
    assert refused.reason is DropReason.TRUNCATED
    assert "the file ends before the packets that its index or size promises" in refused.detail


def test_damage_inside_the_video_is_damage_and_comes_after_the_good_frames() -> None:
    video = bytearray(encode(TEN_FPS, options={"bf": "0", "g": "10"}))
    place, size = packets_of(bytes(video))[25]
    video[place : place + size] = b"\xff" * size
    frames = decode_frames(io.BytesIO(video), Decoding(max_seconds=9.0), SIZE)
    assert [number_of(next(frames).rgb) for _ in range(3)] == [0, 10, 20]
    with pytest.raises(VideoRejected, match="the h264 stream cannot be decoded: Invalid data found") as caught:
        next(frames)
    assert caught.value.reason is DropReason.DAMAGED


@pytest.mark.parametrize(
    "text",
    [
        b"This is text, renamed.\n" * 100,
        b"x",
        bytes(5000),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_what_is_no_video_is_not_a_video(text: bytes) -> None:
    refused = rejection(text)
    assert refused.reason is DropReason.NOT_A_VIDEO
    assert "the container cannot be opened" in refused.detail


def test_sound_alone_has_no_video_stream() -> None:
    refused = rejection(encode_audio())
    assert refused.reason is DropReason.NO_VIDEO_STREAM
    assert refused.detail == "the mov,mp4,m4a,3gp,3g2,mj2 file holds audio"


def test_a_codec_without_decoder_is_unsupported() -> None:
    video = encode(TEN_FPS, container="webm", codec="libvpx")
    refused = rejection(patched(video, b"V_VP8", overwrite(0, b"V_XX8")))
    assert refused.reason is DropReason.UNSUPPORTED_CODEC
    assert "no decoder for stream 0" in refused.detail


def test_a_video_without_frames_has_no_frames() -> None:
    video = encode([0], container="matroska")
    refused = rejection(
        video[: video.find(b"\x1f\x43\xb6\x75")].replace(b"\x18\x53\x80\x67\x01", b"\x18\x53\x80\x67\x01")
    )
    assert refused.reason in {DropReason.NO_FRAMES, DropReason.TRUNCATED}


def test_a_file_that_cannot_be_read_is_an_io_error() -> None:
    class Failing(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(VideoRejected, match="Input/output error") as caught:
        list(decode_frames(Failing(b"x" * 100), Decoding(max_seconds=1.0), SIZE))
    assert caught.value.reason is DropReason.IO_ERROR


def test_the_library_version_names_the_major_versions() -> None:
    assert library_version().startswith(f"PyAV {av.__version__.split('.')[0]}, libavcodec ")


@pytest.mark.parametrize(
    "name",
    [
        *("h264_aac.flv", "pancake.mkv", "vp8_vorbis.mkv", "unordered.mov", "coffee.mp4"),
        *("rotated_0.mov", "rotated_90.mov", "rotated_180.mov", "rotated_270.mov"),
    ],
)
def test_real_clips_give_the_pixels_of_a_plain_decode_of_everything(name: str) -> None:
    pts, end, squares = plain_decode(real_clip(name))
    shown_at = list(accumulate(pts, max))
    expected = [max(i for i, shown in enumerate(shown_at) if shown <= pts[0] + k) for k in range(int(end - pts[0]) + 1)]
    expected = [i for k, i in enumerate(expected) if k < end - pts[0]]
    frames = sampled(real_clip(name).read_bytes())
    assert [frame.index for frame in frames] == list(range(len(expected)))
    assert [frame.pts_seconds for frame in frames] == [float(pts[i] - pts[0]) for i in expected]
    assert all(np.array_equal(frame.rgb, squares[i]) for frame, i in zip(frames, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "frames"),
    [("dog.mp4", 10), ("street_30s.mp4", 30)],
)
def test_a_real_clip_has_a_frame_for_every_second_that_begins(name: str, frames: int) -> None:
    assert len(sampled(real_clip(name).read_bytes())) == frames


def test_a_really_corrupted_clip_is_damaged() -> None:
    refused = rejection(real_clip("corrupted.mp4").read_bytes())
    assert refused.reason is DropReason.DAMAGED
    assert "the h264 stream is damaged: concealing" in refused.detail
