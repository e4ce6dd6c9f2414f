"""HEVC's picture order count (ITU-T H.265, 7.3.1 and 7.4.7.1).

It tells that a picture is missing which nothing refers to. Which references are missing, the decoder says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._picture_numbers import NO_STEP, PictureNumber, nearest

_SEQUENCE, _PICTURE = 33, 34
_BEGINS = frozenset({16, 17, 18, 19, 20})
"""Broken links and instantaneous refreshes: pictures before mean nothing to those after."""
_REFRESHES = (19, 20)
_RANDOM_ACCESS = range(16, 24)
_SLICES = 32
"""NAL unit types below are slices."""
_LEADING_OR_UNUSED = frozenset({0, 2, 4, 6, 7, 8, 9, 10, 12, 14})
"""Pictures that counting does not go by: those that lead, and those that no picture of their layer uses."""
_MOST_BYTES = 256
"""More than lies before what is read in a parameter set."""


@dataclass(frozen=True)
class _Sequence:
    log2_max_order_count: int
    separate_planes: bool


@dataclass(frozen=True)
class _Parameters:
    sequence: int
    output_flag: bool
    extra_bits: int


class Hevc:
    """Reads picture order counts. As Numbering says."""

    step = NO_STEP
    references = 0
    cropping = None

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = length_bytes(extradata)
        self._sequences: dict[int, _Sequence] = {}
        self._parameters: dict[int, _Parameters] = {}
        units = of_record(extradata) if self._length_bytes else sps.nal_units(extradata)
        for unit in units:
            self._read_parameters(unit)
        self.restart()

    def restart(self) -> None:
        """As Numbering says."""
        self._order: int | None = None

    def read(self, data: bytes) -> PictureNumber | None:
        """As Numbering says."""
        for unit in sps.nal_units(data, self._length_bytes):
            if len(unit) < 3:
                continue
            kind = unit[0] >> 1 & 63
            if kind >= _SLICES:
                self._read_parameters(unit)
                continue
            try:
                return self._read_slice(unit, kind)
            except (IndexError, KeyError):
                break
        self.restart()
        return None

    def _read_slice(self, unit: bytes, kind: int) -> PictureNumber | None:
        bits = sps.Bits(unit[2:48])
        if not bits.flag():
            return None
        if kind in _RANDOM_ACCESS:
            bits.flag()
        parameters = self._parameters[bits.golomb()]
        sequence = self._sequences[parameters.sequence]
        bits.number(parameters.extra_bits)
        bits.golomb()
        bits.number(parameters.output_flag + 2 * sequence.separate_planes)
        width = sequence.log2_max_order_count
        low = 0 if kind in _REFRESHES else bits.number(width)
        begins = kind in _BEGINS
        count = nearest(low, 1 << width, None if begins else self._order)
        if unit[1] & 7 == 1 and kind not in _LEADING_OR_UNUSED:
            self._order = count
        return PictureNumber(count, begins)

    def _read_parameters(self, unit: bytes) -> None:
        bits = sps.Bits(unit[2:_MOST_BYTES])
        try:
            if unit[0] >> 1 & 63 == _SEQUENCE:
                _read_sequence(bits, self._sequences)
            elif unit[0] >> 1 & 63 == _PICTURE:
                _read_picture(bits, self._parameters)
        except IndexError:
            return


def length_bytes(extradata: bytes) -> int:
    """Bytes of a unit's length prefix: from an hvcC record (ISO/IEC 14496-15), or 0 for start codes."""
    return (extradata[21] & 3) + 1 if len(extradata) > 22 and extradata[0] == 1 else 0


def of_record(extradata: bytes) -> Iterator[bytes]:
    """The NAL units of an hvcC record (ISO/IEC 14496-15, 8.3.3.1)."""
    at = 23
    for _ in range(extradata[22]):
        units = int.from_bytes(extradata[at + 1 : at + 3], "big")
        at += 3
        for _ in range(units):
            size = int.from_bytes(extradata[at : at + 2], "big")
            if not size:
                return
            yield extradata[at + 2 : at + 2 + size]
            at += 2 + size


def _read_sequence(bits: sps.Bits, found: dict[int, _Sequence]) -> None:
    bits.number(4)
    sub_layers = bits.number(3)
    bits.number(1 + 96)
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers)]
    if sub_layers:
        bits.number(2 * (8 - sub_layers))
    for profile, level in present:
        bits.number(88 * profile + 8 * level)
    number, chroma = bits.golomb(), bits.golomb()
    separate = chroma == 3 and bits.flag()
    bits.golomb()
    bits.golomb()
    if bits.flag():
        for _ in range(4):
            bits.golomb()
    bits.golomb()
    bits.golomb()
    width = bits.golomb() + 4
    if number < 16 and width <= 16:
        found[number] = _Sequence(width, separate)


def _read_picture(bits: sps.Bits, found: dict[int, _Parameters]) -> None:
    number, sequence = bits.golomb(), bits.golomb()
    bits.flag()
    if number < 64:
        found[number] = _Parameters(sequence, bits.flag(), bits.number(3))
