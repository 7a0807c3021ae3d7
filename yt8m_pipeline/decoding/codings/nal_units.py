"""Pictures in NAL units: H.264 (ITU-T H.264 §7.3, §7.4) and HEVC (ITU-T H.265 §7.3, §7.4), in MP4 and elsewhere
(ISO/IEC 14496-15 §5.3, §8.3)."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from yt8m_pipeline.decoding.codings.bits import Bits
from yt8m_pipeline.decoding.codings.picture import (
    DISPOSABLE,
    ENTRY,
    REFERENCE,
    ParameterSets,
    Picture,
    Unplannable,
    refuse_unannounced_bidirectional,
)


def length_size(extradata: bytes, place: int) -> int | None:
    """Returns how many bytes the length before each NAL unit has, from `lengthSizeMinusOne` in `avcC` or `hvcC`; None:
    the units follow start codes instead (Annex B)."""
    return (extradata[place] & 3) + 1 if len(extradata) > place and extradata[0] == 1 else None


def nal_units(data: bytes, size_of_length: int | None) -> Iterator[bytes]:
    """Yields the NAL units of a packet.

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


PARAMETER_BYTES, SLICE_BYTES = 4096, 32
"""The fields of a parameter set and of a slice header that are read here fit in this many bytes, with emulation
prevention bytes: 480 scaling factors of at most 17 bits and 255 offsets of 63 are 3 KB (ITU-T H.264 §7.3.2.1.1)."""


def payload(unit: bytes, begin: int, end: int = PARAMETER_BYTES) -> Bits:
    """Returns the bits of a NAL unit from byte `begin` to `end`, without emulation prevention bytes (§7.3.1)."""
    return Bits(unit[begin:end].replace(b"\0\0\3", b"\0\0"))


LASTING_MESSAGES = frozenset({19, 47})
"""These messages of supplemental enhancement information hold for later pictures too, and FFmpeg obeys them: film
grain characteristics and display orientation (ITU-T H.264 §D.1, ITU-T H.265 §D.2)."""


def refuse_lasting_messages(message: bytes) -> None:
    """Reads the `payloadType` of each message in an SEI NAL unit without its header (§7.3.2.3.1).

    Raises:
        Unplannable: if a message holds for later pictures: it would be lost with a picture that is left out.
    """
    data, place = message.replace(b"\0\0\3", b"\0\0"), 0
    while place + 2 < len(data):
        kind, place = _sum_of_bytes(data, place)
        size, place = _sum_of_bytes(data, place)
        if kind in LASTING_MESSAGES:
            raise Unplannable("a message holds for many of its pictures")
        place += size


def _sum_of_bytes(data: bytes, place: int) -> tuple[int, int]:
    """Returns a number that is coded as bytes of 255 and a smaller one, and the place after it."""
    total = 0
    while place < len(data):
        total += data[place]
        place += 1
        if data[place - 1] != 255:
            break
    return total, place


class OrderCounts:
    """Picture order counts of which headers tell the lowest bits only (ITU-T H.264 §8.2.1.1, ITU-T H.265 §8.3.1)."""

    def __init__(self) -> None:
        self._sequence = self._before = 0

    def restart(self) -> None:
        """Begins a new coded sequence: its pictures are put out after all before."""
        self._sequence, self._before = self._sequence + 1, 0

    def count(self, lowest: int, bits: int, *, is_reference: bool) -> tuple[int, int]:
        """Returns the number of the coded sequence, and the count that is nearest to that of the last reference."""
        size = 1 << bits
        count = lowest + (self._before - lowest + size // 2) // size * size
        if is_reference:
            self._before = count
        return self._sequence, count


@dataclass(frozen=True, slots=True)
class H264Sequence:
    """The fields of an H.264 sequence parameter set that are needed to read slice headers.

    Attributes:
        plane_bits: The bits of `colour_plane_id`; 0 where it is not coded.
        frame_num_bits: The bits of `frame_num`.
        order_count_bits: The bits of `pic_order_cnt_lsb`; 0 where it is not coded.
        may_have_fields: Whether slice headers have a `field_pic_flag`.
    """

    plane_bits: int
    frame_num_bits: int
    order_count_bits: int
    may_have_fields: bool


class H264:
    """H.264: decoding begins at IDR pictures, and pictures with `nal_ref_idc` 0 can be left out: they are the B-frames
    (and other pictures) that no other depends on."""

    SLICE, IDR, SEI, SPS, PPS, DELIMITER, FILLER = 1, 5, 6, 7, 8, 9, 12
    """Values of `nal_unit_type` (Table 7-1)."""

    SLICES, LONE = frozenset({SLICE, IDR}), frozenset({SLICE, SEI, DELIMITER, FILLER})
    """Values of `nal_unit_type`: slices; what a picture may consist of that can be left out."""

    HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
    """The values of `profile_idc` whose sequence parameter sets tell the chroma format (§7.3.2.1.1)."""

    B, SLICE_TYPES = 1, 5
    """B-slices have a `slice_type` that is 1 modulo 5 (Table 7-6)."""

    def __init__(self, extradata: bytes, *, is_reordered: bool) -> None:
        self._length_size = length_size(extradata, 4)
        self._is_reordered = is_reordered
        self._sequence: H264Sequence | None = None
        self._frame_num: int | None = None
        self._parameters, self._orders = ParameterSets(), OrderCounts()
        for unit in nal_units(extradata, None) if self._length_size is None else self._configured(extradata):
            self._note_parameters(unit)

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        kinds, is_reference, order = set[int](), False, None
        for unit in filter(None, nal_units(data, self._length_size)):
            kind = unit[0] & 0x1F  # nal_unit_type, after forbidden_zero_bit and nal_ref_idc (H.264 §7.3.1)
            is_reference |= bool(unit[0] & 0x60)  # nal_ref_idc
            if kind in self.SLICES:
                self._parameters.close()
                slice_header = payload(unit, 1, SLICE_BYTES)
                self._check_slice_type(slice_header)
                if kinds.isdisjoint(self.SLICES):  # the slices of a picture have the same numbers
                    order = self._order(unit, self._read_numbers(slice_header, is_idr=kind == self.IDR))
            elif kind == self.SEI:
                refuse_lasting_messages(unit[1:])
            else:
                self._note_parameters(unit)
            kinds.add(kind)
        if self.IDR in kinds and self.SLICE not in kinds:
            return ENTRY.at(order)
        is_disposable = not is_reference and self.SLICE in kinds <= self.LONE
        return (DISPOSABLE if is_disposable else REFERENCE).at(order)

    def _order(self, unit: bytes, numbers: tuple[int, int] | None) -> tuple[int, int] | None:
        """Returns the order of a picture, from its first slice. It is called once for each.

        A slice whose `frame_num` is not the one after the last reference's (§7.4.3) is damaged or follows a gap: its
        order is not believed.
        """
        if unit[0] & 31 == self.IDR:
            self._orders.restart()
            self._frame_num = None
        if numbers is None or self._sequence is None:
            return None
        (frame_num, lowest), is_reference = numbers, bool(unit[0] & 0x60)
        is_next = self._frame_num is None or frame_num == (self._frame_num + 1) % (1 << self._sequence.frame_num_bits)
        if is_reference:
            self._frame_num = frame_num
        if not is_next:
            return None
        return self._orders.count(lowest, self._sequence.order_count_bits, is_reference=is_reference)

    @staticmethod
    def _configured(extradata: bytes) -> Iterator[bytes]:
        """Yields the parameter sets in `avcC` (ISO/IEC 14496-15 §5.3.3.1.2)."""
        place = 5
        for mask in (31, 255):  # numOfSequenceParameterSets has 5 bits, numOfPictureParameterSets 8
            count, place = extradata[place] & mask if len(extradata) > place else 0, place + 1
            for _ in range(count):
                begin = place + 2
                place = begin + int.from_bytes(extradata[place:begin], "big")
                yield extradata[begin:place]

    def _note_parameters(self, unit: bytes) -> None:
        kind = unit[0] & 31 if unit else 0
        if kind in (self.SPS, self.PPS):  # their ids follow profile and level (3 bytes), or the NAL unit's header
            self._parameters.note(unit, kind, payload(unit, 4 if kind == self.SPS else 1).ue())
        if kind == self.SPS:
            self._read_sps(unit)

    def _check_slice_type(self, bits: Bits) -> None:
        """Reads slice_header (§7.3.3) up to `slice_type`."""
        bits.ue()  # first_mb_in_slice
        if bits.ue() % self.SLICE_TYPES == self.B:  # slice_type
            refuse_unannounced_bidirectional(is_reordered=self._is_reordered)

    def _read_numbers(self, bits: Bits, *, is_idr: bool) -> tuple[int, int] | None:
        """Reads slice_header on, up to `pic_order_cnt_lsb`, and refuses fields.

        A packet may hold one field of a frame, or both, and those are not told apart here.

        Returns:
            `frame_num` and `pic_order_cnt_lsb`; None where the latter is not coded.
        """
        if self._sequence is None:
            return None
        bits.ue()  # pic_parameter_set_id
        bits.u(self._sequence.plane_bits)  # colour_plane_id
        frame_num = bits.u(self._sequence.frame_num_bits)
        if self._sequence.may_have_fields and bits.u(1):  # field_pic_flag
            raise Unplannable("its pictures are fields")
        if not self._sequence.order_count_bits:
            return None
        if is_idr:
            bits.ue()  # idr_pic_id
        return frame_num, bits.u(self._sequence.order_count_bits)  # pic_order_cnt_lsb

    def _read_sps(self, unit: bytes) -> None:
        """Reads seq_parameter_set_data (§7.3.2.1.1) up to `frame_mbs_only_flag`."""
        bits = payload(unit, 1)
        profile, planes = bits.u(8), 0  # profile_idc
        bits.skip(8, 8)  # constraint_set flags, level_idc
        bits.ue()  # seq_parameter_set_id
        if profile in self.HIGH_PROFILES:
            planes = self._skip_chroma(bits)
        frame_num_bits = bits.ue() + 4  # log2_max_frame_num_minus4
        order_count_bits = self._read_order_count(bits)
        bits.ue()  # max_num_ref_frames
        bits.skip(1)  # gaps_in_frame_num_value_allowed_flag
        bits.skip_ue(2)  # pic_width_in_mbs_minus1, pic_height_in_map_units_minus1
        may_have_fields = not bits.u(1)  # frame_mbs_only_flag
        self._sequence = H264Sequence(planes, frame_num_bits, order_count_bits, may_have_fields)

    @staticmethod
    def _skip_chroma(bits: Bits) -> int:
        """Returns how many bits `colour_plane_id` has in slice headers."""
        chroma_format = bits.ue()  # chroma_format_idc; 3 is 4:4:4
        planes = 2 * bits.u(1) if chroma_format == 3 else 0  # separate_colour_plane_flag
        bits.skip_ue(2)  # bit_depth_luma_minus8, bit_depth_chroma_minus8
        bits.skip(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.u(1):  # seq_scaling_matrix_present_flag
            for index in range(12 if chroma_format == 3 else 8):
                if bits.u(1):  # seq_scaling_list_present_flag[ i ]
                    H264._skip_scaling_list(bits, 16 if index < 6 else 64)
        return planes

    @staticmethod
    def _skip_scaling_list(bits: Bits, size: int) -> None:
        """Passes over scaling_list (§7.3.2.1.1.1)."""
        last = following = 8
        for _ in range(size):
            if following:
                following = (last + bits.se()) % 256  # delta_scale
            last = following or last

    @staticmethod
    def _read_order_count(bits: Bits) -> int:
        """Returns how many bits `pic_order_cnt_lsb` has in slice headers; 0 where it is not there."""
        kind = bits.ue()  # pic_order_cnt_type
        if kind == 0:
            return bits.ue() + 4  # log2_max_pic_order_cnt_lsb_minus4
        if kind == 1:
            bits.skip(1)  # delta_pic_order_always_zero_flag
            bits.skip_ue(2)  # offset_for_non_ref_pic, offset_for_top_to_bottom_field
            bits.skip_ue(bits.ue())  # offset_for_ref_frame[ i ] for i < num_ref_frames_in_pic_order_cnt_cycle
        return 0


class Hevc:
    """HEVC: decoding begins at IRAP pictures, and sub-layer non-reference pictures of the highest sub-layer can be left
    out: they are the B-frames (and other pictures) that no other depends on."""

    IRAP, SUB_LAYER_NON_REFERENCE = frozenset(range(16, 22)), frozenset(range(0, 16, 2))
    """Values of `nal_unit_type` (Table 7-1): BLA, IDR and CRA pictures; pictures whose name ends in _N."""

    RANDOM_ACCESS, IDR, LEADING = frozenset(range(16, 24)), frozenset({19, 20}), frozenset(range(6, 10))
    """Values of `nal_unit_type`: with `no_output_of_prior_pics_flag`; IDR pictures; RADL and RASL pictures."""

    VIDEO, PARAMETERS, SPS, PPS = frozenset(range(32)), frozenset({32, 33, 34}), 33, 34
    """Values of `nal_unit_type`: slices; video, sequence and picture parameter sets."""

    ENDINGS, SEI, HARMLESS = frozenset({36, 37}), 39, frozenset({35, 38, 39, 40})
    """Values of `nal_unit_type`: ends of a sequence and of the bitstream; prefix SEI; delimiter, filler data, SEI."""

    DROPPING, NO_OUTPUT_OF_PRIOR_PICTURES = frozenset(range(16, 21)), 0x40
    """BLA and IDR pictures have `no_output_of_prior_pics_flag`, the second bit of their slice headers (§7.3.6.1)."""

    def __init__(self, extradata: bytes) -> None:
        self._length_size = length_size(extradata, 21)
        self._highest_layer: int | None = None
        self._parameters, self._orders = ParameterSets(), OrderCounts()
        self._order_count_bits = 0
        self._slice_bits: dict[int, int] = {}
        self._has_ended = False
        for unit in nal_units(extradata, None) if self._length_size is None else self._configured(extradata):
            self._note_parameters(unit)

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:  # noqa: ARG002
        kinds, layers, order = set(), set(), None
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
                layers.add((unit[1] & 7) - 1)  # nuh_temporal_id_plus1
                order = self._order(unit, kind) if order is None else order
            self._has_ended |= kind in self.ENDINGS
        pictures = kinds & self.VIDEO
        if pictures and pictures <= self.IRAP:
            return ENTRY.at(order)
        is_disposable = pictures <= self.SUB_LAYER_NON_REFERENCE and kinds - pictures <= self.HARMLESS
        is_disposable &= bool(pictures) and layers == {self._highest_layer}
        return (DISPOSABLE if is_disposable else REFERENCE).at(order)

    def _order(self, unit: bytes, kind: int) -> tuple[int, int] | None:
        """Reads the first slice_segment_header of a picture (§7.3.6.1) up to `slice_pic_order_cnt_lsb`."""
        if kind in self.DROPPING:
            self._orders.restart()
        bits = payload(unit, 2, SLICE_BYTES)
        with suppress(Unplannable):
            bits.skip(1, kind in self.RANDOM_ACCESS)  # first_slice_segment_in_pic_flag, no_output_of_prior_pics_flag
            parameters = bits.ue()  # slice_pic_parameter_set_id
            if not self._order_count_bits or parameters not in self._slice_bits:
                return None
            extra, is_output_told = divmod(self._slice_bits[parameters], 2)
            bits.skip(extra)  # slice_reserved_flag[ i ]
            bits.ue()  # slice_type
            bits.skip(is_output_told)  # pic_output_flag
            lowest = 0 if kind in self.IDR else bits.u(self._order_count_bits)  # slice_pic_order_cnt_lsb
            is_reference = unit[1] & 7 == 1 and kind not in self.LEADING and kind not in self.SUB_LAYER_NON_REFERENCE
            return self._orders.count(lowest, self._order_count_bits, is_reference=is_reference)
        return None

    def _begin_picture(self) -> None:
        """Refuses pictures after the end of a sequence: those that lead the next entry are not shown (§8.1.3)."""
        self._parameters.close()
        if self._has_ended:
            raise Unplannable("a sequence of pictures ends within it")

    def _note_parameters(self, unit: bytes) -> None:
        kind = unit[0] >> 1 & 63 if len(unit) > 2 else None
        if kind in self.PARAMETERS:
            self._parameters.note(unit, kind, payload(unit, 2).ue() if kind == self.PPS else 0)
        if kind == self.SPS:
            self._highest_layer = unit[2] >> 1 & 7  # sps_max_sub_layers_minus1 (§7.3.2.2.1)
            self._order_count_bits = 0
            with suppress(Unplannable):
                self._order_count_bits = self._read_sps(payload(unit, 2))
        if kind == self.PPS:
            with suppress(Unplannable):
                self._read_pps(payload(unit, 2))

    @staticmethod
    def _read_sps(bits: Bits) -> int:
        """Reads seq_parameter_set_rbsp (§7.3.2.2.1) up to `log2_max_pic_order_cnt_lsb_minus4`.

        Returns how many bits `slice_pic_order_cnt_lsb` has; 0 where colour planes are separate, which is not read.
        """
        bits.skip(4)  # sps_video_parameter_set_id
        sub_layers = bits.u(3)  # sps_max_sub_layers_minus1
        bits.skip(1, 88, 8)  # sps_temporal_id_nesting_flag, the general profile and level (§7.3.3)
        present = [bits.u(2) for _ in range(sub_layers)]  # sub_layer_profile_, sub_layer_level_present_flag
        bits.skip(2 * (8 - sub_layers) if sub_layers else 0)  # reserved_zero_2bits
        bits.skip(*(88 * (flags >> 1) + 8 * (flags & 1) for flags in present))  # sub-layer profiles and levels
        bits.ue()  # sps_seq_parameter_set_id
        if bits.ue() == 3 and bits.u(1):  # chroma_format_idc, separate_colour_plane_flag
            return 0
        bits.skip_ue(2)  # pic_width_, pic_height_in_luma_samples
        bits.skip_ue(4 * bits.u(1))  # conformance_window_flag and its four offsets
        bits.skip_ue(2)  # bit_depth_luma_minus8, bit_depth_chroma_minus8
        return bits.ue() + 4  # log2_max_pic_order_cnt_lsb_minus4

    def _read_pps(self, bits: Bits) -> None:
        """Reads pic_parameter_set_rbsp (§7.3.2.3.1) up to `num_extra_slice_header_bits`."""
        number = bits.ue()  # pps_pic_parameter_set_id
        bits.ue()  # pps_seq_parameter_set_id
        bits.skip(1)  # dependent_slice_segments_enabled_flag
        is_output_told = bits.u(1)  # output_flag_present_flag
        self._slice_bits[number] = 2 * bits.u(3) + is_output_told  # num_extra_slice_header_bits

    @staticmethod
    def _configured(extradata: bytes) -> Iterator[bytes]:
        """Yields the parameter sets in `hvcC` (ISO/IEC 14496-15 §8.3.3.1.2)."""
        place = 23  # of the arrays, after the fields of fixed size, the last of which is numOfArrays
        for _ in range(int.from_bytes(extradata[22:23], "big")):  # numOfArrays; each begins with a kind and a count
            count, place = int.from_bytes(extradata[place + 1 : place + 3], "big"), place + 3
            for _ in range(count):
                begin = place + 2
                place = begin + int.from_bytes(extradata[place:begin], "big")
                yield extradata[begin:place]
