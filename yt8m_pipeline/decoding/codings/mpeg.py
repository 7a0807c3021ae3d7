"""Pictures of MPEG-1 and MPEG-2 (ISO/IEC 13818-2 §6.3), and of MPEG-4 Part 2 (ISO/IEC 14496-2 §6.3.5)."""

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
