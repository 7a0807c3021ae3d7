"""Pictures of AV1 (AV1 Bitstream & Decoding Process Specification §5.3, §5.5, §5.9)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

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
"""The value of `SELECT_SCREEN_CONTENT_TOOLS` and `SELECT_INTEGER_MV`: each frame header chooses (§3)."""


@dataclass(frozen=True, slots=True)
class Av1Sequence:
    """The fields of a sequence header that are needed to read frame headers (§5.5.1).

    Attributes:
        order_hint_bits: `OrderHintBits`; 0 without order hints.
        screen_content_tools: `seq_force_screen_content_tools`: 0, 1 or PER_FRAME.
        integer_motion_vectors: `seq_force_integer_mv`: 0, 1 or PER_FRAME.
    """

    order_hint_bits: int
    screen_content_tools: int
    integer_motion_vectors: int

    HIGHEST_LEVEL_WITHOUT_TIER: ClassVar = 7
    """Above this `seq_level_idx` the tier is coded (§5.5.1)."""

    @classmethod
    def read(cls, header: bytes) -> "Av1Sequence | None":
        """Reads sequence_header_obu (§5.5.1).

        Returns None for streams with features whose frame headers are not read here: reduced still picture headers,
        timing, several operating points, frame ids.
        """
        bits = Bits(header[:64].ljust(64, b"\0"))
        bits.skip(3, 1)  # seq_profile, still_picture
        has_reduced_header = bits.u(1)  # reduced_still_picture_header
        has_timing, has_display_delay = bits.u(1), bits.u(1)  # timing_info_, initial_display_delay_present_flag
        if has_reduced_header or has_timing or bits.u(5):  # operating_points_cnt_minus_1
            return None
        bits.skip(12)  # operating_point_idc
        if bits.u(5) > cls.HIGHEST_LEVEL_WITHOUT_TIER:  # seq_level_idx
            bits.skip(1)  # seq_tier
        if has_display_delay and bits.u(1):  # initial_display_delay_present_for_this_op
            bits.skip(4)  # initial_display_delay_minus_1
        width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1  # frame_width_, frame_height_bits_minus_1
        bits.skip(width_bits, height_bits)  # max_frame_width_minus_1, max_frame_height_minus_1
        if bits.u(1):  # frame_id_numbers_present_flag
            return None
        bits.skip(1, 1, 1)  # use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
        bits.skip(1, 1, 1, 1)  # enable_interintra_compound, _masked_compound, _warped_motion, _dual_filter
        has_order_hints = bits.u(1)  # enable_order_hint
        if has_order_hints:
            bits.skip(1, 1)  # enable_jnt_comp, enable_ref_frame_mvs
        # seq_choose_screen_content_tools, seq_force_screen_content_tools
        tools = PER_FRAME if bits.u(1) else bits.u(1)
        # seq_choose_integer_mv, seq_force_integer_mv
        vectors = PER_FRAME if not tools or bits.u(1) else bits.u(1)
        return cls(bits.u(3) + 1 if has_order_hints else 0, tools, vectors)  # order_hint_bits_minus_1


class Av1:
    """AV1: every frame header names the slots that the frame reads and writes.

    All state that a frame takes over from others (pixels, probabilities, motion vectors, segments, film grain) is in
    these slots (§7.20, §7.21). AV1 has no B-frames; frames whose slots are never read play their part.
    """

    SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6
    """Values of `obu_type` (§6.2.2)."""

    KEY, INTRA_ONLY, SWITCH = 0, 2, 3
    """Values of `frame_type` (§6.8.2)."""

    def __init__(self, extradata: bytes) -> None:
        self._sequence: Av1Sequence | None = None
        self._parameters = ParameterSets()
        self._key_slots = NO_SLOT
        self.read(extradata[4:], is_keyframe=False)  # configOBUs, after four bytes of fields (AV1 in ISO BMFF §2.3.3)

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
        """Reads uncompressed_header (§5.9.2)."""
        if bits.u(1):  # show_existing_frame
            slot = frozenset({bits.u(3)})  # frame_to_show_map_idx
            return Picture(slot, ALL_SLOTS if slot <= self._key_slots else NO_SLOT)
        kind, is_shown = bits.u(2), bits.u(1)  # frame_type, show_frame
        bits.skip(not is_shown)  # showable_frame
        is_shown_key = kind == self.KEY and bool(is_shown)
        is_intra = kind in (self.KEY, self.INTRA_ONLY)
        is_resilient = kind == self.SWITCH or is_shown_key or bool(bits.u(1))  # error_resilient_mode
        bits.skip(1)  # disable_cdf_update
        # allow_screen_content_tools
        tools = bits.u(1) if sequence.screen_content_tools == PER_FRAME else sequence.screen_content_tools
        bits.skip(bool(tools) and sequence.integer_motion_vectors == PER_FRAME)  # force_integer_mv
        bits.skip(kind != self.SWITCH)  # frame_size_override_flag
        bits.skip(sequence.order_hint_bits)  # order_hint
        bits.skip(0 if is_intra or is_resilient else 3)  # primary_ref_frame
        # refresh_frame_flags
        writes = ALL_SLOTS if kind == self.SWITCH or is_shown_key else _slots_of_mask(bits.u(8))
        if is_resilient and (not is_intra or writes != ALL_SLOTS):
            bits.skip(8 * sequence.order_hint_bits)  # ref_order_hint[ i ]
        self._key_slots = self._key_slots | writes if kind == self.KEY else self._key_slots - writes
        reads = NO_SLOT if is_intra else self._named_slots(bits, sequence)
        return Picture(reads, writes, is_entry=is_shown_key)

    @staticmethod
    def _named_slots(bits: Bits, sequence: Av1Sequence) -> Slots:
        """The slots that an inter frame reads; short signalling derives them from the order hints of all slots."""
        if sequence.order_hint_bits and bits.u(1):  # frame_refs_short_signaling
            return ALL_SLOTS
        return frozenset(bits.u(3) for _ in range(7))  # ref_frame_idx[ i ]


def _slots_of_mask(mask: int) -> Slots:
    return frozenset(slot for slot in range(8) if mask >> slot & 1)


def _open_bitstream_units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields `obu_type` and the payload of each OBU (§5.3).

    Raises:
        Unplannable: if an OBU goes beyond the packet.
    """
    place = 0
    while place < len(data):
        header = data[place]
        place += 2 if header & 4 else 1  # obu_extension_flag
        size = len(data) - place
        if header & 2:  # obu_has_size_field
            size, place = _leb128(data, place)
        if size < 0 or place + size > len(data):
            raise Unplannable("an OBU goes beyond its packet")
        yield header >> 3 & 15, data[place : place + size]
        place += size


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """Returns a number of 7 bits per byte, and the place after it (§4.10.5)."""
    value = 0
    for index, byte in enumerate(data[place : place + 8]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, place + index + 1
    raise Unplannable("a number has no end")
