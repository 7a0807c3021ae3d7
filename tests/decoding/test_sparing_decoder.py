import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from typing import Literal, NoReturn

import av
import pytest
from av.video.frame import PictureType

from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding import frames as decoding_module
from yt8m_pipeline.decoding.account import Account
from yt8m_pipeline.decoding.codings.picture import Unplannable
from yt8m_pipeline.decoding.container import open_video
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.plain_decoder import decode_plainly
from yt8m_pipeline.decoding.probing import probe
from yt8m_pipeline.decoding.sparing_decoder import decode_sparingly, steps

from .clips import encode, encode_new_parameters, joined_flv, with_last_duration, with_pts, with_times

FRAMES = 110
RATES = (0.7, 1.0, 3.0, 25.0)
X264, X265, SVT = "x264-params", "x265-params", "svtav1-params"
CLOSED = {"g": "20", "bf": "3"}
VIDEOS: Mapping[str, tuple[str, str, dict[str, str]]] = {
    "H.264 in MP4": ("mp4", "libx264", CLOSED),
    "H.264 in FLV": ("flv", "libx264", CLOSED),
    "H.264 in Matroska": ("matroska", "libx264", CLOSED),
    "H.264 in MPEG-TS": ("mpegts", "libx264", {X264: "keyint=30:bframes=7:b-pyramid=normal"}),
    "H.264, one long group": ("mp4", "libx264", {"g": "250", "bf": "3"}),
    "H.264 open GOP": ("mp4", "libx264", {X264: "keyint=12:bframes=3:open-gop=1"}),
    "H.264 intra refresh": ("mp4", "libx264", {X264: "keyint=12:intra-refresh=1"}),
    "H.264 MBAFF": ("mp4", "libx264", {X264: "keyint=20:bframes=2:tff=1"}),
    "H.264 intra": ("mp4", "libx264", {"g": "1"}),
    "HEVC closed GOP": ("mp4", "libx265", {X265: "log-level=none:keyint=20:open-gop=0"}),
    "HEVC open GOP": ("mp4", "libx265", {X265: "log-level=none:keyint=12:min-keyint=12:open-gop=1"}),
    "HEVC in MPEG-TS": ("mpegts", "libx265", {X265: "log-level=none:keyint=12:min-keyint=12:open-gop=1"}),
    "AV1": ("mp4", "libsvtav1", {"g": "16", "preset": "12", SVT: "lp=1"}),
    "AV1 low delay": ("matroska", "libsvtav1", {"g": "16", "preset": "12", SVT: "lp=1:pred-struct=1"}),
    "VP8": ("webm", "libvpx", {"g": "10", "deadline": "realtime"}),
    "VP9": ("webm", "libvpx-vp9", {"g": "10", "deadline": "realtime"}),
    "MPEG-2": ("mpegts", "mpeg2video", {"g": "10", "bf": "2"}),
    "MPEG-4": ("matroska", "mpeg4", {"g": "10", "bf": "2"}),
    "Sorenson H.263": ("flv", "flv", {"g": "10"}),
    "Motion JPEG": ("mov", "mjpeg", {}),
    "ProRes": ("mov", "prores", {}),
}


@dataclass(frozen=True)
class Shot:
    """A frame of the grid with all that is known of it."""

    index: int
    pts_seconds: Fraction
    planes: bytes


@cache
def video(name: str) -> bytes:
    container, codec, options = VIDEOS[name]
    return encode(range(FRAMES), container=container, codec=codec, options=options, time_base=Fraction(1, 25))


def plainly(file: bytes, decoding: Decoding) -> list[Shot]:
    with open_video(io.BytesIO(file), decoding) as opened:
        account = Account(opened, is_strict=True)
        chosen = account.settle(decode_plainly(opened, account))
        return [Shot(one.index, one.pts_seconds, one.frame.to_ndarray().tobytes()) for one in chosen]


def sparingly(file: bytes, decoding: Decoding) -> list[Shot]:
    with open_video(io.BytesIO(file), decoding) as opened:
        chosen = decode_sparingly(opened)
        return [Shot(one.index, one.pts_seconds, one.frame.to_ndarray().tobytes()) for one in chosen]


def sent(file: bytes, decoding: Decoding) -> int:
    with open_video(io.BytesIO(file), decoding) as opened:
        return sum(1 for _ in steps(opened))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", VIDEOS)
def test_the_frames_are_those_of_a_plain_decode_to_the_bit(name: str, rate: float) -> None:
    decoding = Decoding(frames_per_second=rate)
    expected = plainly(video(name), decoding)
    assert len(expected) == -(-FRAMES * Fraction(str(rate)) // 25)
    assert sparingly(video(name), decoding) == expected


@pytest.mark.parametrize("name", VIDEOS)
def test_fewer_packets_are_decoded_than_there_are(name: str) -> None:
    assert sent(video(name), Decoding(frames_per_second=0.5)) < FRAMES * 0.7
    assert sent(video(name), Decoding(frames_per_second=25.0)) == FRAMES


def test_a_video_whose_first_frames_an_edit_list_hides_gives_the_frames_of_a_plain_decode() -> None:
    ticks = range(-520, 4000, 40)
    edited = encode(ticks, options=CLOSED)
    with av.open(io.BytesIO(edited), "r") as container:
        assert any(packet.is_discard for packet in container.demux(video=0))
    assert sparingly(edited, Decoding()) == plainly(edited, Decoding())
    assert [shot.index for shot in plainly(edited, Decoding())] == [0, 1, 2, 3]


def swapped(random: Random, times: list[int]) -> list[int]:
    """Some neighbours, or frames that lie two apart, have each other's times."""
    place = 0
    while place < len(times) - 3:
        if random.random() < 0.2:
            other = place + random.choice((1, 2))
            times[place], times[other] = times[other], times[place]
            place = other
        place += 1
    return times


def one_swapped(random: Random, times: list[int]) -> list[int]:
    place = random.randrange(len(times) - 2)
    other = place + random.choice((1, 2))
    times[place], times[other] = times[other], times[place]
    return times


def repeated(random: Random, times: list[int]) -> list[int]:
    place = random.randrange(1, len(times))
    return [*times[:place], times[place - 1], *times[place + 1 :]]


def as_they_are(_: Random, times: list[int]) -> list[int]:
    return times


REMUXABLE = sorted(name for name in VIDEOS if not name.startswith(("AV1", "Sorenson")))  # not without their encoder


@pytest.mark.parametrize("change", [swapped, one_swapped, repeated, as_they_are])
@pytest.mark.parametrize("name", REMUXABLE)
def test_whatever_the_order_of_the_times_both_ways_give_the_same_frames_or_the_sparing_one_refuses(
    name: str, change: Callable[[Random, list[int]], list[int]]
) -> None:
    """The plain way's rule is that a frame that comes late is shown at once."""
    for seed in range(3):
        random = Random(f"{name} {seed}")
        file = with_times(video(name), lambda times, random=random: change(random, times))  # type: ignore[misc]
        for decoding in (Decoding(), Decoding(frames_per_second=5.0)):
            expected = plainly(file, decoding)
            try:
                found = sparingly(file, decoding)
            except Unplannable:
                assert change is not as_they_are
            else:
                assert found == expected


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_the_last_frame_stays_as_long_as_its_packet_says(container: str) -> None:
    file = with_last_duration(
        encode(range(0, 1000, 40), container=container, options={"bf": "0"}), container, seconds=5
    )
    decoding = Decoding()
    assert [shot.index for shot in sparingly(file, decoding)] == [0, 1, 2, 3, 4, 5]
    assert [shot.index for shot in plainly(file, decoding)] == [0, 1, 2, 3, 4, 5]
    keyframes = decode_frames(io.BytesIO(file), Decoding(sampling="keyframes"))
    assert [frame.index for frame in keyframes] == [0, 1, 2, 3, 4, 5]
    assert probe(io.BytesIO(file), decoding, frames=False).grid_frames == 6


class Counting(io.BytesIO):
    """A file that knows how far it was read."""

    furthest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.furthest = max(self.furthest, self.tell())
        return data


@pytest.mark.parametrize(("container", "muxer"), [("matroska", {}), ("mp4", {"movflags": "faststart"})])
def test_no_more_of_a_video_is_read_than_the_grid_needs(container: str, muxer: dict[str, str], tmp_path: Path) -> None:
    rate = {X264: "keyint=20:nal-hrd=cbr:bitrate=500:vbv-maxrate=500:vbv-bufsize=500"}
    file = encode(range(0, 20_000, 40), container=container, options=rate, muxer=muxer, path=tmp_path / "video")
    stream = Counting(file)
    with open_video(stream, Decoding(max_seconds=2.0)) as opened:
        assert len(list(decode_sparingly(opened))) == 2
    assert stream.furthest < len(file) // 4


def packet_places(file: bytes) -> list[tuple[int, int]]:
    """Where the bytes of every packet lie, in decoding order."""
    with av.open(io.BytesIO(file), "r") as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    places, after = [], 0
    for packet in packets:
        place = file.index(packet, after)
        places.append((place, len(packet)))
        after = place + len(packet)
    return places


def without_keyframe_table(file: bytes) -> bytes:
    """An MP4 all of whose packets count as keyframes (ISO/IEC 14496-12 §8.6.2)."""
    data = file.replace(b"stss", b"free")
    with av.open(io.BytesIO(data), "r") as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)
    return data


def damaged(file: bytes, packet: int) -> bytes:
    """A packet is overwritten, but for the length of its first NAL unit."""
    data = bytearray(file)
    place, size = packet_places(file)[packet]
    data[place + 4 : place + size] = b"\xff" * (size - 4)
    return bytes(data)


def in_25ths(container: str, codec: str, options: dict[str, str]) -> bytes:
    return encode(range(FRAMES), container=container, codec=codec, options=options, time_base=Fraction(1, 25))


def restarted() -> bytes:
    """Two parts of 4 s, of other parameters."""
    first, second = (
        encode(range(0, 4000, 40), container="flv", options={"qp": qp, "bf": "0", "g": "10"}) for qp in ("10", "45")
    )
    return joined_flv(first, second, milliseconds=4000)


def without_usability(sequence: bytes) -> bytes:
    """A sequence parameter set of H.264's Main profile without its last part (§7.3.2.1.1)."""
    bits, place = "".join(f"{byte:08b}" for byte in sequence), 32
    for field in "eeeee1ee111":
        place += 2 * (bits.index("1", place) - place) + 1 if field == "e" else 1
    bare = (bits[:place] + "01").ljust(len(bits), "0")
    return int(bare, 2).to_bytes(len(sequence), "big")


def late_b_pictures() -> bytes:
    """H.264 that has B-pictures after three seconds only, and neither bounds how frames are reordered nor has their
    times: a decoder learns of them when it meets one."""
    late = encode(
        range(FRAMES),
        codec="libx264",
        options={"profile": "main", X264: "keyint=250:bframes=2:b-adapt=0:b-pyramid=none"},
        time_base=Fraction(1, 25),
        kind=lambda number: PictureType.P if number < 75 else PictureType.NONE,
    )
    with av.open(io.BytesIO(late), "r") as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
    sequence = extradata[8 : 8 + int.from_bytes(extradata[6:8], "big")]
    return with_pts(late.replace(sequence, without_usability(sequence)), "mp4", lambda _, dts: dts)


UNPLANNABLE: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "no pts": (
        lambda: in_25ths("avi", "libx264", CLOSED),
        "a packet is incomplete, has no time, or has lost the one before",
    ),
    "no known codec": (lambda: in_25ths("asf", "msmpeg4", {}), "of this codec, only decoding everything is known"),
    "no keyframes where the file says so": (lambda: without_keyframe_table(in_25ths("mp4", "mpeg4", {})), "keyframe"),
    "a damaged keyframe": (lambda: damaged(video("H.264 in MP4"), 40), "."),
    "a damaged reference": (lambda: damaged(video("H.264, one long group"), 30), "."),
    "a damaged VP9 frame": (lambda: damaged(video("VP9"), 23), "."),
    "a video that is cut off": (lambda: video("H.264 in Matroska")[:-700], "."),
    "times of packets and not of frames": (
        lambda: with_pts(video("H.264, one long group"), "mp4", lambda _, dts: dts),
        "its frames are reordered, and their times are not",
    ),
    "times of packets, delayed": (
        lambda: with_pts(video("H.264, one long group"), "mp4", lambda _, dts: dts + 2),
        "is not in the decoder's order",
    ),
    "times of MPEG-4 packets, delayed": (
        lambda: with_pts(video("MPEG-4"), "mp4", lambda _, dts: dts + 1),
        "a frame that no other depends on comes last",
    ),
    "B-pictures of which nothing tells": (late_b_pictures, "B-pictures, of which its headers do not tell"),
    "new parameters in one packet": (encode_new_parameters, "its parameters change"),
    "new parameters beside a packet": (restarted, "its parameters change"),
    "interlaced MPEG-4": (
        lambda: in_25ths("mp4", "mpeg4", {"g": "60", "bf": "2", "flags": "+ilme+ildct"}),
        "its pictures are interlaced",
    ),
    "repeated times": (
        lambda: encode([0, 0, 40, 80], container="flv", options={"bf": "0"}),
        "the frame at 0 follows that at 0",
    ),
}


@dataclass(frozen=True)
class Outcome:
    """The frames, and the decoded fraction or the rejection."""

    frames: list[tuple[int, float, bytes]]
    end: object


def outcome(file: bytes, decoding: Decoding) -> Outcome:
    frames = []
    decoding_of_frames = decode_frames(io.BytesIO(file), decoding)
    try:
        while True:
            frame = next(decoding_of_frames)
            frames.append((frame.index, frame.pts_seconds, frame.rgb.tobytes()))
    except StopIteration as end:
        return Outcome(frames, end.value.decoded_fraction)
    except VideoRejected as rejection:
        return Outcome(frames, (rejection.reason, rejection.detail, rejection.decoded_fraction))


def refuse(_: object) -> NoReturn:
    raise Unplannable("not now")


@pytest.mark.parametrize("damage", ["strict", "salvage"])
@pytest.mark.parametrize("case", UNPLANNABLE)
def test_a_video_that_cannot_be_planned_is_decoded_plainly(
    case: str, damage: Literal["strict", "salvage"], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, why = UNPLANNABLE[case]
    file, decoding = make(), Decoding(damage=damage, frames_per_second=2.0)
    with pytest.raises(Unplannable, match=why):
        sparingly(file, decoding)
    found = outcome(file, decoding)
    assert found.frames
    monkeypatch.setattr(decoding_module, "decode_sparingly", refuse)
    assert found == outcome(file, decoding)
