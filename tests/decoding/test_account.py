import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.frames import decode_frames

from .clips import encode

FRAMES = 60
EVERY_FRAME = 25.0
NAL_LENGTH, NAL_HEADER = 4, 1
FLV_VIDEO_TAG, FLV_TAG_HEAD = 9, 11
CLOSED, OPEN = "keyint=12:min-keyint=12:bframes=3", "keyint=12:min-keyint=12:bframes=3:open-gop=1"
VIDEOS: Mapping[str, tuple[str, str, dict[str, str]]] = {
    "H.264 in MP4": ("mp4", "libx264", {"x264-params": CLOSED}),
    "H.264 in Matroska": ("matroska", "libx264", {"x264-params": CLOSED}),
    "H.264 in FLV": ("flv", "libx264", {"x264-params": CLOSED}),
    "H.264 without B-frames": ("mp4", "libx264", {"g": "12", "bf": "0"}),
    "H.264 open GOP": ("mp4", "libx264", {"x264-params": OPEN}),
    "HEVC": ("mp4", "libx265", {"x265-params": f"log-level=none:open-gop=0:{CLOSED}"}),
    "HEVC open GOP": ("mp4", "libx265", {"x265-params": f"log-level=none:{OPEN}"}),
    "VP8": ("webm", "libvpx", {"g": "12", "deadline": "realtime"}),
    "VP9": ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime"}),
    "AV1": ("mp4", "libsvtav1", {"g": "12", "preset": "12", "svtav1-params": "lp=1"}),
}


@dataclass(frozen=True)
class Packet:
    """Where a packet's bytes lie, and which frame, in presentation order, it holds."""

    place: int
    size: int
    number: int
    is_keyframe: bool


@dataclass(frozen=True)
class Outcome:
    frames: list[SampledFrame]
    end: float | VideoRejected

    @property
    def rejection(self) -> VideoRejected:
        assert isinstance(self.end, VideoRejected)
        return self.end


def outcome(
    file: bytes, damage: Literal["strict", "salvage"], *, rate: float = EVERY_FRAME, max_seconds: float = 360.0
) -> Outcome:
    decoding = Decoding(damage=damage, frames_per_second=rate, max_seconds=max_seconds)
    frames: list[SampledFrame] = []
    found = decode_frames(io.BytesIO(file), decoding)
    try:
        while True:
            frames.append(next(found))
    except StopIteration as end:
        return Outcome(frames, end.value.decoded_fraction)
    except VideoRejected as rejection:
        return Outcome(frames, rejection)


@cache
def video(name: str) -> bytes:
    container, codec, options = VIDEOS[name]
    return encode(range(FRAMES), container=container, codec=codec, options=options, time_base=Fraction(1, 25))


@cache
def originals(name: str) -> list[SampledFrame]:
    found = outcome(video(name), "strict")
    assert (found.end, len(found.frames)) == (1.0, FRAMES)
    return found.frames


@cache
def packets(file: bytes) -> list[Packet]:
    """In decoding order."""
    with av.open(io.BytesIO(file), "r") as container:
        demuxed = [packet for packet in container.demux(video=0) if packet.size]
        ranks = {pts: rank for rank, pts in enumerate(sorted(packet.pts or 0 for packet in demuxed))}
        found: list[Packet] = []
        after = 0
        for packet in demuxed:
            place = file.index(bytes(packet), after)
            found.append(Packet(place, packet.size, ranks[packet.pts or 0], packet.is_keyframe))
            after = place + packet.size
        return found


def destroyed(file: bytes, *broken: int, kept: int = NAL_LENGTH) -> bytes:
    """Packets are overwritten, but for their first bytes."""
    data = bytearray(file)
    for packet in (packets(file)[one] for one in broken):
        data[packet.place + kept : packet.place + packet.size] = b"\xff" * (packet.size - kept)
    return bytes(data)


def garbled(file: bytes, broken: int) -> bytes:
    """The second half of a packet is changed: what comes before can still be decoded."""
    data, packet = bytearray(file), packets(file)[broken]
    end = packet.place + packet.size
    data[end - packet.size // 2 : end] = bytes(byte ^ 0x5A for byte in data[end - packet.size // 2 : end])
    return bytes(data)


def suspects(sent: Sequence[Packet], broken: int) -> set[int]:
    """The frames that may depend on damage: up to the next keyframe in decoding order.

    What is decoded after a keyframe and shown before it may depend on what is before; nothing else depends on that.
    """
    found, from_keyframe, from_before = set[int](), False, False
    keyframe = -1
    for place, packet in enumerate(sent):
        if packet.is_keyframe:
            keyframe, from_keyframe, from_before = packet.number, False, from_keyframe
        is_leading = packet.number < keyframe
        from_before |= place == broken and is_leading
        from_keyframe |= place == broken and not is_leading
        found |= {packet.number} if from_keyframe or (from_before and is_leading) else set()
    return found


def shown_instead(number: int, suspected: set[int]) -> int:
    """The last sound frame; at the beginning the first."""
    sound = [one for one in range(FRAMES) if one not in suspected]
    return max((one for one in sound if one <= number), default=sound[0])


def assert_salvaged(found: Outcome, name: str, suspected: set[int], times: int = FRAMES) -> None:
    expected = [originals(name)[shown_instead(number, suspected)] for number in range(times)]
    assert [frame.index for frame in found.frames] == list(range(times))
    assert [frame.pts_seconds for frame in found.frames] == [frame.pts_seconds for frame in expected]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(found.frames, expected, strict=True))


HELD_BACK = {("H.264 in MP4", 12): 11, ("H.264 in Matroska", 12): 11, ("H.264 in FLV", 12): 11}
"""Frames that FFmpeg loses because it still has them when it meets damage."""


@pytest.mark.parametrize("broken", [0, 1, 2, 5, 12, 13, 14, 30, 59])
@pytest.mark.parametrize("name", VIDEOS)
def test_a_destroyed_packet_costs_the_frames_up_to_the_next_keyframe(name: str, broken: int) -> None:
    found = outcome(destroyed(video(name), broken, kept=NAL_LENGTH if name.startswith("H") else 0), "salvage")
    lost = {HELD_BACK[name, broken]} if (name, broken) in HELD_BACK else set[int]()
    suspected = suspects(packets(video(name)), broken) | lost
    assert_salvaged(found, name, suspected)
    assert found.end == (FRAMES - len(suspected)) / FRAMES


@pytest.mark.parametrize("broken", sorted(set(range(24)) - {2, 14}))
@pytest.mark.parametrize("name", ["H.264 in MP4", "H.264 open GOP"])
def test_a_packet_whose_damage_ffmpeg_conceals_costs_the_frames_up_to_the_next_keyframe(name: str, broken: int) -> None:
    found = outcome(garbled(video(name), broken), "salvage")
    suspected = suspects(packets(video(name)), broken)
    assert_salvaged(found, name, suspected)
    assert found.end == (FRAMES - len(suspected)) / FRAMES


def test_damage_in_two_places_costs_the_frames_of_both() -> None:
    name = "H.264 without B-frames"
    found = outcome(destroyed(video(name), 20, 45), "salvage")
    assert_salvaged(found, name, set(range(20, 24)) | set(range(45, 48)))
    assert found.end == (FRAMES - 4 - 3) / FRAMES


def test_of_a_video_that_is_damaged_in_every_packet_nothing_is_salvaged() -> None:
    found = outcome(destroyed(video("H.264 in MP4"), *range(FRAMES)), "salvage")
    assert (found.frames, found.rejection.reason) == ([], DropReason.DAMAGED)
    assert found.rejection.decoded_fraction == 0.0
    assert "the h264 stream cannot be decoded" in found.rejection.detail


@pytest.mark.parametrize("damage", ["strict", "salvage"])
@pytest.mark.parametrize("disposable", [3, 4])
def test_a_damaged_frame_that_is_not_chosen_and_nobody_depends_on_does_not_matter(
    disposable: int, damage: Literal["strict", "salvage"]
) -> None:
    name = "H.264 in MP4"
    broken = destroyed(video(name), disposable, kept=NAL_LENGTH + NAL_HEADER)
    found = outcome(broken, damage, rate=EVERY_FRAME / 10)
    assert found.end == 1.0
    expected = [originals(name)[number] for number in range(0, FRAMES, 10)]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(found.frames, expected, strict=True))
    assert outcome(broken, "strict").rejection.reason is DropReason.DAMAGED


@pytest.mark.parametrize("broken", [1, 20, 24, 59])
def test_strictly_a_video_ends_at_its_damage_with_the_share_of_frames_before_it(broken: int) -> None:
    name = "H.264 without B-frames"
    found = outcome(destroyed(video(name), broken), "strict")
    assert found.rejection.reason is DropReason.DAMAGED
    before = broken - 1  # how long the last one is on screen is not known any more
    assert found.rejection.decoded_fraction == before / FRAMES
    assert [frame.index for frame in found.frames] == list(range(before))
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(found.frames, originals(name)[:before], strict=True))


CONTAINERS: tuple[tuple[str, dict[str, str]], ...] = (("mp4", {"movflags": "faststart"}), ("matroska", {}), ("flv", {}))


def cut(container: str, muxer: dict[str, str], packet: int, path: Path) -> bytes:
    """A video without B-frames that ends inside a packet."""
    options = VIDEOS["H.264 without B-frames"][2]
    base = Fraction(1, 25)
    file = encode(range(FRAMES), container=container, options=options, muxer=muxer, path=path, time_base=base)
    last = packets(file)[packet]
    return file[: last.place + last.size // 2]


@pytest.mark.parametrize("packet", [13, 40, 59])
@pytest.mark.parametrize(("container", "muxer"), CONTAINERS)
def test_of_a_video_that_was_cut_off_the_rest_is_salvaged_and_what_is_lost_is_counted(
    container: str, muxer: dict[str, str], packet: int, tmp_path: Path
) -> None:
    found = outcome(cut(container, muxer, packet, tmp_path / "video"), "salvage")
    assert found.end == packet / FRAMES
    assert_salvaged(found, "H.264 without B-frames", set(range(packet, FRAMES)), len(found.frames))
    assert len(found.frames) in (packet, packet + 1)


@pytest.mark.parametrize("packet", [13, 40, 59])
@pytest.mark.parametrize(("container", "muxer"), CONTAINERS)
def test_strictly_a_video_that_was_cut_off_is_truncated(
    container: str, muxer: dict[str, str], packet: int, tmp_path: Path
) -> None:
    found = outcome(cut(container, muxer, packet, tmp_path / "video"), "strict")
    assert found.rejection.reason is DropReason.TRUNCATED
    assert found.rejection.decoded_fraction == len(found.frames) / FRAMES
    assert len(found.frames) in (packet - 1, packet)


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_the_video_goes_on_after_damage_however_the_file_is_read(container: str) -> None:
    """Some megabytes, so that the demuxer reads on after the file was looked through for its end."""
    options = {"x264-params": "keyint=20:bframes=0:nal-hrd=cbr:bitrate=4000:vbv-maxrate=4000:vbv-bufsize=400"}
    file = encode(range(100), container=container, options=options, time_base=Fraction(1, 25))
    sound, found = outcome(file, "salvage"), outcome(destroyed(file, 30), "salvage")
    assert found.end == 0.9
    shown = [number if number not in range(30, 40) else 29 for number in range(100)]
    assert all(
        np.array_equal(frame.rgb, sound.frames[number].rgb) for frame, number in zip(found.frames, shown, strict=True)
    )


@pytest.mark.parametrize("rate", [1.0, EVERY_FRAME])
@pytest.mark.parametrize("broken", [200, 740, 1400])
def test_a_hole_between_packets_is_damage_although_every_packet_that_comes_is_sound(broken: int, rate: float) -> None:
    """An FLV tag whose head is zeroed vanishes; the demuxer finds its way to a later one (Adobe FLV 10.1 §E.4.1)."""
    file = bytearray(encode(range(0, 60_000, 40), container="flv", options={"g": "20"}))
    with av.open(io.BytesIO(file), "r") as container:
        head = [packet.pos or 0 for packet in container.demux(video=0) if packet.size][broken]
    assert file[head] == FLV_VIDEO_TAG
    file[head : head + FLV_TAG_HEAD] = bytes(FLV_TAG_HEAD)
    found = outcome(bytes(file), "strict", rate=rate)
    assert found.rejection.reason is DropReason.DAMAGED
    assert "the file has a hole" in found.rejection.detail
    assert 0 < len(found.frames) <= broken * rate / EVERY_FRAME + 1


class FailingDisk(io.BytesIO):
    """The second half of a file that cannot be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > len(self.getvalue()) // 2:
            raise OSError(5, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("damage", ["strict", "salvage"])
@pytest.mark.parametrize("sampling", ["exact", "keyframes"])
def test_a_disk_that_fails_is_no_damage_to_a_video(
    damage: Literal["strict", "salvage"], sampling: Literal["exact", "keyframes"]
) -> None:
    options = {"x264-params": "keyint=20:nal-hrd=cbr:bitrate=500:vbv-maxrate=500:vbv-bufsize=500"}
    file = encode(range(0, 8000, 40), container="matroska", options=options)
    frames = decode_frames(FailingDisk(file), Decoding(damage=damage, sampling=sampling))
    with pytest.raises(VideoRejected, match="Input/output error") as caught:
        list(frames)
    assert caught.value.reason is DropReason.IO_ERROR
