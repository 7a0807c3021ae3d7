"""Pictures of AV1 (Bitstream & Decoding Process §5.5, §5.9)."""

from collections.abc import Iterator
from dataclasses import dataclass

from yt8m_pipeline.decoding.codings.bits import Bits
from yt8m_pipeline.decoding.codings.picture import (
    ALL_SLOTS,
    ENTRY,
    NO_SLOT,
    REFERENCE,
    ParameterSets,
    Picture,
    Slots,
    Unplannable,
)

PER_FRAME = 2
"""Each frame header chooses (`SELECT_SCREEN_CONTENT_TOOLS`, `SELECT_INTEGER_MV`)."""


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
