"""What the headers of a coded picture say of the pictures that it depends on, for the codecs where that is known.

A picture reads *slots* and writes slots; it depends on the pictures that last wrote what it reads. Only AV1 names its
eight slots; for the others one slot is the chain of all reference pictures. Nothing is decoded: a few header bits are
read. Where a header is not understood, the picture is taken to read and write everything, which is always safe.

Sources: ITU-T H.264 §7.3 and §7.4.1, ITU-T H.265 §7.3 and §7.4.2, AV1 Bitstream & Decoding Process §5.5 and §5.9,
RFC 6386 §9.1 (VP8), ISO/IEC 13818-2 §6.3 (MPEG-2), ISO/IEC 14496-2 §6.3.5 (MPEG-4), ISO/IEC 10918-1 §B.2 (JPEG),
ISO/IEC 14496-15 §5.3 and §8.3 (NAL units in MP4).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Slots: TypeAlias = frozenset[int]

NO_SLOT: Slots = frozenset()
ALL_SLOTS: Slots = frozenset(range(8))


class Unplannable(Exception):
    """The film must be decoded plainly, from its start: its packets do not tell what can be left out."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A coded picture among the others.

    Attributes:
        reads: The slots that it depends on.
        writes: The slots that hold it afterwards; none: no other picture depends on it.
        is_entry: Decoding can begin here: it depends on nothing, and so do, but for itself and each other, all
            pictures that follow it in decoding order and in presentation order.
        is_shown: Whether it is ever on screen.
    """

    reads: Slots
    writes: Slots
    is_entry: bool = False
    is_shown: bool = True


ENTRY = Picture(NO_SLOT, ALL_SLOTS, is_entry=True)
REFERENCE = Picture(ALL_SLOTS, ALL_SLOTS)
DISPOSABLE = Picture(ALL_SLOTS, NO_SLOT)
HIDDEN = Picture(ALL_SLOTS, ALL_SLOTS, is_shown=False)
ALONE = Picture(NO_SLOT, NO_SLOT)


class Coding(Protocol):
    """Reads the pictures of one stream, in decoding order."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:
        """The picture (or, of AV1, all pictures) in one packet.

        Args:
            data: The packet's bytes.
            is_keyframe: What the container says of it.

        Raises:
            Unplannable: if its kind is one for which nothing can be left out.
        """


def coding_of(codec: str, extradata: bytes, *, is_reordered: bool) -> Coding | None:
    """How to read a stream of an FFmpeg codec; None where only decoding everything is known to be exact.

    Args:
        codec: FFmpeg's name.
        extradata: The stream's headers, as the container has them.
        is_reordered: Whether the decoder knows that frames come in another order than they are coded in.
    """
    makers: dict[str, Callable[[], Coding]] = {
        "h264": lambda: H264(extradata, is_reordered=is_reordered),
        "hevc": lambda: Hevc(extradata),
        "av1": lambda: Av1(extradata),
        "vp8": Vp8,
        "mjpeg": Mjpeg,
        **dict.fromkeys(("mpeg1video", "mpeg2video"), lambda: Mpeg2(is_reordered=is_reordered)),
        "mpeg4": lambda: Mpeg4(extradata, is_reordered=is_reordered),
        **dict.fromkeys(("vp9", "h263", "flv1", "theora"), ByKeyframes),
        **dict.fromkeys(("prores", "dnxhd"), IntraOnly),
    }
    return makers[codec]() if codec in makers else None


class Bits:
    """Reads big-endian bit fields."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, count: int) -> int:
        """An unsigned number of `count` bits.

        Raises:
            Unplannable: at the end of the data.
        """
        self._left -= count
        if self._left < 0:
            raise Unplannable("a header ends early")
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        """An unsigned Exp-Golomb number (H.264 §9.1)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number (H.264 §9.1.1)."""
        number = self.ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)

    def skip(self, *fields: int) -> None:
        for count in fields:
            self.u(count)

    def skip_ue(self, count: int) -> None:
        for _ in range(count):
            self.ue()


class ParameterSets:
    """What a stream's headers say for all pictures that follow. One that comes later than the first picture must be
    the one in force: a change would be lost with a picture that is left out."""

    def __init__(self) -> None:
        self._in_force: dict[tuple[int, int], bytes] = {}
        self._is_closed = False

    def close(self) -> None:
        """The first picture has come."""
        self._is_closed = True

    def note(self, parameters: bytes, kind: int = 0, number: int = 0) -> None:
        """Takes parameters up, in place of those of the same kind and number.

        Raises:
            Unplannable: if they are others, and pictures have come before.
        """
        if self._is_closed and self._in_force.get((kind, number)) != parameters:
            raise Unplannable("its parameters change")
        self._in_force[kind, number] = parameters


def refuse_unannounced_bidirectional(*, is_reordered: bool) -> None:
    """Is called at a picture that others follow in decoding order and precede on screen, as a rule.

    Raises:
        Unplannable: if the decoder does not know that: it shows pictures as they come until it meets this one.
    """
    if not is_reordered:
        raise Unplannable("it has B-pictures, of which its headers do not tell")


class ByKeyframes:
    """A codec whose pictures form one chain from keyframe to keyframe."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        return ENTRY if is_keyframe else REFERENCE


class Mpeg2:
    """MPEG-1 and MPEG-2: B-pictures are no references, and quantization matrices hold on until the next sequence
    header, so an entry must have one, and a picture that brings some cannot be left out."""

    SEQUENCE_HEADER, PICTURE_HEADER, B = b"\0\0\1\xb3", b"\0\0\1\0", 3
    MATRICES = re.compile(rb"\x00\x00\x01(\xb3|\xb5[\x30-\x3f])")

    def __init__(self, *, is_reordered: bool) -> None:
        self._is_reordered = is_reordered

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:
        if is_keyframe and self.SEQUENCE_HEADER in data:
            return ENTRY
        kinds = {header[1] >> 3 & 7 for header in data.split(self.PICTURE_HEADER)[1:] if len(header) > 1}
        if self.B in kinds:
            refuse_unannounced_bidirectional(is_reordered=self._is_reordered)
        return DISPOSABLE if kinds == {self.B} and not self.MATRICES.search(data) else REFERENCE


class Mpeg4:
    """MPEG-4 Part 2: B-VOPs are no references. FFmpeg scales the motion of interlaced ones by the first that it meets,
    so none can be left out there."""

    LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f].*?(?=\x00\x00\x01|\Z)", re.DOTALL)
    VOP, B = b"\0\0\1\xb6", 2

    def __init__(self, extradata: bytes, *, is_reordered: bool) -> None:
        self._is_reordered = is_reordered
        self._parameters = ParameterSets()
        self._note_layers(extradata)

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:
        self._note_layers(data)
        self._parameters.close()
        if is_keyframe:
            return ENTRY
        kinds = {vop[0] >> 6 for vop in data.split(self.VOP)[1:] if vop}
        if self.B in kinds:
            refuse_unannounced_bidirectional(is_reordered=self._is_reordered)
        return DISPOSABLE if kinds == {self.B} and data.startswith(self.VOP) else REFERENCE

    def _note_layers(self, data: bytes) -> None:
        for layer in self.LAYER.finditer(data):
            self._parameters.note(layer[0].rstrip(b"\0"), number=layer[0][3])
            self._refuse_interlaced(Bits(layer[0][4:64]))

    @staticmethod
    def _refuse_interlaced(bits: Bits) -> None:
        """Reads a video object layer's header (§6.2.3) up to `interlaced`."""
        bits.skip(9)
        bits.skip(7 * bits.u(1))
        bits.skip(16 * (bits.u(4) == 15))
        if bits.u(1):
            bits.skip(3)
            bits.skip(79 * bits.u(1))
        if bits.u(2):
            raise Unplannable("its pictures are not rectangular")
        bits.skip(1)
        resolution = bits.u(16)
        bits.skip(1)
        bits.skip(bits.u(1) * max((resolution - 1).bit_length(), 1))
        bits.skip(29)
        if bits.u(1):
            raise Unplannable("its pictures are interlaced")


class IntraOnly:
    """A codec whose every picture stands alone."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        return ALONE


class Mjpeg:
    """Motion JPEG: a picture stands alone if it brings its own quantization and Huffman tables."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        return ALONE if b"\xff\xdb" in data and b"\xff\xc4" in data else REFERENCE


class Vp8:
    """VP8, whose alternate reference pictures are packets that are not shown."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        if not data or not data[0] & 1:
            return ENTRY if data else HIDDEN
        return REFERENCE if data[0] & 0x10 else HIDDEN


def length_size(extradata: bytes, place: int) -> int | None:
    """Bytes of the length before each NAL unit, from `avcC` or `hvcC`; None: start codes (Annex B)."""
    return (extradata[place] & 3) + 1 if len(extradata) > place and extradata[0] == 1 else None


def nal_units(data: bytes, size_of_length: int | None) -> Iterator[bytes]:
    """The NAL units of a packet.

    Raises:
        Unplannable: if a length goes beyond the packet.
    """
    if size_of_length is None:
        yield from (unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:])
        return
    place = 0
    while place < len(data):
        begin = place + size_of_length
        place = begin + int.from_bytes(data[place:begin], "big")
        if place > len(data):
            raise Unplannable("a NAL unit goes beyond its packet")
        yield data[begin:place]


def payload(unit: bytes, begin: int) -> Bits:
    """The first bits after a NAL unit's header, without emulation prevention bytes."""
    return Bits(unit[begin : begin + 512].replace(b"\0\0\3", b"\0\0"))


LASTING_MESSAGES = frozenset({19, 47})
"""Supplemental enhancement information that holds for later pictures too, and that FFmpeg obeys: film grain, and the
display's orientation (H.264 §D.1, H.265 §D.2)."""


def refuse_lasting_messages(message: bytes) -> None:
    """Reads the kinds of messages in a NAL unit, without its header.

    Raises:
        Unplannable: if one holds for later pictures: it would be lost with a picture that is left out.
    """
    data, place = message.replace(b"\0\0\3", b"\0\0"), 0
    while place + 2 < len(data):
        kind, place = _sum_of_bytes(data, place)
        size, place = _sum_of_bytes(data, place)
        if kind in LASTING_MESSAGES:
            raise Unplannable("a message holds for many of its pictures")
        place += size


def _sum_of_bytes(data: bytes, place: int) -> tuple[int, int]:
    """A number as so many bytes of 255 and a smaller one, and the place after it."""
    total = 0
    while place < len(data):
        total += data[place]
        place += 1
        if data[place - 1] != 255:
            break
    return total, place


class H264:
    """H.264: IDR pictures, reference pictures, and pictures with `nal_ref_idc` 0, on which none depends."""

    SLICE, IDR, SEI, SPS, PPS, DELIMITER, FILLER = 1, 5, 6, 7, 8, 9, 12
    HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
    B, SLICE_TYPES = 1, 5

    def __init__(self, extradata: bytes, *, is_reordered: bool) -> None:
        self._length_size = length_size(extradata, 4)
        self._is_reordered = is_reordered
        self._frame_num_bits: int | None = None
        self._parameters = ParameterSets()
        for unit in nal_units(extradata, None) if self._length_size is None else self._configured(extradata):
            self._note_parameters(unit)

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        kinds, is_reference = set(), False
        for unit in filter(None, nal_units(data, self._length_size)):
            kind = unit[0] & 31
            kinds.add(kind)
            is_reference |= bool(unit[0] & 0x60)
            self._note_parameters(unit)
            if kind == self.SEI:
                refuse_lasting_messages(unit[1:])
            if kind in (self.SLICE, self.IDR):
                self._parameters.close()
                self._read_slice(payload(unit[:32], 1))
        if self.IDR in kinds and self.SLICE not in kinds:
            return ENTRY
        is_plain_slice = self.SLICE in kinds <= {self.SLICE, self.SEI, self.DELIMITER, self.FILLER}
        return DISPOSABLE if is_plain_slice and not is_reference else REFERENCE

    @staticmethod
    def _configured(extradata: bytes) -> Iterator[bytes]:
        """The parameter sets in `avcC`."""
        place = 5
        for mask in (31, 255):
            count, place = extradata[place] & mask if len(extradata) > place else 0, place + 1
            for _ in range(count):
                begin = place + 2
                place = begin + int.from_bytes(extradata[place:begin], "big")
                yield extradata[begin:place]

    def _note_parameters(self, unit: bytes) -> None:
        kind = unit[0] & 31 if unit else 0
        if kind in (self.SPS, self.PPS):
            self._parameters.note(unit, kind, payload(unit, 4 if kind == self.SPS else 1).ue())
        if kind == self.SPS:
            self._read_sps(unit)

    def _read_slice(self, bits: Bits) -> None:
        """Refuses fields: a packet may hold one of a frame, or both, and those are not told apart here."""
        bits.ue()
        if bits.ue() % self.SLICE_TYPES == self.B:
            refuse_unannounced_bidirectional(is_reordered=self._is_reordered)
        if self._frame_num_bits is not None:
            bits.ue()
            bits.skip(self._frame_num_bits)
            if bits.u(1):
                raise Unplannable("its pictures are fields")

    def _read_sps(self, unit: bytes) -> None:
        """Sets the bits of `frame_num` (with `colour_plane_id`) where pictures may be fields, else None."""
        bits = payload(unit, 1)
        profile, planes = bits.u(8), 0
        bits.skip(16)
        bits.ue()
        if profile in self.HIGH_PROFILES:
            planes = self._skip_chroma(bits)
        frame_num_bits = bits.ue() + 4
        self._skip_order_count(bits)
        bits.ue()
        bits.skip(1)
        bits.skip_ue(2)
        self._frame_num_bits = None if bits.u(1) else frame_num_bits + planes

    @staticmethod
    def _skip_chroma(bits: Bits) -> int:
        chroma_format = bits.ue()
        planes = 2 * bits.u(1) if chroma_format == 3 else 0
        bits.skip_ue(2)
        bits.skip(1)
        if bits.u(1):
            for index in range(12 if chroma_format == 3 else 8):
                if bits.u(1):
                    H264._skip_scaling_list(bits, 16 if index < 6 else 64)
        return planes

    @staticmethod
    def _skip_scaling_list(bits: Bits, size: int) -> None:
        last = following = 8
        for _ in range(size):
            if following:
                following = (last + bits.se()) % 256
            last = following or last

    @staticmethod
    def _skip_order_count(bits: Bits) -> None:
        kind = bits.ue()
        if kind == 0:
            bits.ue()
        elif kind == 1:
            bits.skip(1)
            bits.skip_ue(2)
            bits.skip_ue(bits.ue())


class Hevc:
    """HEVC: IRAP pictures, and sub-layer non-reference pictures of the highest sub-layer, on which none depends."""

    IRAP, SUB_LAYER_NON_REFERENCE = frozenset(range(16, 22)), frozenset(range(0, 16, 2))
    VIDEO, PARAMETERS, SPS, PPS = frozenset(range(32)), frozenset({32, 33, 34}), 33, 34
    ENDINGS, SEI, HARMLESS = frozenset({36, 37}), 39, frozenset({35, 38, 39, 40})
    DROPPING, NO_OUTPUT_OF_PRIOR_PICTURES = frozenset(range(16, 21)), 0x40

    def __init__(self, extradata: bytes) -> None:
        self._length_size = length_size(extradata, 21)
        self._highest_layer: int | None = None
        self._parameters = ParameterSets()
        self._has_ended = False
        for unit in nal_units(extradata, None) if self._length_size is None else self._configured(extradata):
            self._note_parameters(unit)

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        kinds, layers = set(), set()
        for unit in (unit for unit in nal_units(data, self._length_size) if len(unit) > 1):
            kind = unit[0] >> 1 & 63
            kinds.add(kind)
            self._note_parameters(unit)
            if kind == self.SEI:
                refuse_lasting_messages(unit[2:])
            if kind in self.DROPPING and unit[2:3] and unit[2] & self.NO_OUTPUT_OF_PRIOR_PICTURES:
                raise Unplannable("a picture drops those before it")
            if kind in self.VIDEO:
                self._begin_picture()
                layers.add((unit[1] & 7) - 1)
            self._has_ended |= kind in self.ENDINGS
        pictures = kinds & self.VIDEO
        if pictures and pictures <= self.IRAP:
            return ENTRY
        is_disposable = pictures <= self.SUB_LAYER_NON_REFERENCE and kinds - pictures <= self.HARMLESS
        return DISPOSABLE if pictures and is_disposable and layers == {self._highest_layer} else REFERENCE

    def _begin_picture(self) -> None:
        """After the end of a sequence, pictures that lead the next entry are not shown: that is not planned for."""
        self._parameters.close()
        if self._has_ended:
            raise Unplannable("a sequence of pictures ends within it")

    def _note_parameters(self, unit: bytes) -> None:
        kind = unit[0] >> 1 & 63 if len(unit) > 2 else None
        if kind in self.PARAMETERS:
            self._parameters.note(unit, kind, payload(unit, 2).ue() if kind == self.PPS else 0)
        if kind == self.SPS:
            self._highest_layer = unit[2] >> 1 & 7

    @staticmethod
    def _configured(extradata: bytes) -> Iterator[bytes]:
        """The parameter sets in `hvcC`."""
        place = 23
        for _ in range(int.from_bytes(extradata[22:23], "big")):
            count, place = int.from_bytes(extradata[place + 1 : place + 3], "big"), place + 3
            for _ in range(count):
                begin = place + 2
                place = begin + int.from_bytes(extradata[place:begin], "big")
                yield extradata[begin:place]


PER_FRAME = 2
"""AV1: each frame header chooses (`SELECT_SCREEN_CONTENT_TOOLS`, `SELECT_INTEGER_MV`)."""


@dataclass(frozen=True, slots=True)
class Av1Sequence:
    """What a sequence header says that frame headers need (§5.5)."""

    order_hint_bits: int
    screen_content_tools: int
    integer_motion_vectors: int

    @classmethod
    def read(cls, header: bytes) -> "Av1Sequence | None":
        """None for streams with features whose frame headers are not read here: timing, scalability, frame ids."""
        bits = Bits(header[:64].ljust(64, b"\0"))
        bits.skip(4)
        has_reduced_header, has_timing, has_display_delay = bits.u(1), bits.u(1), bits.u(1)
        if has_reduced_header or has_timing or bits.u(5):
            return None
        bits.skip(12)
        bits.skip(bits.u(5) > 7)
        if has_display_delay:
            bits.skip(4 * bits.u(1))
        width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
        bits.skip(width_bits, height_bits)
        if bits.u(1):
            return None
        bits.skip(7)
        has_order_hints = bits.u(1)
        bits.skip(2 * has_order_hints)
        tools = PER_FRAME if bits.u(1) else bits.u(1)
        vectors = PER_FRAME if not tools or bits.u(1) else bits.u(1)
        return cls(bits.u(3) + 1 if has_order_hints else 0, tools, vectors)


class Av1:
    """AV1: every frame header names the slots that the frame reads and writes; all state that it takes over from other
    frames (pixels, probabilities, motion vectors, segments, film grain) is in those slots."""

    SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6
    KEY, INTRA_ONLY, SWITCH = 0, 2, 3

    def __init__(self, extradata: bytes) -> None:
        self._sequence: Av1Sequence | None = None
        self._parameters = ParameterSets()
        self._key_slots = NO_SLOT
        self.read(extradata[4:], is_keyframe=False)

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:
        reads, writes, begins_with_key = NO_SLOT, NO_SLOT, None
        for kind, unit in _open_bitstream_units(data):
            if kind == self.SEQUENCE:
                self._parameters.note(unit)
                self._sequence = Av1Sequence.read(unit)
            elif kind in (self.FRAME_HEADER, self.FRAME):
                self._parameters.close()
                if self._sequence is None:
                    return ENTRY if is_keyframe else REFERENCE
                frame = self._frame(Bits(unit[:64].ljust(64, b"\0")), self._sequence)
                begins_with_key = frame.is_entry if begins_with_key is None else begins_with_key
                reads, writes = reads | (frame.reads - writes), writes | frame.writes
        return Picture(reads, writes, is_entry=bool(begins_with_key) and not reads)

    def _frame(self, bits: Bits, sequence: Av1Sequence) -> Picture:
        """One frame header (§5.9.2)."""
        if bits.u(1):
            slot = frozenset({bits.u(3)})
            return Picture(slot, ALL_SLOTS if slot <= self._key_slots else NO_SLOT)
        kind, is_shown = bits.u(2), bits.u(1)
        bits.skip(not is_shown)
        is_shown_key = kind == self.KEY and bool(is_shown)
        is_intra = kind in (self.KEY, self.INTRA_ONLY)
        is_resilient = kind == self.SWITCH or is_shown_key or bool(bits.u(1))
        bits.skip(1)
        tools = bits.u(1) if sequence.screen_content_tools == PER_FRAME else sequence.screen_content_tools
        bits.skip(bool(tools) and sequence.integer_motion_vectors == PER_FRAME)
        bits.skip(kind != self.SWITCH, sequence.order_hint_bits, 0 if is_intra or is_resilient else 3)
        writes = ALL_SLOTS if kind == self.SWITCH or is_shown_key else _slots_of_mask(bits.u(8))
        if is_resilient and (not is_intra or writes != ALL_SLOTS):
            bits.skip(8 * sequence.order_hint_bits)
        self._key_slots = self._key_slots | writes if kind == self.KEY else self._key_slots - writes
        reads = NO_SLOT if is_intra else self._named_slots(bits, sequence)
        return Picture(reads, writes, is_entry=is_shown_key)

    @staticmethod
    def _named_slots(bits: Bits, sequence: Av1Sequence) -> Slots:
        """Short signalling derives the slots from the order hints of all of them."""
        if sequence.order_hint_bits and bits.u(1):
            return ALL_SLOTS
        return frozenset(bits.u(3) for _ in range(7))


def _slots_of_mask(mask: int) -> Slots:
    return frozenset(slot for slot in range(8) if mask >> slot & 1)


def _open_bitstream_units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of each OBU (§5.3).

    Raises:
        Unplannable: if one goes beyond the packet.
    """
    place = 0
    while place < len(data):
        header = data[place]
        place += 2 if header & 4 else 1
        size = len(data) - place
        if header & 2:
            size, place = _leb128(data, place)
        if size < 0 or place + size > len(data):
            raise Unplannable("an OBU goes beyond its packet")
        yield header >> 3 & 15, data[place : place + size]
        place += size


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and the place after it (§4.10.5)."""
    value = 0
    for index, byte in enumerate(data[place : place + 8]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, place + index + 1
    raise Unplannable("a number has no end")
