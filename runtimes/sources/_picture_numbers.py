"""What codecs number their pictures by. Decoders do not hand it out, and it tells which packets are missing.

The bytes may come from anywhere: nothing here runs longer than a header is long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from edge_vss.runtimes.sources import _sps as sps

NO_STEP = 0


@dataclass(frozen=True)
class PictureNumber:
    """What one packet says of its picture's place in the stream."""

    count: int
    """Counts in the order of showing. It grows without bounds, in units that the codec chooses."""

    begins: bool = False
    """True where counting begins anew: counts before and after this picture cannot be compared."""

    between: bool = False
    """True where the codec promises that it is shown before a picture that came earlier (MPEG's B)."""

    missing: bool = False
    """True where a picture that it builds on is missing for certain."""

    whole: bool = False
    """True where it is certain that no picture is missing before it."""


class Numbering(Protocol):
    """Reads the numbers of one stream, packet by packet, in decoding order."""

    step: int
    """How much the count grows from one shown picture to the next; NO_STEP where the encoder chooses."""

    @property
    def references(self) -> int:
        """How many frames a picture may refer to, by the newest header; 0 where headers do not say."""

    @property
    def cropping(self) -> sps.Cropping | None:
        """What is shown of coded pictures, by the newest header; None where all is, and where none says."""

    def restart(self) -> None:
        """Forget what came before: after a seek, the next packet has nothing to follow on from."""

    def read(self, data: bytes) -> PictureNumber | None:
        """The number in the beginning of a packet; None where it has none, or one that tells nothing."""


def nearest(value: int, modulus: int, to: int | None) -> int:
    """The number closest to ``to`` that is ``value`` modulo ``modulus``; ``value`` where ``to`` is None."""
    if to is None:
        return value
    return to + (value - to + modulus // 2) % modulus - modulus // 2


class H264:
    """``frame_num`` counts reference frames and ``pic_order_cnt_lsb`` all pictures (ITU-T H.264, 7.4.3)."""

    step = NO_STEP

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = sps.length_bytes(extradata)
        self._sps = sps.read_extradata(extradata)
        self._disposable_seen = False
        self.restart()

    @property
    def references(self) -> int:
        """As Numbering says."""
        return self._sps.max_references if self._sps is not None else 0

    @property
    def cropping(self) -> sps.Cropping | None:
        """As Numbering says."""
        return self._sps.cropping if self._sps is not None else None

    def restart(self) -> None:
        """As Numbering says."""
        self._frame_num: int | None = None
        self._order: int | None = None
        self._after_idr = False

    def read(self, data: bytes) -> PictureNumber | None:
        """As Numbering says."""
        start = self._slice_start(data)
        if start is None or self._sps is None or self._sps.gaps_allowed:
            self.restart()
            return None
        self._disposable_seen |= not start.reference
        previous, modulus = self._frame_num, 1 << self._sps.log2_max_frame_num
        # A frame that nothing refers to has the number of the next reference frame. So it only tells whether
        # the reference frame before it is there.
        self._frame_num = start.frame_num if start.reference else (start.frame_num - 1) % modulus
        followed = not start.idr and previous is not None
        # Equal numbers are the two fields of one frame.
        missing = followed and (start.frame_num - (previous or 0)) % modulus > 1
        # After a 0 that was no IDR picture, one may be missing, which has the number 0 as well.
        doubtful = start.frame_num == 1 and not self._after_idr
        self._after_idr = start.idr
        whole = followed and not missing and not self._disposable_seen and not doubtful
        if start.order_count is None:
            # Without an order, each picture is the beginning of one.
            return PictureNumber(0, True, missing=missing, whole=whole)
        before = None if start.idr else self._order
        count = nearest(start.order_count, 1 << self._sps.log2_max_order_count, before)
        if start.reference:
            self._order = count
        return PictureNumber(count, start.idr, missing=missing, whole=whole)

    def _slice_start(self, data: bytes) -> sps.SliceStart | None:
        for unit in sps.nal_units(data, self._length_bytes):
            if unit[0] & 31 == sps.NAL_SPS:
                self._sps = sps.read_sps(unit) or self._sps
            elif self._sps is not None and (start := sps.read_slice_start(unit, self._sps)) is not None:
                return start
        return None


class _Anchors:
    """The last two pictures that MPEG's B-pictures lie between. A B-picture outside lacks one of them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.low: int | None = None
        self.top: int | None = None

    def add(self, count: int, begins: bool) -> None:
        self.low, self.top = (None if begins else self.top), count

    def between(self, count: int) -> PictureNumber:
        outside = self.top is not None and (count > self.top or (self.low is not None and count <= self.low))
        if outside:
            self.forget()
        return PictureNumber(count, between=True, missing=outside)


class Mpeg12:
    """``temporal_reference`` counts the pictures of a group (ITU-T H.262, 6.3.9)."""

    step = 1
    references = 0
    cropping = None

    _PICTURE, _GROUP, _EXTENSION = b"\x00\x00\x01\x00", b"\x00\x00\x01\xb8", b"\x00\x00\x01\xb5"
    _B, _WHOLE_FRAME, _CODING_EXTENSION = 3, 3, 8

    def __init__(self) -> None:
        self._anchors = _Anchors()

    def restart(self) -> None:
        """As Numbering says."""
        self._anchors.forget()

    def read(self, data: bytes) -> PictureNumber | None:
        """As Numbering says."""
        start = data.find(self._PICTURE)
        if start < 0 or start + 8 > len(data):
            return None
        header = int.from_bytes(data[start + 4 : start + 8], "big")
        kind, anchors = header >> 19 & 7, self._anchors
        count = nearest(header >> 22, 1024, anchors.top)
        if kind == self._B:
            return anchors.between(count)
        begins = data.find(self._GROUP, 0, start) >= 0
        if begins or anchors.top is None:
            anchors.add(header >> 22, True)
            return PictureNumber(header >> 22, True)
        if count == anchors.top and self._is_field(data, start):
            return None
        missing = count <= anchors.top
        anchors.add(count, missing)
        return PictureNumber(count, missing=missing)

    def _is_field(self, data: bytes, start: int) -> bool:
        at = data.find(self._EXTENSION, start)
        while at >= 0 and at + 7 <= len(data):
            if data[at + 4] >> 4 == self._CODING_EXTENSION:
                return data[at + 6] & 3 != self._WHOLE_FRAME
            at = data.find(self._EXTENSION, at + 4)
        return False


class Mpeg4:
    """``vop_time_increment`` is the time of a picture (ISO/IEC 14496-2, 6.3.5). It counts in ticks."""

    step = NO_STEP
    references = 0
    cropping = None

    _LAYER, _VOP, _GROUP = re.compile(rb"\x00\x00\x01[\x20-\x2f]"), b"\x00\x00\x01\xb6", b"\x00\x00\x01\xb3"
    _B = 2
    _JOINED_SECONDS = 10

    def __init__(self, extradata: bytes) -> None:
        self._resolution = 0
        self._packed = False
        self._anchors = _Anchors()
        self.restart()
        self._read_layer(extradata)

    def restart(self) -> None:
        """As Numbering says."""
        self._anchors.forget()
        # The second that a picture's time counts from, and that of the anchor before.
        self._second = self._second_before = 0

    def read(self, data: bytes) -> PictureNumber | None:
        """As Numbering says."""
        start = data.find(self._VOP)
        if start < 0:
            return None
        self._read_layer(data[:start])
        group = data.find(self._GROUP, 0, start)
        bits = sps.Bits(data[start + 4 : start + 20])
        bits.data = data[start + 4 : start + 20]
        try:
            kind, seconds = bits.number(2), 0
            while bits.flag():
                seconds += 1
            marked = bits.flag()
            ticks = bits.number(max((self._resolution - 1).bit_length(), 1))
            marked = marked and bits.flag()
            # One that is not coded stands for a picture in an earlier packet, as in DivX's packed files.
            self._packed |= not bits.flag()
            if group >= 0:
                self._begin_group(data[group + 4 : group + 8])
        except IndexError:
            return None
        if not self._resolution or not marked or self._packed:
            return None
        anchors, resolution = self._anchors, self._resolution
        if kind == self._B:
            return anchors.between((self._second_before + seconds) * resolution + ticks)
        self._second_before = self._second
        self._second += seconds
        count = self._second * resolution + ticks
        top = anchors.top
        if top is not None and count < top and group < 0:
            # The picture that announced this second was lost; some encoders never announce one.
            self._second += 1
            count += resolution
        begins = top is None or not 0 < count - top < self._JOINED_SECONDS * resolution
        anchors.add(count, begins)
        return PictureNumber(count, begins)

    def _begin_group(self, header: bytes) -> None:
        bits = sps.Bits(header)
        bits.data = header
        hours, minutes = bits.number(5), bits.number(6)
        bits.flag()
        self._second = (hours * 60 + minutes) * 60 + bits.number(6)

    def _read_layer(self, data: bytes) -> None:
        """vop_time_increment_resolution of a video object layer, where there is one."""
        found = self._LAYER.search(data)
        if found is None:
            return
        bits = sps.Bits(b"")
        bits.data = data[found.end() : found.end() + 64]
        try:
            bits.number(9)
            version = bits.number(7) >> 3 if bits.flag() else 1
            if bits.number(4) == 15:
                bits.number(16)
            if bits.flag():
                bits.number(3)
                if bits.flag():
                    bits.number(79)
            if bits.number(2) == 3 and version != 1:
                bits.number(4)
            bits.flag()
            self._resolution = bits.number(16) or self._resolution
        except IndexError:
            return
