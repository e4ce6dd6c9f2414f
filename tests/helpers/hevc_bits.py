"""The encoder's side of bits, CABAC and NAL units (ITU-T H.265, 7.3.1 and 9.3.4), for tests."""

from __future__ import annotations

from typing import Any


class Bits:
    """Bits in a row."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def u(self, count: int, value: int) -> None:
        self.bits += [value >> (count - 1 - i) & 1 for i in range(count)]

    def ue(self, value: int) -> None:
        length = (value + 1).bit_length()
        self.u(2 * length - 1, value + 1)

    def add(self, *fields: int | tuple[int, int]) -> None:
        """A number is ue(v); a pair is u(n) of a value."""
        for value in fields:
            if isinstance(value, tuple):
                self.u(*value)
            else:
                self.ue(value)

    def align(self, first: int) -> None:
        """``first``, and zeros up to a whole byte."""
        self.bits.append(first)
        self.bits += [0] * (-len(self.bits) % 8)

    def data(self) -> bytes:
        assert len(self.bits) % 8 == 0
        return bytes(int("".join(map(str, self.bits[i : i + 8])), 2) for i in range(0, len(self.bits), 8))


class Cabac:
    """9.3.4.6 to 9.3.4.9 of the standard: the arithmetic encoder, after Figure 9-10."""

    def __init__(self, tables: dict[str, Any], contexts: dict[str, list[int]]) -> None:
        self.tables, self.contexts, self.out = tables, contexts, Bits()
        self.begin()

    def begin(self) -> None:
        self.low, self.range, self.first, self.outstanding = 0, 510, True, 0

    def bin(self, name: str, index: int, value: int) -> None:
        state = self.contexts[name][index]
        p, mps = state >> 1, state & 1
        lps = self.tables["range_tab_lps"][p][self.range >> 6 & 3]
        self.range -= lps
        if value == mps:
            p = min(p + 1, 62)
        else:
            self.low += self.range
            self.range = lps
            mps ^= p == 0
            p = self.tables["trans_idx_lps"][p]
        self.contexts[name][index] = p << 1 | mps
        self._renorm()

    def bypass(self, value: int, count: int = 1) -> None:
        for i in range(count - 1, -1, -1):
            self.low = 2 * self.low + (self.range if value >> i & 1 else 0)
            if self.low >= 1024:
                self._put(1)
                self.low -= 1024
            elif self.low < 512:
                self._put(0)
            else:
                self.low -= 512
                self.outstanding += 1

    def terminate(self, value: int) -> None:
        """After a 1 the stop bit is written, and the bits are aligned."""
        self.range -= 2
        if not value:
            self._renorm()
            return
        self.low += self.range
        self.range = 2
        self._renorm()
        self._put(self.low >> 9 & 1)
        self.out.u(1, self.low >> 8 & 1)
        self.out.align(1)

    def _renorm(self) -> None:
        while self.range < 256:
            if self.low < 256:
                self._put(0)
            elif self.low >= 512:
                self.low -= 512
                self._put(1)
            else:
                self.low -= 256
                self.outstanding += 1
            self.range <<= 1
            self.low <<= 1

    def _put(self, bit: int) -> None:
        if self.first:
            self.first = False
        else:
            self.out.u(1, bit)
        self.out.bits += [1 - bit] * self.outstanding
        self.outstanding = 0


def nal(unit_type: int, payload: Bits) -> bytes:
    """A NAL unit behind a start code; 7.4.2: no three bytes in it look like one."""
    out, zeros = bytearray(b"\x00\x00\x00\x01"), 0
    out += bytes((unit_type << 1, 1))
    for byte in payload.data():
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)
