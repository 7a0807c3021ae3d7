import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from random import Random

import av
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yt8m_pipeline.decoding.codings.av1 import PER_FRAME
from yt8m_pipeline.decoding.codings.bits import Bits
from yt8m_pipeline.decoding.codings.coding import coding_of
from yt8m_pipeline.decoding.codings.nal_units import H264, payload
from yt8m_pipeline.decoding.codings.picture import (
    ALONE,
    DISPOSABLE,
    ENTRY,
    HIDDEN,
    REFERENCE,
    Coding,
    Picture,
    Unplannable,
)

from .clips import encode

FRAMES = 60
ORDINARY = 6
"""Pictures of an ordinary size are this many times as wide and high as the others, and textured."""

CODECS = (
    *("h264", "hevc", "av1", "vp8", "vp9", "mjpeg", "mpeg4", "mpeg1video", "mpeg2video", "h263", "flv1", "theora"),
    *("prores", "dnxhd"),
)


def x264(parameters: str) -> tuple[str, str, dict[str, str]]:
    return "mp4", "libx264", {"x264-params": parameters}


def x265(parameters: str) -> tuple[str, str, dict[str, str]]:
    return "mp4", "libx265", {"x265-params": f"log-level=none:{parameters}"}


def svt(parameters: str) -> tuple[str, str, dict[str, str]]:
    return "mp4", "libsvtav1", {"g": "16", "preset": "8", "svtav1-params": f"lp=1:{parameters}"}


VIDEOS: Mapping[str, tuple[str, str, dict[str, str]]] = {
    "H.264": x264("keyint=20:bframes=3"),
    "H.264 without B-frames": x264("keyint=20:bframes=0"),
    "H.264 pyramid": x264("keyint=30:bframes=7:b-pyramid=normal"),
    "H.264 strict pyramid, one reference": x264("keyint=25:bframes=5:b-pyramid=strict:ref=1"),
    "H.264 weighted, temporal direct": x264("keyint=25:bframes=5:weightp=2:ref=4:direct=temporal"),
    "H.264 open GOP": x264("keyint=12:bframes=3:open-gop=1"),
    "H.264 intra refresh": x264("keyint=12:intra-refresh=1"),
    "H.264 intra": x264("keyint=1"),
    "H.264 slices, CAVLC": x264("keyint=20:slices=3:cabac=0"),
    "H.264 MBAFF": x264("keyint=20:tff=1:bframes=2"),
    "H.264 scaling lists": x264("keyint=20:cqm=jvt"),
    "H.264 Annex B": ("mpegts", *x264("keyint=20:bframes=3:b-pyramid=normal:aud=1")[1:]),
    "H.264 filler": ("mpegts", *x264("keyint=20:nal-hrd=cbr:bitrate=100:vbv-maxrate=100:vbv-bufsize=100")[1:]),
    "H.264 in Matroska": ("matroska", *x264("keyint=20:bframes=3")[1:]),
    "HEVC": x265("keyint=20:open-gop=0"),
    "HEVC open GOP": x265("keyint=12:min-keyint=12:open-gop=1"),
    "HEVC decodable leading pictures": x265("keyint=20:open-gop=0:radl=2"),
    "HEVC temporal layers": x265("keyint=20:temporal-layers=3"),
    "HEVC slices, repeated headers": x265("keyint=20:ctu=16:slices=2:repeat-headers=1:aud=1"),
    "HEVC Annex B": ("mpegts", *x265("keyint=12:min-keyint=12:open-gop=1")[1:]),
    "AV1": svt("tune=0"),
    "AV1 low delay": svt("pred-struct=1"),
    "AV1 overlays": svt("enable-overlays=1"),
    "AV1 intra refresh": svt("irefresh-type=1"),
    "AV1 film grain": svt("film-grain=8"),
    "AV1 screen content": svt("scm=1"),
    "AV1 switch frames": svt("pred-struct=1:sframe-dist=8"),
    "AV1 hidden switch frames": svt("sframe-dist=8"),
    "AV1 ordinary size": svt("tune=0"),
    "AV1 in Matroska": ("matroska", *svt("tune=0")[1:]),
    "VP8": ("webm", "libvpx", {"g": "20", "deadline": "realtime"}),
    "VP9": ("webm", "libvpx-vp9", {"g": "20", "deadline": "realtime"}),
    "MPEG-2": ("mpegts", "mpeg2video", {"g": "10", "bf": "2"}),
    "MPEG-4": ("matroska", "mpeg4", {"g": "10", "bf": "2"}),
    "Sorenson H.263": ("flv", "flv", {"g": "10"}),
    "Motion JPEG": ("mov", "mjpeg", {}),
    "ProRes": ("mov", "prores", {}),
}
WITHOUT_DISPOSABLES = {"H.264 without B-frames", "H.264 intra", "VP8", "VP9", "Sorenson H.263"}
WITHOUT_SECOND_ENTRY = {"H.264 open GOP", "H.264 intra refresh", "AV1 intra refresh", "Motion JPEG", "ProRes"}


@dataclass(frozen=True)
class Packet:
    data: bytes
    pts: int
    is_keyframe: bool


@dataclass(frozen=True)
class Video:
    """A video, its packets in decoding order, and what is read in their headers."""

    file: bytes
    coding: Callable[[], Coding]
    packets: tuple[Packet, ...]
    pictures: tuple[Picture, ...]

    @classmethod
    def of(cls, file: bytes) -> "Video":
        with av.open(io.BytesIO(file), "r") as container:
            context = container.streams.video[0].codec_context
            codec, extradata = context.codec.canonical_name, context.extradata or b""
            demuxed = (packet for packet in container.demux(video=0) if packet.size)
            packets = tuple(Packet(bytes(one), one.pts or 0, one.is_keyframe) for one in demuxed)
        coding = known(codec, extradata)
        return cls(file, lambda: known(codec, extradata), packets, tuple(map(reader(coding), packets)))

    def decoded(self, places: Iterable[int]) -> dict[int, bytes]:
        """The pixels of every frame that comes out when the packets at some places go in, by pts."""
        kept = set(places)
        with av.open(io.BytesIO(self.file), "r") as container:
            context = container.streams.video[0].codec_context
            context.thread_count = 1
            packets = [packet for packet in container.demux(video=0) if packet.size]
            chosen = [packet for place, packet in enumerate(packets) if place in kept]
            frames = [frame for packet in [*chosen, None] for frame in context.decode(packet)]
        return {frame.pts or 0: frame.to_ndarray().tobytes() for frame in frames}

    def entries(self) -> list[int]:
        return [place for place, picture in enumerate(self.pictures) if picture.is_entry]

    def dependencies(self, place: int) -> set[int]:
        """A picture and all that it depends on, through the slots that the pictures name."""
        found, unread = {place}, [place]
        while unread:
            one = unread.pop()
            for slot in self.pictures[one].reads:
                writers = [other for other in range(one) if slot in self.pictures[other].writes]
                unread += set(writers[-1:]) - found
                found |= set(writers[-1:])
        return found

    def is_leading(self, place: int) -> bool:
        before = [entry for entry in self.entries() if entry <= place]
        return bool(before) and self.packets[place].pts < self.packets[before[-1]].pts


def known(codec: str, extradata: bytes = b"") -> Coding:
    coding = coding_of(codec, extradata, is_reordered=True)
    assert coding is not None
    return coding


def reader(coding: Coding) -> Callable[[Packet], Picture]:
    return lambda packet: coding.read(packet.data, is_keyframe=packet.is_keyframe)


@cache
def video(name: str) -> Video:
    container, codec, options = VIDEOS[name]
    scale, noise = (ORDINARY, 60) if name.endswith("ordinary size") else (1, 0)
    tick = Fraction(1, 25)
    return Video.of(
        encode(
            range(FRAMES),
            container=container,
            codec=codec,
            options=options,
            time_base=tick,
            scale=scale,
            noise=noise,
        )
    )


@cache
def plain(name: str) -> dict[int, bytes]:
    frames = video(name).decoded(range(FRAMES))
    assert len(frames) == FRAMES
    return frames


@pytest.mark.parametrize("name", VIDEOS)
def test_without_the_disposable_pictures_all_others_have_the_same_pixels(name: str) -> None:
    pictures = video(name).pictures
    kept = [place for place, picture in enumerate(pictures) if picture.writes or not picture.reads]
    assert (len(kept) == FRAMES) == (name in WITHOUT_DISPOSABLES | {"Motion JPEG", "ProRes"})
    times = {video(name).packets[place].pts for place in kept}
    assert video(name).decoded(kept) == {pts: pixels for pts, pixels in plain(name).items() if pts in times}


@pytest.mark.parametrize("name", VIDEOS)
def test_from_every_entry_on_a_fresh_decoder_gives_the_same_pixels(name: str) -> None:
    entries = video(name).entries()
    assert (len(entries) < 2) == (name in WITHOUT_SECOND_ENTRY)
    for entry in entries[-4:]:
        begin = video(name).packets[entry].pts
        found = video(name).decoded(range(entry, FRAMES))
        later = {pts: pixels for pts, pixels in plain(name).items() if pts >= begin}
        assert {pts: pixels for pts, pixels in found.items() if pts >= begin} == later


@pytest.mark.parametrize("name", VIDEOS)
def test_a_picture_has_the_same_pixels_when_only_what_it_depends_on_is_decoded(name: str) -> None:
    for place in Random(name).sample(range(FRAMES), 4):
        if not video(name).is_leading(place):
            pts = video(name).packets[place].pts
            assert video(name).decoded(video(name).dependencies(place))[pts] == plain(name)[pts]


@pytest.mark.parametrize("name", ["H.264", "HEVC"])
def test_a_reference_picture_that_is_left_out_changes_others(name: str) -> None:
    pictures = video(name).pictures
    reference = next(place for place, one in enumerate(pictures) if one.reads and one.writes)
    kept = [place for place in range(FRAMES) if place != reference]
    others = {pts: pixels for pts, pixels in plain(name).items() if pts != video(name).packets[reference].pts}
    assert video(name).decoded(kept) != others


def test_of_an_unknown_codec_nothing_is_known() -> None:
    unknown = ("msmpeg4v3", "cinepak", "vvc", "")
    assert [coding_of(codec, b"", is_reordered=False) for codec in unknown] == [None] * 4


@pytest.mark.parametrize("codec", ["vp9", "h263", "flv1", "theora"])
def test_a_chain_codec_is_entered_where_the_container_says_so(codec: str) -> None:
    coding = known(codec)
    assert (coding.read(b"x", is_keyframe=True), coding.read(b"x", is_keyframe=False)) == (ENTRY, REFERENCE)


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_mpeg_is_entered_only_where_a_sequence_header_brings_the_matrices(codec: str) -> None:
    coding = known(codec)
    assert coding.read(b"\0\0\1\xb3..\0\0\1\0", is_keyframe=True) == ENTRY
    assert coding.read(b"\0\0\1\xb3..\0\0\1\0", is_keyframe=False) == REFERENCE
    assert coding.read(b"\0\0\1\xb8..\0\0\1\0", is_keyframe=True) == REFERENCE


@pytest.mark.parametrize(
    ("codec", "data", "picture"),
    [
        ("mpeg2video", b"\0\0\1\0\x12\x98", DISPOSABLE),
        ("mpeg2video", b"\0\0\1\0\x12\x90", REFERENCE),
        ("mpeg2video", b"\0\0\1\0\x12\x98..\0\0\1\0\x12\x90", REFERENCE),
        ("mpeg2video", b"\0\0\1\xb3..\0\0\1\0\x12\x98", REFERENCE),
        ("mpeg2video", b"\0\0\1\0\x12\x98..\0\0\1\xb5\x30", REFERENCE),
        ("mpeg2video", b"\0\0\1\0\x12\x98..\0\0\1\xb5\x80", DISPOSABLE),
        ("mpeg4", b"\0\0\1\xb6\x9a", DISPOSABLE),
        ("mpeg4", b"\0\0\1\xb6\x5a", REFERENCE),
        ("mpeg4", b"\0\0\1\xb6\x5a..\0\0\1\xb6\x9a", REFERENCE),
        ("mpeg4", b"\0\0\1\xb2..\0\0\1\xb6\x9a", REFERENCE),
        ("mpeg4", b"", REFERENCE),
    ],
)
def test_only_b_pictures_of_mpeg_without_other_headers_are_disposable(
    codec: str, data: bytes, picture: Picture
) -> None:
    assert known(codec).read(data, is_keyframe=False) == picture


@pytest.mark.parametrize("data", [b"\xff\xd8\xff\xdb", b"\xff\xd8\xff\xc4", b"\xff\xd8"])
def test_a_jpeg_without_its_own_tables_does_not_stand_alone(data: bytes) -> None:
    assert known("mjpeg").read(data, is_keyframe=True) == REFERENCE
    assert known("mjpeg").read(data + b"\xff\xdb\xff\xc4", is_keyframe=True) == ALONE


@pytest.mark.parametrize(("first", "picture"), [(0x10, ENTRY), (0x11, REFERENCE), (0x01, HIDDEN), (0x00, ENTRY)])
def test_a_vp8_frame_tells_by_its_first_byte_whether_it_is_a_keyframe_and_shown(first: int, picture: Picture) -> None:
    assert known("vp8").read(bytes([first, 0, 0]), is_keyframe=False) == picture


def packed(bits: str) -> bytes:
    size = -(-len(bits) // 8)
    return int(bits.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


class Writer:
    """Writes bit fields as the standards' tables have them."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, count: int, value: int) -> "Writer":
        self.bits += f"{value:0{int(count)}b}" if count else ""
        return self

    def ue(self, *values: int) -> "Writer":
        for value in values:
            code = f"{value + 1:b}"
            self.bits += "0" * (len(code) - 1) + code
        return self

    def se(self, value: int) -> "Writer":
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def to_unit(self, header: int) -> bytes:
        """A NAL unit, with its stop bit and emulation prevention (H.264 §7.3.1, §7.4.1)."""
        unit = bytearray([header])
        for byte in packed(self.bits + "1"):
            unit += b"\3" if unit.endswith(b"\0\0") and byte <= 3 else b""
            unit.append(byte)
        return bytes(unit)


TABLE_9_2 = ("1", "010", "011", "00100", "00101", "00110", "00111", "0001000", "0001001", "0001010")
TABLE_9_3 = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5)


@pytest.mark.parametrize(("code", "number"), [(code, number) for number, code in enumerate(TABLE_9_2)])
def test_exponential_golomb_codes_are_those_of_the_standard(code: str, number: int) -> None:
    assert Bits(packed(code)).ue() == number
    assert Bits(packed(code)).se() == TABLE_9_3[number]


@given(st.lists(st.integers(0, 2**32)), st.lists(st.integers(-(2**31), 2**31)))
def test_numbers_are_read_as_they_are_written(unsigned: list[int], signed: list[int]) -> None:
    writer = Writer().ue(*unsigned)
    for number in signed:
        writer.se(number)
    bits = Bits(packed(writer.bits))
    assert [bits.ue() for _ in unsigned] == unsigned
    assert [bits.se() for _ in signed] == signed


def test_emulation_prevention_bytes_are_no_payload() -> None:
    bits = payload(b"\x67\0\0\3\1\0\0\3\0\5", 1)
    assert [bits.u(8) for _ in range(7)] == [0, 0, 1, 0, 0, 0, 5]


def test_bits_beyond_the_end_are_unplannable() -> None:
    with pytest.raises(Unplannable, match="a header ends early"):
        Bits(b"\xff").u(9)
    with pytest.raises(Unplannable, match="a header ends early"):
        Bits(bytes(4)).ue()


ORDER_BITS = 6
"""How many bits picture order counts have in the H.264 sequences written here."""


TELLS_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
"""The values of `profile_idc` after which a sequence parameter set tells the chroma format (H.264 §7.3.2.1.1)."""


@dataclass(frozen=True)
class Sequence:
    """The fields of an H.264 sequence parameter set that stand before and at `frame_mbs_only_flag`."""

    profile: int
    chroma_format: int
    has_separate_planes: bool
    scaling_lists: tuple[tuple[int, ...] | None, ...] | None
    frame_num_bits: int
    order_kind: int
    order_offsets: tuple[int, ...]
    has_fields: bool

    def unit(self) -> bytes:
        """§7.3.2.1.1."""
        writer = Writer().u(8, self.profile).u(16, 0x001E).ue(0)
        if self.profile in TELLS_CHROMA:
            self._write_chroma(writer)
        writer.ue(self.frame_num_bits - 4, self.order_kind)
        if self.order_kind == 0:
            writer.ue(ORDER_BITS - 4)
        elif self.order_kind == 1:
            writer.u(1, 0).se(-3).se(2).ue(len(self.order_offsets))
            for offset in self.order_offsets:
                writer.se(offset)
        writer.ue(4).u(1, 0).ue(3, 2).u(1, not self.has_fields)
        return (writer.u(2, 1) if self.has_fields else writer.u(1, 1)).u(2, 0).to_unit(0x67)

    def _write_chroma(self, writer: Writer) -> None:
        writer.ue(self.chroma_format)
        if self.chroma_format == 3:
            writer.u(1, self.has_separate_planes)
        writer.ue(2, 2).u(1, 0).u(1, self.scaling_lists is not None)
        for index in range(12 if self.chroma_format == 3 else 8) if self.scaling_lists else ():
            deltas = self.scaling_lists[index] if self.scaling_lists else None
            writer.u(1, deltas is not None)
            self._write_scaling_list(writer, deltas or (), 16 if index < 6 else 64)

    @staticmethod
    def _write_scaling_list(writer: Writer, deltas: tuple[int, ...], size: int) -> None:
        """§7.3.2.1.1.1: differences, until one makes the scale 0 or the list is full."""
        scale = 8
        for delta in deltas[:size]:
            writer.se(delta)
            scale = (scale + delta) % 256
            if not scale:
                return

    def slice(self, frame_num: int, *, is_field: bool, header: int = 0x01, order: int = 0) -> bytes:
        """§7.3.3. The unit has the header 0x65 for an IDR picture, 0x21 for another reference, 0x01 for none."""
        planes = 2 if self.profile in TELLS_CHROMA and self.chroma_format == 3 and self.has_separate_planes else 0
        writer = Writer().ue(0, 5, 0).u(planes, 0).u(self.frame_num_bits, frame_num)
        writer.u(1 if self.has_fields else 0, is_field).u(is_field, 1)
        if header == 0x65:
            writer.ue(3)
        if self.order_kind == 0:
            writer.u(ORDER_BITS, order % 2**ORDER_BITS)
        return writer.ue(77, 7).to_unit(header)


SCALING_LIST = st.none() | st.integers(0, 5).map(lambda seed: tuple(Random(seed).choices((-9, -8, 1, 3, 240), k=64)))
SEQUENCES = st.builds(
    Sequence,
    profile=st.sampled_from([66, 77, 88, *TELLS_CHROMA]),
    chroma_format=st.integers(0, 3),
    has_separate_planes=st.booleans(),
    scaling_lists=st.none() | st.lists(SCALING_LIST, min_size=12, max_size=12).map(tuple),
    frame_num_bits=st.integers(4, 16),
    order_kind=st.integers(0, 2),
    order_offsets=st.lists(st.integers(-99, 99), max_size=5).map(tuple),
    has_fields=st.booleans(),
)


def annex_b(*units: bytes) -> bytes:
    return b"".join(b"\0\0\1" + unit for unit in units)


LONGEST = Sequence(244, 3, False, ((240,) * 64,) * 12, 16, 1, (2**31 - 1,) * 255, True)
"""Every field that may be there is there, in nearly as many bits as it may have."""


@given(SEQUENCES, st.integers(0, 2**16 - 1))
@example(LONGEST, 0)
def test_field_pictures_are_refused_and_frames_of_the_same_stream_are_read(sequence: Sequence, number: int) -> None:
    frame_num = number % 2**sequence.frame_num_bits
    coding = H264(annex_b(sequence.unit()), is_reordered=True)
    assert coding.read(annex_b(sequence.slice(frame_num, is_field=False)), is_keyframe=False) == DISPOSABLE
    if sequence.has_fields:
        with pytest.raises(Unplannable, match="its pictures are fields"):
            coding.read(annex_b(sequence.slice(frame_num, is_field=True)), is_keyframe=False)


STEPS = st.lists(st.tuples(st.booleans(), st.floats(-1, 1, exclude_min=True)), max_size=20)
"""Pictures: whether one is a reference, and how far it is shown from the last one, in halves of the counts' range."""


def counts(steps: Iterable[tuple[bool, float]], bits: int) -> Iterator[tuple[bool, int]]:
    """Whether each picture is a reference, and its whole picture order count."""
    before = 0
    for is_reference, distance in steps:
        count = before + math.floor(distance * 2 ** (bits - 1))
        count += count - before == -(2 ** (bits - 1))
        yield is_reference, count
        before = count if is_reference else before


@given(SEQUENCES, STEPS)
def test_the_order_of_h264_pictures_is_the_one_in_their_headers(
    sequence: Sequence, steps: list[tuple[bool, float]]
) -> None:
    coding, range_of_numbers = H264(annex_b(sequence.unit()), is_reordered=True), 2**sequence.frame_num_bits

    def order(frame_num: int, header: int, count: int) -> tuple[int, int] | None:
        unit = sequence.slice(frame_num % range_of_numbers, is_field=False, header=header, order=count)
        return coding.read(annex_b(unit), is_keyframe=False).order

    for restart in (1, 2):
        assert order(0, 0x65, 0) == (None if sequence.order_kind else (restart, 0))
        number = 1
        for is_reference, count in counts(steps, ORDER_BITS):
            known_order = None if sequence.order_kind else (restart, count)
            assert order(number, 0x21 if is_reference else 0x01, count) == known_order
            number += is_reference
    assert order(number + 1, 0x01, 0) is None  # a reference was lost


@given(SEQUENCES, st.sampled_from([0, 1, 2, 3]))
def test_lengths_of_any_size_delimit_what_start_codes_do(sequence: Sequence, size: int) -> None:
    unit, picture = sequence.unit(), sequence.slice(1, is_field=False)
    extradata = b"\1\x64\0\x1e" + bytes([0xFC | size, 0xE1]) + len(unit).to_bytes(2, "big") + unit + b"\0"
    packet = b"".join(len(part).to_bytes(size + 1, "big") + part for part in (picture, picture))
    if len(picture) < 256:
        assert H264(extradata, is_reordered=True).read(packet, is_keyframe=False) == DISPOSABLE
    with pytest.raises(Unplannable, match="a NAL unit goes beyond its packet"):
        H264(extradata, is_reordered=True).read(packet[:-1], is_keyframe=False)


PLAIN, NON_REFERENCE_IDR, REFERENCE_SLICE = b"\1\x9a\0", b"\5\x88\0", b"\x21\x9a\0"


@pytest.mark.parametrize(
    ("units", "picture"),
    [
        ((PLAIN,), DISPOSABLE),
        ((b"\x09\x10", b"\6\5\1", PLAIN, b"\x0c\xff"), DISPOSABLE),
        ((PLAIN, REFERENCE_SLICE), REFERENCE),
        ((b"\x68\xee", PLAIN), REFERENCE),
        ((b"\2\xee", PLAIN), REFERENCE),
        ((b"\x25\x88\0",), ENTRY),
        ((b"\x25\x88\0", PLAIN), REFERENCE),
        ((b"\6\5\1",), REFERENCE),
        ((), REFERENCE),
    ],
)
def test_h264_pictures_are_told_by_their_nal_units(units: tuple[bytes, ...], picture: Picture) -> None:
    assert H264(b"", is_reordered=True).read(annex_b(*units), is_keyframe=True) == picture


def hevc(kind: int, layer: int = 0) -> bytes:
    return bytes([kind << 1, layer + 1, 0x80, 0])


@pytest.mark.parametrize(
    ("units", "picture"),
    [
        ((hevc(0, 2),), DISPOSABLE),
        ((hevc(35), hevc(39), hevc(8, 2), hevc(8, 2), hevc(40)), DISPOSABLE),
        ((hevc(0, 1),), REFERENCE),
        ((hevc(1, 2),), REFERENCE),
        ((hevc(0, 2), hevc(1, 2)), REFERENCE),
        ((hevc(34), hevc(0, 2)), REFERENCE),
        ((hevc(21),), ENTRY),
        ((hevc(16), hevc(16)), ENTRY),
        ((hevc(19), hevc(1)), REFERENCE),
        ((hevc(39),), REFERENCE),
        ((), REFERENCE),
    ],
)
def test_hevc_pictures_are_told_by_their_nal_units_and_layers(units: tuple[bytes, ...], picture: Picture) -> None:
    sequence_of_three_layers = bytes([33 << 1, 1, 2 << 1, 0])
    coding = known("hevc", annex_b(sequence_of_three_layers))
    assert coding.read(annex_b(*units), is_keyframe=True) == picture


@dataclass(frozen=True)
class HevcStream:
    """The fields of HEVC parameter sets that stand before those that slice headers are read by."""

    profile: int
    sub_layers: tuple[tuple[bool, bool], ...]
    chroma_format: int
    has_separate_planes: bool
    has_window: bool
    order_bits: int
    number: int
    is_output_told: bool
    reserved_bits: int

    @property
    def tells_order(self) -> bool:
        return not (self.chroma_format == 3 and self.has_separate_planes)

    def units(self) -> bytes:
        """seq_parameter_set_rbsp and pic_parameter_set_rbsp (§7.3.2.2.1, §7.3.2.3.1, §7.3.3)."""
        writer = Writer().u(4, 0).u(3, len(self.sub_layers)).u(1, 1).u(88, self.profile).u(8, 93)
        for has_profile, has_level in self.sub_layers:
            writer.u(1, has_profile).u(1, has_level)
        writer.u(2 * (8 - len(self.sub_layers)) if self.sub_layers else 0, 0)
        for has_profile, has_level in self.sub_layers:
            writer.u(88 * has_profile, self.profile).u(8 * has_level, 93)
        writer.ue(0, self.chroma_format).u(self.chroma_format == 3, self.has_separate_planes)
        writer.ue(640, 479).u(1, self.has_window)
        writer.ue(*(3, 2, 1, 0) if self.has_window else ()).ue(2, 0, self.order_bits - 4)
        pps = Writer().ue(self.number, 0).u(1, 0).u(1, self.is_output_told).u(3, self.reserved_bits).u(5, 9)
        return annex_b(bytes([33 << 1]) + writer.u(9, 77).to_unit(1), bytes([34 << 1]) + pps.to_unit(1))

    def slice(self, kind: int, order: int) -> bytes:
        """slice_segment_header (§7.3.6.1)."""
        writer = Writer().u(1, 1).u(16 <= kind < 24, 0).ue(self.number).u(self.reserved_bits, 0).ue(1)
        writer.u(self.is_output_told, 1)
        if kind not in (19, 20):
            writer.u(self.order_bits, order % 2**self.order_bits)
        return annex_b(bytes([kind << 1]) + writer.u(9, 77).to_unit(1))


HEVC_STREAMS = st.builds(
    HevcStream,
    profile=st.integers(0, 2**88 - 1),
    sub_layers=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=6).map(tuple),
    chroma_format=st.integers(0, 3),
    has_separate_planes=st.booleans(),
    has_window=st.booleans(),
    order_bits=st.integers(4, 16),
    number=st.integers(0, 63),
    is_output_told=st.booleans(),
    reserved_bits=st.integers(0, 7),
)


@given(HEVC_STREAMS, STEPS, st.sampled_from([0, 6, 8]), st.sampled_from([1, 21]))
def test_the_order_of_hevc_pictures_is_the_one_in_their_headers(
    stream: HevcStream, steps: list[tuple[bool, float]], other: int, reference: int
) -> None:
    coding = known("hevc", stream.units())
    for restart, idr in ((1, 19), (2, 20)):
        assert coding.read(stream.slice(idr, 0), is_keyframe=True).order == (
            (restart, 0) if stream.tells_order else None
        )
        for is_reference, count in counts(steps, stream.order_bits):
            picture = coding.read(stream.slice(reference if is_reference else other, count), is_keyframe=False)
            assert picture.order == ((restart, count) if stream.tells_order else None)


@pytest.mark.parametrize(
    ("codec", "header", "picture"), [("h264", b"\6", b"\x65\x88\0"), ("hevc", b"\x4e\1", hevc(21))]
)
@pytest.mark.parametrize(
    ("messages", "lasts"),
    [
        (b"\5\2\x13\x2f\x80", False),
        (b"\5\1\0\x13\1\0\x80", True),
        (b"\xff\x01\1\0\x2f\2\0\0\3\0\x80", True),
        (b"\5\xff\x01" + 256 * b"\x13" + b"\x80", False),
    ],
)
def test_a_message_that_holds_for_later_pictures_is_not_planned_for(
    codec: str, header: bytes, picture: bytes, messages: bytes, lasts: bool
) -> None:
    with pytest.raises(Unplannable, match="holds for many") if lasts else nullcontext():
        known(codec).read(annex_b(header + messages, picture), is_keyframe=True)


def test_an_hevc_picture_that_drops_those_before_it_is_not_planned_for() -> None:
    dropping = bytes([19 << 1, 1, 0xC0, 0])
    with pytest.raises(Unplannable, match="drops those before it"):
        known("hevc").read(annex_b(dropping), is_keyframe=True)
    assert known("hevc").read(annex_b(bytes([21 << 1, 1, 0xC0, 0])), is_keyframe=True) == ENTRY


@pytest.mark.parametrize("ending", [b"\x48\1", b"\x4a\1"])
def test_after_the_end_of_an_hevc_sequence_no_picture_is_planned(ending: bytes) -> None:
    at_the_end = known("hevc")
    at_the_end.read(annex_b(hevc(21), ending), is_keyframe=True)
    with pytest.raises(Unplannable, match="a sequence of pictures ends within it"):
        at_the_end.read(annex_b(hevc(21)), is_keyframe=True)
    with pytest.raises(Unplannable, match="a sequence of pictures ends within it"):
        known("hevc").read(annex_b(ending, hevc(21)), is_keyframe=True)


def leb128(value: int, size: int) -> bytes:
    """A number in so many bytes (AV1 §4.10.5)."""
    return bytes(value >> 7 * index & 127 | (128 if index < size - 1 else 0) for index in range(size))


def obu(kind: int, payload: bytes, *, size: int = 2, has_extension: bool = False) -> bytes:
    """An open bitstream unit whose length has so many bytes (AV1 §5.3)."""
    header = bytes([kind << 3 | has_extension << 2 | 2, *([0x20] if has_extension else [])])
    return header + leb128(len(payload), size) + payload


@dataclass(frozen=True)
class Av1Stream:
    """The fields of an AV1 sequence header that others depend on."""

    level: int
    has_display_delay: bool
    size_bits: int
    order_hint_bits: int
    screen_content_tools: int
    integer_motion_vectors: int

    def header(self) -> bytes:
        """§5.5.1."""
        writer = Writer().u(3, 0).u(1, 0).u(1, 0).u(1, 0).u(1, self.has_display_delay).u(5, 0).u(12, 0xABC)
        writer.u(5, self.level).u(1 if self.level > 7 else 0, 1)
        if self.has_display_delay:
            writer.u(1, 1).u(4, 9)
        size = 2**self.size_bits - 1
        writer.u(4, self.size_bits - 1).u(4, 9).u(self.size_bits, size).u(10, 7).u(1, 0).u(3, 5).u(4, 6)
        writer.u(1, self.order_hint_bits > 0).u(2 if self.order_hint_bits else 0, 1)
        self._write_choice(writer, self.screen_content_tools)
        if self.screen_content_tools:
            self._write_choice(writer, self.integer_motion_vectors)
        writer.u(3 if self.order_hint_bits else 0, max(self.order_hint_bits - 1, 0)).u(3, 7)
        return obu(1, packed(writer.bits))

    @staticmethod
    def _write_choice(writer: Writer, value: int) -> None:
        writer.u(1, value == PER_FRAME).u(0 if value == PER_FRAME else 1, value % PER_FRAME)


KEY, INTER, INTRA_ONLY, SWITCH = range(4)


@dataclass(frozen=True)
class Av1Frame:
    """An AV1 frame header: one that shows a frame of a slot (`existing`), or one of a new frame."""

    existing: int | None
    kind: int
    is_shown: bool
    is_resilient: bool
    has_tools: bool
    refresh: int
    references: tuple[int, ...]
    is_short: bool
    has_extension: bool
    size: int

    @property
    def is_shown_key(self) -> bool:
        return self.existing is None and self.kind == KEY and self.is_shown

    @property
    def writes(self) -> frozenset[int]:
        everything = self.kind == SWITCH or self.is_shown_key
        return frozenset(range(8)) if everything else frozenset(one for one in range(8) if self.refresh >> one & 1)

    def reads(self, stream: Av1Stream) -> frozenset[int]:
        if self.kind in (KEY, INTRA_ONLY):
            return frozenset()
        return frozenset(range(8)) if self.is_short and stream.order_hint_bits else frozenset(self.references)

    def unit(self, stream: Av1Stream) -> bytes:
        """§5.9.2."""
        writer = Writer().u(1, self.existing is not None)
        if self.existing is None:
            self._write(writer, stream)
        else:
            writer.u(3, self.existing)
        payload = packed(writer.bits).ljust(1 if self.size == 1 else 200, b"\xb7")
        return obu(6 if self.existing is None else 3, payload, size=self.size, has_extension=self.has_extension)

    def _write(self, writer: Writer, stream: Av1Stream) -> None:
        is_intra = self.kind in (KEY, INTRA_ONLY)
        is_resilient = self.is_resilient or self.kind == SWITCH or self.is_shown_key
        writer.u(2, self.kind).u(1, self.is_shown).u(0 if self.is_shown else 1, 1)
        writer.u(0 if self.kind == SWITCH or self.is_shown_key else 1, self.is_resilient).u(1, 0)
        tools = self.has_tools if stream.screen_content_tools == PER_FRAME else bool(stream.screen_content_tools)
        writer.u(1 if stream.screen_content_tools == PER_FRAME else 0, tools)
        writer.u(1 if tools and stream.integer_motion_vectors == PER_FRAME else 0, 0)
        writer.u(0 if self.kind == SWITCH else 1, 0).u(stream.order_hint_bits, 0).u(
            0 if is_intra or is_resilient else 3, 5
        )
        writer.u(0 if self.kind == SWITCH or self.is_shown_key else 8, self.refresh)
        if is_resilient and not (is_intra and len(self.writes) == 8):
            writer.u(8 * stream.order_hint_bits, 0)
        if not is_intra:
            writer.u(1 if stream.order_hint_bits else 0, self.is_short)
            for slot in self.references[:2] if self.is_short and stream.order_hint_bits else self.references:
                writer.u(3, slot)


AV1_STREAMS = st.builds(
    Av1Stream,
    level=st.integers(0, 31),
    has_display_delay=st.booleans(),
    size_bits=st.integers(1, 16),
    order_hint_bits=st.integers(0, 8),
    screen_content_tools=st.integers(0, PER_FRAME),
    integer_motion_vectors=st.integers(0, PER_FRAME),
)
AV1_FRAMES = st.builds(
    Av1Frame,
    existing=st.none() | st.none() | st.integers(0, 7),
    kind=st.sampled_from([KEY, KEY, INTER, INTRA_ONLY, SWITCH]),
    is_shown=st.booleans(),
    is_resilient=st.booleans(),
    has_tools=st.booleans(),
    refresh=st.sampled_from([0, 0x0F, 0xF7, 255]) | st.integers(0, 255),
    references=st.lists(st.integers(0, 7), min_size=7, max_size=7).map(tuple),
    is_short=st.booleans(),
    has_extension=st.booleans(),
    size=st.sampled_from([1, 2, 3]),
)


class Av1Oracle:
    """What the frames of an AV1 stream read and write, by the kinds of the frames that its slots hold."""

    def __init__(self, stream: Av1Stream) -> None:
        self._stream = stream
        self._held = dict.fromkeys(range(8), INTER)

    def picture(self, frames: Iterable[Av1Frame]) -> Picture:
        reads, writes, entries = frozenset[int](), frozenset[int](), []
        for frame in frames:
            one_reads, one_writes = self._slots(frame)
            reads, writes = reads | (one_reads - writes), writes | one_writes
            entries.append(frame.is_shown_key)
        return Picture(reads, writes, is_entry=entries[0] and not reads)

    def _slots(self, frame: Av1Frame) -> tuple[frozenset[int], frozenset[int]]:
        """A key frame that was hidden and is shown now fills all slots (§7.21)."""
        if frame.existing is not None:
            is_key = self._held[frame.existing] == KEY
            return frozenset({frame.existing}), frozenset(range(8)) if is_key else frozenset()
        self._held |= dict.fromkeys(frame.writes, frame.kind)
        return frame.reads(self._stream), frame.writes


@settings(max_examples=400)
@given(AV1_STREAMS, st.lists(st.lists(AV1_FRAMES, min_size=1, max_size=3), min_size=1, max_size=6), st.booleans())
def test_av1_frames_read_and_write_the_slots_that_their_headers_name(
    stream: Av1Stream, packets: list[list[Av1Frame]], is_configured: bool
) -> None:
    coding = known("av1", b"\x81\0\0\0" + stream.header() if is_configured else b"")
    oracle = Av1Oracle(stream)
    for frames in packets:
        data = obu(2, b"") + stream.header() + b"".join(frame.unit(stream) for frame in frames)
        assert coding.read(data, is_keyframe=False) == oracle.picture(frames)


@pytest.mark.parametrize(
    ("bits", "why"),
    [("0000 1", "a still picture's header"), ("0000 01", "timing"), ("0000 00 0 00001", "operating points")],
)
@pytest.mark.parametrize("is_keyframe", [True, False])
def test_an_av1_stream_whose_headers_are_not_read_is_a_chain(bits: str, why: str, *, is_keyframe: bool) -> None:
    sequence = obu(1, packed(bits.replace(" ", "")) + bytes(20))
    picture = known("av1").read(sequence + obu(6, b"\x10" + bytes(20)), is_keyframe=is_keyframe)
    assert picture == (ENTRY if is_keyframe else REFERENCE), why


def av1_headers(data: bytes) -> Iterator[str]:
    """The first byte of every frame header in a packet, in bits, by an OBU reader of its own."""
    place = 0
    while place < len(data):
        kind, has_extension = data[place] >> 3 & 15, data[place] >> 2 & 1
        place += 1 + has_extension
        size = shift = 0
        while True:
            byte = data[place]
            size, shift, place = size | (byte & 127) << shift, shift + 7, place + 1
            if byte < 128:
                break
        if kind in (3, 6):
            yield f"{data[place]:08b}" + ("+" if size > 127 else "")
        place += size


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("AV1", "1......."),  # show_existing_frame
        ("AV1 intra refresh", "0100...."),  # a hidden intra-only frame
        ("AV1 screen content", "0001.1.."),  # a shown key frame that allows the tools
        ("AV1 switch frames", "0111...."),
        ("AV1 hidden switch frames", "0110...."),
        ("AV1 ordinary size", ".{8}[+]"),  # a size of two bytes
    ],
)
def test_an_av1_video_contains_what_it_is_named_for(name: str, header: str) -> None:
    headers = [one for packet in video(name).packets for one in av1_headers(packet.data)]
    assert any(re.match(header, one) for one in headers)
    if name == "AV1 screen content":
        assert not any(re.match(header, one) for packet in video("AV1").packets for one in av1_headers(packet.data))


def layer(width: int = 64, *, has_fields: bool = False, options: int = 0) -> bytes:
    """The header of an MPEG-4 video object layer, with the optional fields that a number's bits choose (§6.2.3)."""
    verid, aspect, control, vbv, fixed = (bool(options >> one & 1) for one in range(5))
    writer = Writer().u(1, 0).u(8, 1).u(1, verid).u(7 if verid else 0, 9).u(4, 15 if aspect else 1)
    writer.u(16 if aspect else 0, 0x0C0B).u(1, control)
    if control:
        writer.u(3, 2).u(1, vbv)
        for bits in (15, 15, 15) if vbv else ():
            writer.u(bits, 77).u(1, 1)
        if vbv:
            writer.u(3, 1).u(11, 7).u(1, 1).u(15, 5).u(1, 1)
    writer.u(2, 0).u(1, 1).u(16, 1000).u(1, 1).u(1, fixed).u(10 if fixed else 0, 40)
    return b"\x20" + packed(writer.u(1, 1).u(13, width).u(1, 1).u(13, 48).u(1, 1).u(1, has_fields).u(8, 0xAA).bits)


@pytest.mark.parametrize("options", range(32))
def test_interlaced_mpeg4_is_refused_whatever_fields_its_header_has(options: int) -> None:
    known("mpeg4", annex_b(layer(options=options)))
    with pytest.raises(Unplannable, match="its pictures are interlaced"):
        known("mpeg4", annex_b(layer(has_fields=True, options=options)))


def test_all_parameter_sets_of_an_mp4_may_be_repeated_in_band() -> None:
    numbered = (Writer().u(8, 66).u(16, 30).ue(number, 0, 2, 4).u(1, 0).ue(3, 2).u(2, 3) for number in (0, 1))
    sequences, pictures = [one.to_unit(0x67) for one in numbered], [b"\x68\xc1", b"\x68\x61"]
    sets = [len(one).to_bytes(2, "big") + one for one in (*sequences, *pictures)]
    extradata = b"\1\x42\0\x1e\xff\xe2" + sets[0] + sets[1] + b"\2" + sets[2] + sets[3]
    coding = known("h264", extradata)
    units = (*sequences, *pictures, Writer().ue(0, 7, 0).u(4, 0).to_unit(0x65))
    packets = [b"".join(len(unit).to_bytes(4, "big") + unit for unit in sent) for sent in (units[-1:], units, units)]
    assert [coding.read(packet, is_keyframe=True) for packet in packets] == [ENTRY] * 3


def in_band(codec: str, *units: bytes) -> bytes:
    """Units as a packet has them."""
    return b"".join(units) if codec == "av1" else annex_b(*units)


def in_header(codec: str, *units: bytes) -> bytes:
    """Units as the extradata of a stream has them: AV1's have a head of 4 bytes (AV1 in ISOBMFF §2.3)."""
    return b"\x81\0\0\0" + b"".join(units) if codec == "av1" else annex_b(*units)


AV1_PLAIN, AV1_COARSE = (Av1Stream(0, False, 6, hints, 2, 2).header() for hints in (7, 6))


@pytest.mark.parametrize(
    ("codec", "picture", "known_set", "new_set"),
    [
        ("h264", b"\x65\x88\0", b"\x68\xc1", b"\x68\xc2"),
        ("hevc", hevc(19), hevc(34), hevc(34, 1)),
        ("hevc", hevc(19), hevc(32), hevc(32, 1)),
        ("mpeg4", b"\xb6\x10", layer(64), layer(80)),
        ("av1", obu(6, b"\x10" + bytes(20)), AV1_PLAIN, AV1_COARSE),
    ],
)
def test_parameters_that_come_later_must_be_those_in_force(
    codec: str, picture: bytes, known_set: bytes, new_set: bytes
) -> None:
    for sets in ((), (known_set,), (new_set,), (known_set, new_set)):
        coding = known(codec, in_header(codec, *sets) if sets else b"")
        for _ in range(2):
            coding.read(in_band(codec, known_set, picture), is_keyframe=True)
        with pytest.raises(Unplannable, match="its parameters change"):
            coding.read(in_band(codec, new_set, picture), is_keyframe=True)


@pytest.mark.parametrize(
    ("codec", "picture", "sets"),
    [("h264", b"\x65\x88\0", (b"\x68\xc1", b"\x68\x61")), ("hevc", hevc(19), (hevc(34), b"\x44\1\x60\0"))],
)
def test_parameters_of_several_numbers_may_all_be_repeated(codec: str, picture: bytes, sets: tuple[bytes, ...]) -> None:
    coding = known(codec, annex_b(*sets))
    for _ in range(2):
        assert coding.read(annex_b(*sets, picture), is_keyframe=True) == ENTRY


@pytest.mark.parametrize(
    ("codec", "bidirectional", "other"),
    [
        ("h264", annex_b(b"\x01\xa8\0"), annex_b(b"\x01\xe0\0")),
        ("h264", annex_b(b"\x21\x9c\0"), annex_b(b"\x21\xc0\0")),
        ("mpeg2video", b"\0\0\1\0\x12\x98", b"\0\0\1\0\x12\x90"),
        ("mpeg4", b"\0\0\1\xb6\x9a", b"\0\0\1\xb6\x5a"),
    ],
)
def test_a_b_picture_that_the_decoder_does_not_expect_is_not_planned_for(
    codec: str, bidirectional: bytes, other: bytes
) -> None:
    in_order = coding_of(codec, b"", is_reordered=False)
    assert in_order is not None
    known(codec).read(bidirectional, is_keyframe=False)
    in_order.read(other, is_keyframe=False)
    with pytest.raises(Unplannable, match="B-pictures, of which its headers do not tell"):
        in_order.read(bidirectional, is_keyframe=False)


START_CODES = dict.fromkeys(("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"), b"\0\0\1")
NAL_CODED = frozenset({REFERENCE, DISPOSABLE, ENTRY})
POSSIBLE: Mapping[str, frozenset[Picture]] = {
    **dict.fromkeys(("h264", "hevc"), NAL_CODED),
    **dict.fromkeys(("prores", "dnxhd"), frozenset({ALONE})),
    "mjpeg": frozenset({ALONE, REFERENCE}),
    "vp8": frozenset({ENTRY, REFERENCE, HIDDEN}),
}
BY_CONTAINER: Mapping[str, frozenset[Picture]] = {
    **dict.fromkeys(("vp9", "h263", "flv1", "theora"), frozenset({REFERENCE})),
    **dict.fromkeys(("mpeg1video", "mpeg2video", "mpeg4"), frozenset({REFERENCE, DISPOSABLE})),
}
"""Codecs that are entered only where the container says so, and what their other pictures may be."""

BYTES = st.lists(
    st.sampled_from([b"\0\0\1", b"\0\0\1\x65", b"\0\0\1\1\x9a", b"\0\0\1\xb6\x9a"]) | st.binary(max_size=20), max_size=4
).map(b"".join)


def is_possible(codec: str, picture: Picture, *, is_keyframe: bool) -> bool:
    """Whether a codec has such pictures: ENTRY and ALONE are claims that would be wrong elsewhere."""
    if codec == "av1":
        named = picture.reads | picture.writes <= frozenset(range(8))
        return named and picture.is_shown and (not picture.is_entry or picture == ENTRY)
    if codec in BY_CONTAINER:
        entries = {ENTRY} if is_keyframe else set()
        return picture in BY_CONTAINER[codec] | entries
    return picture in POSSIBLE[codec]


def test_without_an_hevc_sequence_parameter_set_no_picture_is_disposable() -> None:
    assert known("hevc").read(annex_b(hevc(0)), is_keyframe=False) == REFERENCE


@settings(max_examples=300)
@given(st.sampled_from(CODECS), BYTES, st.lists(BYTES, max_size=3), st.booleans())
def test_of_any_bytes_a_picture_is_read_or_the_video_is_unplannable(
    codec: str, extradata: bytes, packets: list[bytes], is_keyframe: bool
) -> None:
    try:
        coding = known(codec, extradata)
        pictures = [coding.read(packet, is_keyframe=is_keyframe) for packet in packets]
    except Unplannable:
        return
    assert all(is_possible(codec, picture, is_keyframe=is_keyframe) for picture in pictures)
    if codec in START_CODES and not any(START_CODES[codec] in packet for packet in packets):
        assert set(pictures) <= {ENTRY if codec == "mpeg4" and is_keyframe else REFERENCE}


@settings(max_examples=300)
@given(
    st.sampled_from(["H.264 MBAFF", "H.264 Annex B", "HEVC", "HEVC Annex B", "AV1", "AV1 film grain"]),
    st.integers(0, 10**9),
)
def test_of_damaged_packets_a_picture_is_read_or_the_video_is_unplannable(name: str, seed: int) -> None:
    random, coding = Random(seed), video(name).coding()
    codec = {"H.264": "h264", "HEVC": "hevc", "AV1": "av1"}[name.split(maxsplit=1)[0]]
    for packet in random.choices(video(name).packets, k=5):
        data = bytearray(packet.data[: random.randint(1, 200)])
        for _ in range(random.randint(0, 4)):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        try:
            picture = coding.read(bytes(data), is_keyframe=packet.is_keyframe)
        except Unplannable:
            continue
        assert is_possible(codec, picture, is_keyframe=packet.is_keyframe)


def test_an_av1_unit_that_goes_beyond_its_packet_is_unplannable() -> None:
    with pytest.raises(Unplannable, match="an OBU goes beyond its packet"):
        known("av1").read(b"\x32\x09\0", is_keyframe=False)
    with pytest.raises(Unplannable, match="a number has no end"):
        known("av1").read(b"\x32" + b"\x80" * 9, is_keyframe=False)
