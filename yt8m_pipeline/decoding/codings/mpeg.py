"""Pictures of MPEG-1 and MPEG-2 (ISO/IEC 13818-2 §6.2, §6.3), and of MPEG-4 Part 2 (ISO/IEC 14496-2 §6.2, §6.3)."""

import re

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


class Mpeg2:
    """MPEG-1 and MPEG-2: B-frames are no references and can be left out.

    Quantization matrices hold on until the next sequence header. So an entry must have one, and a picture that brings
    matrices cannot be left out.
    """

    SEQUENCE_HEADER, PICTURE_HEADER, B = b"\0\0\1\xb3", b"\0\0\1\0", 3
    """Start codes (§6.2.1), and the `picture_coding_type` of B-pictures (§6.3.9)."""

    MATRICES = re.compile(rb"\x00\x00\x01(\xb3|\xb5[\x30-\x3f])")
    """A sequence header, or an extension with the identifier 3, which is the quant matrix extension (§6.2.3.2)."""

    def __init__(self, *, is_reordered: bool) -> None:
        self._is_reordered = is_reordered

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:
        if is_keyframe and self.SEQUENCE_HEADER in data:
            return ENTRY
        # picture_header (§6.2.3): temporal_reference has 10 bits, picture_coding_type the next 3
        kinds = {header[1] >> 3 & 7 for header in data.split(self.PICTURE_HEADER)[1:] if len(header) > 1}
        if self.B in kinds:
            refuse_unannounced_bidirectional(is_reordered=self._is_reordered)
        return DISPOSABLE if kinds == {self.B} and not self.MATRICES.search(data) else REFERENCE


class Mpeg4:
    """MPEG-4 Part 2: B-frames (B-VOPs) are no references and can be left out.

    FFmpeg scales the motion of interlaced B-VOPs by the first one that it meets, so none can be left out of interlaced
    videos.
    """

    LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f].*?(?=\x00\x00\x01|\Z)", re.DOTALL)
    """A video object layer from its start code to the next one (§6.2.1, §6.2.3)."""

    VOP, B = b"\0\0\1\xb6", 2
    """The start code of a video object plane, and the `vop_coding_type` of B-VOPs (§6.3.5)."""

    EXTENDED_PAR = 15
    """The `aspect_ratio_info` that is followed by a pixel aspect ratio (§6.3.3)."""

    def __init__(self, extradata: bytes, *, is_reordered: bool) -> None:
        self._is_reordered = is_reordered
        self._parameters = ParameterSets()
        self._note_layers(extradata)

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:
        self._note_layers(data)
        self._parameters.close()
        if is_keyframe:
            return ENTRY
        kinds = {vop[0] >> 6 for vop in data.split(self.VOP)[1:] if vop}  # vop_coding_type, 2 bits (§6.2.5)
        if self.B in kinds:
            refuse_unannounced_bidirectional(is_reordered=self._is_reordered)
        return DISPOSABLE if kinds == {self.B} and data.startswith(self.VOP) else REFERENCE

    def _note_layers(self, data: bytes) -> None:
        for layer in self.LAYER.finditer(data):
            self._parameters.note(layer[0].rstrip(b"\0"), number=layer[0][3])
            self._refuse_interlaced(Bits(layer[0][4:64]))

    @staticmethod
    def _refuse_interlaced(bits: Bits) -> None:
        """Reads the header of a VideoObjectLayer (§6.2.3) up to `interlaced`."""
        bits.skip(1, 8)  # random_accessible_vol, video_object_type_indication
        if bits.u(1):  # is_object_layer_identifier
            bits.skip(4, 3)  # video_object_layer_verid, video_object_layer_priority
        if bits.u(4) == Mpeg4.EXTENDED_PAR:  # aspect_ratio_info
            bits.skip(8, 8)  # par_width, par_height
        if bits.u(1):  # vol_control_parameters
            bits.skip(2, 1)  # chroma_format, low_delay
            if bits.u(1):  # vbv_parameters
                bits.skip(15, 1, 15, 1)  # the halves of bit_rate, with their marker_bits
                bits.skip(15, 1, 3)  # the halves of vbv_buffer_size, with a marker_bit
                bits.skip(11, 1, 15, 1)  # the halves of vbv_occupancy, with their marker_bits
        if bits.u(2):  # video_object_layer_shape; 0 is rectangular
            raise Unplannable("its pictures are not rectangular")
        bits.skip(1)  # marker_bit
        resolution = bits.u(16)  # vop_time_increment_resolution
        bits.skip(1)  # marker_bit
        if bits.u(1):  # fixed_vop_rate
            bits.skip(max((resolution - 1).bit_length(), 1))  # fixed_vop_time_increment
        bits.skip(1, 13, 1, 13, 1)  # video_object_layer_width and _height, between marker_bits
        if bits.u(1):  # interlaced
            raise Unplannable("its pictures are interlaced")
