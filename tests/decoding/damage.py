"""Seeded damage to video files: each variant is a pure function of its name, its video and the other videos."""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, cycle, pairwise, product
from random import Random
from typing import TypeAlias

import av


@dataclass(frozen=True)
class Video:
    """A whole file, and where its packets are.

    Attributes:
        name: The file's name.
        data: Its bytes.
        container: The first name of FFmpeg's demuxer for it: mov, matroska, flv, avi, mpegts.
        packets: (first byte, byte after the last) of every packet, in file order.
    """

    name: str
    data: bytes = field(repr=False)
    container: str
    packets: tuple[tuple[int, int], ...] = field(repr=False)

    @classmethod
    def of(cls, name: str, data: bytes) -> "Video":
        with av.open(io.BytesIO(data), "r") as container:
            placed = [(packet.pos, packet.size) for packet in container.demux() if packet.pos is not None]
            spans = sorted((pos, min(pos + size, len(data))) for pos, size in placed if size)
            return cls(name, data, container.format.name.split(",")[0], tuple(spans))

    @cached_property
    def headers(self) -> tuple[tuple[int, int], ...]:
        """What is before, between and after the packets."""
        edges = [0, *chain.from_iterable(self.packets), len(self.data)]
        return tuple((start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end)

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Where the container's own structures start."""
        return tuple(match.start() for match in re.finditer(ELEMENTS[self.container], self.data, re.DOTALL))

    @cached_property
    def boxes(self) -> tuple[tuple[bytes, int, int], ...]:
        """(kind, first byte, byte after the last) of the top-level boxes of an MP4 (ISO/IEC 14496-12 §4.2)."""
        found, place = [], 0
        while self.container == "mov" and place + 8 <= len(self.data):
            length = int.from_bytes(self.data[place : place + 4], "big")
            length = int.from_bytes(self.data[place + 8 : place + 16], "big") if length == 1 else length
            found.append((self.data[place + 4 : place + 8], place, place + max(length, 8)))
            place += max(length, 8)
        return tuple(found)


@dataclass(frozen=True)
class Field:
    """Numbers in a container's header.

    Attributes:
        marker: A pattern of the bytes that they follow.
        offset: From the start of the marker to the first number.
        width: Bytes of a number.
        count: How many numbers stand there in a row.
    """

    marker: bytes
    offset: int
    width: int
    count: int = 1


Mutation: TypeAlias = Callable[[Random, Video, Video], bytes]
"""Damages a video, perhaps with parts of another one. A video that it cannot damage comes back as it was."""

BOXES = (
    rb"....(?:ftyp|moov|mvhd|trak|tkhd|edts|mdia|mdhd|minf|stbl|stsd|avcC|hvcC|stts|stsz|stsc|stco|mvex|moof|traf|trun|"
    rb"mdat|udta|free)"
)
EBML = (  # EBML, Segment, SeekHead, Info, Tracks, Cues, Cluster
    rb"(?:\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x11\x4d\x9b\x74|\x15\x49\xa9\x66|\x16\x54\xae\x6b|"
    rb"\x1c\x53\xbb\x6b|\x1f\x43\xb6\x75)"
)
CHUNKS = rb"(?:RIFF|LIST|avih|strh|strf|JUNK|idx1|00d[bc]|01wb)"
TAG = rb"[\x08\x09\x12].{7}\x00\x00\x00"
TS_PACKET = rb"\x47.{187}"
ELEMENTS = {"mov": BOXES, "matroska": EBML, "flv": TAG, "avi": CHUNKS, "mpegts": TS_PACKET}

TIMES = {
    "mov": (
        Field(b"m[vd]hd", 16, 4, 2),  # time scale, duration
        Field(b"tkhd", 24, 4),
        Field(b"elst", 8, 4, 4),  # number of edits; duration, media time and rate of the first
        Field(b"[sc]tts", 8, 4, 5),
        Field(b"tfdt|mehd", 8, 4, 2),
        Field(b"sidx", 12, 4, 4),
        Field(b"trun", 8, 4, 8),
    ),
    "matroska": (
        Field(rb"\x2a\xd7\xb1\x83", 4, 3),  # TimestampScale
        Field(rb"\x44\x89\x88", 3, 8),  # Duration
        Field(rb"\x23\xe3\x83[\x81-\x88]", 4, 1, 4),  # DefaultDuration
        Field(rb"\xe7[\x81-\x84]", 2, 1, 2),  # a cluster's Timestamp
    ),
    "flv": (Field(TAG, 4, 3), Field(TAG, 7, 1), Field(b"duration|framerate", 9, 8)),
    "avi": (Field(b"strh", 28, 4, 4), Field(b"avih", 8, 4, 5)),
    "mpegts": (Field(rb"\x00\x00\x01[\xe0-\xef]", 6, 1, 13), Field(rb"\x47..[\x20-\x3f]", 4, 1, 8)),  # PTS, DTS; PCR
}
SIZES = {
    "mov": (Field(BOXES, 0, 4), Field(b"stsz", 8, 4, 6), Field(b"stsc|stco|stsd|stss|trun|tfhd", 8, 4, 7)),
    "matroska": (Field(EBML, 4, 1, 8), Field(EBML, 4, 8), Field(rb"\x63\xa2", 2, 1), Field(rb"\xa3[\x10-\x7f]", 1, 2)),
    "flv": (Field(TAG, 1, 3), Field(TAG, -4, 4)),
    "avi": (Field(CHUNKS, 4, 4), Field(b"idx1", 8, 4, 12)),
    "mpegts": (Field(rb"\x47[\x40-\x5f]", 1, 1, 8), Field(rb"\x00\x00\x01[\xe0-\xef]", 4, 1, 5)),
}
DIMENSIONS = {
    "mov": (
        Field(b"avc1|hvc1|hev1|mp4v|vp09", 28, 2, 2),  # VisualSampleEntry: width, height
        Field(b"tkhd", 44, 4, 11),  # matrix, width, height
        Field(b"avcC|hvcC", 4, 1, 40),  # profile, sequence and picture parameter sets
        Field(b"pasp", 4, 4, 2),
    ),
    "matroska": (
        Field(rb"\xb0[\x81\x82].{1,2}\xba[\x81\x82]", 2, 1, 4),  # PixelWidth, PixelHeight
        Field(rb"\x63\xa2", 3, 1, 40),  # CodecPrivate
        Field(rb"\x9d\x01\x2a", 3, 2, 2),  # a VP8 keyframe's size (RFC 6386 §9.1)
    ),
    "flv": (Field(rb"\x17\x00\x00\x00\x00", 5, 1, 40), Field(b"width|height", 6, 8)),
    "avi": (Field(b"strf", 12, 4, 2), Field(b"avih", 40, 4, 2)),
    "mpegts": (Field(rb"\x00\x00\x01[\x67\x27\x42]", 3, 1, 30),),
}


def cut_anywhere(random: Random, video: Video, _: Video) -> bytes:
    return video.data[: random.randrange(1, len(video.data))]


def cut_in_first_bytes(random: Random, video: Video, _: Video) -> bytes:
    return video.data[: random.randrange(1, 100)]


def cut_between_packets(random: Random, video: Video, _: Video) -> bytes:
    return video.data[: random.choice(random.choice(video.packets))]


def cut_between_elements(random: Random, video: Video, _: Video) -> bytes:
    return video.data[: max(1, random.choice(video.elements))]


def cut_near_the_end(random: Random, video: Video, _: Video) -> bytes:
    return video.data[: -random.randrange(1, min(len(video.data), 100))]


def flip_bits(ranges: Callable[[Video], Sequence[tuple[int, int]]], count: int) -> Mutation:
    """A mutation that turns this many bits of these parts of a video round."""

    def flip(random: Random, video: Video, _: Video) -> bytes:
        data = bytearray(video.data)
        weights = [end - start for start, end in ranges(video)]
        for start, end in random.choices(ranges(video), weights, k=count):
            data[random.randrange(start, end)] ^= 1 << random.randrange(8)
        return bytes(data)

    return flip


def zero_chunk(random: Random, video: Video, _: Video) -> bytes:
    start, end = _chunk(random, video.data)
    return video.data[:start] + bytes(end - start) + video.data[end:]


def overwrite_chunk(random: Random, video: Video, _: Video) -> bytes:
    start, end = _chunk(random, video.data)
    return video.data[:start] + random.randbytes(end - start) + video.data[end:]


def repeat_chunk(random: Random, video: Video, _: Video) -> bytes:
    start, end = _chunk(random, video.data)
    return video.data[:end] + video.data[start:end] * random.choice((1, 1, 10)) + video.data[end:]


def remove_chunk(random: Random, video: Video, _: Video) -> bytes:
    start, end = _chunk(random, video.data)
    return video.data[:start] + video.data[end:]


def swap_chunks(random: Random, video: Video, _: Video) -> bytes:
    a, b, c, d = sorted(random.choices(range(len(video.data) + 1), k=4))
    return video.data[:a] + video.data[c:d] + video.data[b:c] + video.data[a:b] + video.data[d:]


def swap_packets(random: Random, video: Video, _: Video) -> bytes:
    """Exchanges two packets next to each other; the index keeps what it said."""
    (a, b), (c, d) = random.choice(list(pairwise(video.packets)))
    return video.data[:a] + video.data[c:d] + video.data[b:c] + video.data[a:b] + video.data[d:]


def insert_junk(random: Random, video: Video, _: Video) -> bytes:
    start, end = _chunk(random, video.data)
    return video.data[:start] + random.randbytes(end - start) + video.data[start:]


def prepend_junk(random: Random, video: Video, _: Video) -> bytes:
    return random.randbytes(random.choice((1, 8, 1000))) + video.data


def append_junk(random: Random, video: Video, donor: Video) -> bytes:
    return video.data + random.choice((bytes(5000), random.randbytes(5000), donor.data))


def splice(random: Random, video: Video, donor: Video) -> bytes:
    """The head of one file and the tail of another."""
    return video.data[: random.randrange(1, len(video.data))] + donor.data[random.randrange(len(donor.data)) :]


def splice_at_packets(_: Random, video: Video, donor: Video) -> bytes:
    """All that is before the first packet, and another file from its first packet on."""
    return video.data[: video.packets[0][0]] + donor.data[donor.packets[0][0] :]


def splice_boxes(_: Random, video: Video, donor: Video) -> bytes:
    """An MP4 with the index of another."""
    indexes = b"".join(donor.data[start:end] for kind, start, end in donor.boxes if kind == b"moov")
    parts = (indexes if kind == b"moov" else video.data[start:end] for kind, start, end in video.boxes)
    return b"".join(parts) if indexes and video.boxes else video.data


def absurd(fields: dict[str, tuple[Field, ...]]) -> Mutation:
    """A mutation that sets one to three of these numbers to extreme values."""

    def patch(random: Random, video: Video, _: Video) -> bytes:
        places = [_places(field, video.data) for field in fields[video.container]]
        data = bytearray(video.data)
        for found in random.choices([found for found in places if found], k=random.randint(1, 3)):
            start, width = random.choice(found)
            data[start : start + width] = _extreme(random, width)
        return bytes(data[: len(video.data)])

    return patch


def nest_deeply(random: Random, video: Video, _: Video) -> bytes:
    """Boxes in boxes, or Matroska tags in tags, before a structure of the file."""
    depth = random.choice((12, 100, 1000, 20_000))
    if video.container == "mov":
        kind, place = random.choice((b"moov", b"trak", b"udta", b"meta", b"moof")), random.choice(video.boxes)[1]
        nest = b"".join((8 * left).to_bytes(4, "big") + kind for left in range(depth, 0, -1))
    elif video.container == "matroska":
        kinds, place = [b"\x67\xc8"] * depth + [b"\x73\x73", b"\x12\x54\xc3\x67"], random.choice(video.elements[1:])
        heads = (kind + b"\1" + (10 * inner).to_bytes(7, "big") for inner, kind in enumerate(kinds))
        nest = b"".join(reversed(list(heads)))  # Tags, Tag, SimpleTag, SimpleTag, …
    else:
        return video.data
    return video.data[:place] + nest + video.data[place:]


def _chunk(random: Random, data: bytes) -> tuple[int, int]:
    """A part of any size from 4 bytes to half of the data, in even chances for each doubling."""
    length = int(2 ** random.uniform(2, (len(data) // 2).bit_length() - 1))
    start = random.randrange(len(data) - length + 1)
    return start, start + length


def _places(field: Field, data: bytes) -> list[tuple[int, int]]:
    """(place, width) of every number of this kind."""
    starts = (match.start() + field.offset for match in re.finditer(field.marker, data, re.DOTALL))
    return [(start + field.width * i, field.width) for start in starts if start >= 0 for i in range(field.count)]


def _extreme(random: Random, width: int) -> bytes:
    top = 1 << (8 * width - 1)
    number = random.choice((0, 1, top - 1, top, 2 * top - 1, random.randrange(2 * top)))
    return number.to_bytes(width, "big")


def _named(*mutations: Mutation) -> dict[str, Mutation]:
    return {mutation.__name__: mutation for mutation in mutations}


TRUNCATIONS = _named(cut_anywhere, cut_in_first_bytes, cut_between_packets, cut_between_elements, cut_near_the_end)

MUTATIONS: dict[str, Mutation] = {
    **TRUNCATIONS,
    **{f"flip_{count}_header": flip_bits(lambda video: video.headers, count) for count in (1, 10, 1000)},
    **{f"flip_{count}_payload": flip_bits(lambda video: video.packets, count) for count in (1, 10, 1000)},
    **_named(zero_chunk, overwrite_chunk, repeat_chunk, remove_chunk, swap_chunks, swap_packets),
    **_named(insert_junk, prepend_junk, append_junk, splice, splice_at_packets, splice_boxes, nest_deeply),
    "absurd_times": absurd(TIMES),
    "absurd_sizes": absurd(SIZES),
    "absurd_dimensions": absurd(DIMENSIONS),
}


@dataclass(frozen=True)
class Variant:
    """A damaged video. The name says it all: seed, number, mutation, video."""

    name: str
    mutation: str
    video: Video
    data: bytes = field(repr=False)


def variants(videos: Sequence[Video], seed: int) -> Iterator[Variant]:
    """Endlessly, every mutation of every video in a shuffled order; those that change nothing are left out."""
    pairs = list(product(MUTATIONS, videos))
    Random(seed).shuffle(pairs)
    for number, (mutation, video) in enumerate(cycle(pairs)):
        name = f"{seed}-{number:04}-{mutation}-{video.name}"
        random = Random(name)
        data = MUTATIONS[mutation](random, video, _donor(random, video, videos))
        if data != video.data:
            yield Variant(name, mutation, video, data)


def _donor(random: Random, video: Video, videos: Iterable[Video]) -> Video:
    """Another video, every second time one in the same container, if there is one."""
    others = [other for other in videos if other is not video] or [video]
    alike = [other for other in others if other.container == video.container] or others
    return random.choice(random.choice((others, alike)))
