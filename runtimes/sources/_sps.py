"""A few fields of H.264 headers that FFmpeg does not hand out (ITU-T H.264, 7.3.2.1.1 and 7.3.3).

The bytes may come from anywhere. Whatever they hold, no loop runs longer than the standard allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_vss.video import Size

NAL_SLICE, NAL_IDR, NAL_SPS, NAL_PPS = 1, 5, 7, 8
NAL_PARTITIONS = (2, 3, 4)

_HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_MOST_CYCLE_OFFSETS = 255
"""num_ref_frames_in_pic_order_cnt_cycle is at most this (7.4.2.1.1)."""
_MOST_SPS_BYTES = 1024
"""Of a longer parameter set, no more is read. With every scaling list in it, one has about 600 bytes."""
_SLICE_START_BYTES = 32
"""More than the longest start of a slice header that is no nonsense: four Exp-Golomb codes and 36 bits."""


@dataclass(frozen=True)
class Cropping:
    """Which part of a coded picture is shown, in its pixels: rows from ``top`` to before ``bottom``, columns
    from ``left`` to before ``right``."""

    top: int
    bottom: int
    left: int
    right: int

    def corner_of(self, shown: Size) -> tuple[int, int]:
        """Row and column where a decoder's picture of this size begins. FFmpeg cuts off less at the left than
        it should, where that keeps rows aligned. (0, 0) for a picture that is not of this cropping."""
        row, column = self.bottom - shown[0], self.right - shown[1]
        return (row, column) if 0 <= row <= self.top and 0 <= column <= self.left else (0, 0)


@dataclass(frozen=True)
class SequenceParameters:
    """What one sequence parameter set says."""

    profile: int
    """profile_idc: 66 Baseline, 77 Main, 100 High."""

    log2_max_frame_num: int
    """Width of ``frame_num`` in bits, 4 to 16."""

    log2_max_order_count: int
    """Width of ``pic_order_cnt_lsb`` in bits, 4 to 16; 0 where slices do not have it."""

    max_references: int
    """max_num_ref_frames: 1 means that a motion vector can only point to one frame."""

    gaps_allowed: bool
    """True where the encoder may skip values of ``frame_num`` (temporal layers): a gap is then no loss."""

    frames_only: bool
    """False where a picture may be a field, which a flag in the slice header says."""

    separate_planes: bool
    """True where the three colour planes are coded apart, which adds two bits to the slice header."""

    size: Size
    """Coded height and width in pixels, before cropping."""

    cropping: Cropping | None = None
    """What is shown of it; None where all is."""


@dataclass(frozen=True)
class SliceStart:
    """The first fields of a picture's first slice."""

    idr: bool
    """True where nothing before this picture is needed to decode what follows."""

    reference: bool
    """True where later pictures may use this one (nal_ref_idc)."""

    frame_num: int
    """Counts reference frames, modulo 2 ** log2_max_frame_num."""

    order_count: int | None
    """Counts pictures in the order of showing, modulo 2 ** log2_max_order_count; None for a field, and where
    the slice does not say it."""


class Bits:
    """Reads a payload bit by bit. Raises IndexError at its end."""

    def __init__(self, nal: bytes) -> None:
        # 00 00 03 stands for 00 00 (7.4.1.1): the 03 keeps a payload from looking like a start code.
        self.data = nal.replace(b"\x00\x00\x03", b"\x00\x00")
        self.position = 0

    def flag(self) -> bool:
        return bool(self.number(1))

    def number(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte = self.data[self.position >> 3]
            value = value << 1 | (byte >> (7 - (self.position & 7))) & 1
            self.position += 1
        return value

    def golomb(self) -> int:
        """Unsigned Exp-Golomb, ue(v)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise IndexError("no Exp-Golomb code has more than 32 leading zeros")
        return (1 << zeros) - 1 + self.number(zeros)

    def signed_golomb(self) -> int:
        """Signed Exp-Golomb, se(v)."""
        code = self.golomb()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def nal_units(data: bytes, length_bytes: int = 0) -> Iterator[bytes]:
    """NAL units of an access unit, header byte first.

    ``length_bytes`` is the size of the length before each unit (AVC files), or 0 for Annex B start codes.
    """
    if length_bytes:
        position = 0
        while position + length_bytes < len(data):
            begin = position + length_bytes
            position = begin + int.from_bytes(data[position:begin], "big")
            if data[begin:position]:
                yield data[begin:position]
        return
    begin = data.find(b"\x00\x00\x01")
    while begin >= 0:
        end = data.find(b"\x00\x00\x01", begin + 3)
        unit = data[begin + 3 : end if end >= 0 else len(data)].rstrip(b"\x00")
        if unit:
            yield unit
        begin = end


def length_bytes(extradata: bytes) -> int:
    """Bytes of a NAL unit's length prefix: from an avcC record (ISO/IEC 14496-15), or 0 for Annex B."""
    return (extradata[4] & 3) + 1 if len(extradata) >= 7 and extradata[0] == 1 else 0


def parameter_sets(extradata: bytes) -> list[bytes]:
    """The SPS and PPS NAL units in a decoder's extradata (avcC or Annex B)."""
    if length_bytes(extradata):
        units, position = list[bytes](), 5
        for count_mask in (31, 255):
            count = extradata[position] & count_mask if position < len(extradata) else 0
            position += 1
            for _ in range(count):
                begin = position + 2
                position = begin + int.from_bytes(extradata[position:begin], "big")
                units.append(extradata[begin:position])
    else:
        units = list(nal_units(extradata))
    return [unit for unit in units if unit and unit[0] & 31 in (NAL_SPS, NAL_PPS)]


def sps_units(extradata: bytes) -> list[bytes]:
    """The SPS NAL units in a decoder's extradata (avcC or Annex B)."""
    return [unit for unit in parameter_sets(extradata) if unit[0] & 31 == NAL_SPS]


def read_extradata(extradata: bytes) -> SequenceParameters | None:
    """The first sequence parameter set in a decoder's extradata, or None."""
    return next(map(read_sps, sps_units(extradata)), None)


def read_sps(nal: bytes) -> SequenceParameters | None:
    """One SPS NAL unit, header byte first; None where it is cut short or makes no sense."""
    bits = Bits(nal[1:_MOST_SPS_BYTES])
    try:
        profile = bits.number(8)
        bits.number(16)
        bits.golomb()
        chroma, separate_planes = _skip_high_profile(bits) if profile in _HIGH_PROFILES else (1, False)
        log2_max_frame_num = bits.golomb() + 4
        order_count_type = bits.golomb()
        log2_max_order_count = 0
        if order_count_type == 0:
            log2_max_order_count = bits.golomb() + 4
        elif order_count_type == 1:
            bits.number(1)
            bits.signed_golomb()
            bits.signed_golomb()
            cycle = bits.golomb()
            if cycle > _MOST_CYCLE_OFFSETS:
                return None
            for _ in range(cycle):
                bits.signed_golomb()
        max_references = bits.golomb()
        gaps_allowed = bits.flag()
        width, rows, frames_only = bits.golomb() + 1, bits.golomb() + 1, bits.flag()
    except IndexError:
        return None
    if max(log2_max_frame_num, log2_max_order_count, max_references) > 16 or order_count_type > 2:
        return None
    size = (rows * 16 * (1 if frames_only else 2), width * 16)
    return SequenceParameters(
        profile,
        log2_max_frame_num,
        log2_max_order_count,
        max_references,
        gaps_allowed,
        frames_only,
        separate_planes,
        size,
        _read_cropping(bits, size, 0 if separate_planes else chroma, frames_only),
    )


def _read_cropping(bits: Bits, size: Size, chroma: int, frames_only: bool) -> Cropping | None:
    """The cropping rectangle, whose units are those of the chroma (7.4.2.1.1); None where there is none."""
    try:
        bits.number(1 if frames_only else 2)
        if not bits.flag():
            return None
        left, right, top, bottom = (bits.golomb() for _ in range(4))
    except IndexError:
        return None
    across = 2 if chroma in (1, 2) else 1
    down = (2 if chroma == 1 else 1) * (1 if frames_only else 2)
    return Cropping(down * top, size[0] - down * bottom, across * left, size[1] - across * right)


def _skip_high_profile(bits: Bits) -> tuple[int, bool]:
    """Reads past the fields that only the high profiles have; returns chroma_format_idc and
    separate_colour_plane_flag."""
    chroma = bits.golomb()
    separate = bits.flag() if chroma == 3 else False
    bits.golomb()
    bits.golomb()
    bits.number(1)
    if bits.flag():
        for index in range(12 if chroma == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma, separate


def _skip_scaling_list(bits: Bits, count: int) -> None:
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + bits.signed_golomb()) & 255
        last = following or last


def read_slice_type(nal: bytes) -> int | None:
    """slice_type of a slice NAL unit, header byte first (table 7-6): 0 P, 1 B, 2 I, and five more where all
    slices of the picture have that type. None where it is cut short."""
    bits = Bits(nal[1:_SLICE_START_BYTES])
    try:
        bits.golomb()
        return bits.golomb()
    except IndexError:
        return None


def read_slice_start(nal: bytes, sps: SequenceParameters) -> SliceStart | None:
    """The start of a slice NAL unit, header byte first; None for other NAL units and for one cut short."""
    kind = nal[0] & 31
    if kind not in (NAL_SLICE, NAL_IDR):
        return None
    bits = Bits(nal[1:_SLICE_START_BYTES])
    try:
        for _ in range(3):
            bits.golomb()
        if sps.separate_planes:
            bits.number(2)
        frame_num = bits.number(sps.log2_max_frame_num)
        field = not sps.frames_only and bits.flag()
        if field:
            bits.flag()
        if kind == NAL_IDR:
            bits.golomb()
        order_count = bits.number(sps.log2_max_order_count) if sps.log2_max_order_count else None
    except IndexError:
        return None
    return SliceStart(kind == NAL_IDR, bool(nal[0] & 0x60), frame_num, None if field else order_count)
