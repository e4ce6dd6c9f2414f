"""A writer of HEVC streams that no encoder at hand makes: tiles, dependent slices, PCM, long-term references,
modified lists, parallel merge levels.

Everything is chosen at random. No residual is written, so that every inter block is its prediction: whether
motion was understood can be seen from the pixels of an independent decoder.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.hevc_bits import Bits, Cabac, nal
from tests.helpers.hevc_blocks import Blocks


@dataclass
class Writer(Blocks):
    """Writes one stream."""

    tables: dict[str, Any] = field(default_factory=dict)
    kept: dict[int, bool] = field(default_factory=dict)
    """The decoded picture buffer: picture order count → whether it is a long-term reference."""
    next_is: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        c = self.choices
        self.column_bounds = self._bounds(self.across, c.columns)
        self.row_bounds = self._bounds(self.down, c.rows)
        self.order: list[int] = []
        self.tile = [0] * (self.across * self.down)
        number = 0
        for top, bottom in itertools.pairwise(self.row_bounds):
            for left, right in itertools.pairwise(self.column_bounds):
                for y in range(top, bottom):
                    for x in range(left, right):
                        self.order.append(y * self.across + x)
                        self.tile[self.order[-1]] = number
                number += 1

    def _bounds(self, size: int, parts: int) -> list[int]:
        if self.choices.uniform:
            return [i * size // parts for i in range(parts + 1)]
        return [0, *sorted(self.random.sample(range(1, size), parts - 1)), size]

    def stream(self) -> Iterator[tuple[int, bytes]]:
        """Each picture's order count and its packet, with start codes, in decoding order."""
        counts = list(range(1, self.choices.pictures))
        for i in range(0, len(counts), 4):
            group = counts[i : i + 4]
            self.random.shuffle(group)
            counts[i : i + 4] = group
        for poc in [0, *counts]:
            headers = nal(32, self._vps()) + nal(33, self._sps()) + nal(34, self._pps()) if poc == 0 else b""
            yield poc, headers + b"".join(self._picture(poc))

    def _vps(self) -> Bits:
        b = Bits()
        b.add((4, 0), (2, 3), (6, 0), (3, 0), (1, 1), (16, 0xFFFF))
        self._profile(b)
        b.add((1, 1), 5, 4, 0, (6, 0), 0, (1, 0), (1, 0))
        b.align(1)
        return b

    def _profile(self, b: Bits) -> None:
        b.add((3, 0), (5, 1), (32, 0x60000000), (4, 9), (32, 0), (12, 0), (8, 123))

    def _sps(self) -> Bits:
        b, c = Bits(), self.choices
        b.add((4, 0), (3, 0), (1, 1))
        self._profile(b)
        b.add(0, 1, c.width, c.height, (1, 0), 0, 0, c.count_bits - 4)  # 4:2:0, no window, 8 bits
        b.add((1, 1), 5, 4, 0)
        b.add(0, 1, 0, 2, 0, 0)  # coding blocks of 8 to 16, transform blocks of 4 to 16
        b.add((1, c.scaling_lists))
        if c.scaling_lists:
            b.add((1, 1))
            self._scaling_lists(b)
        b.add((1, 1), (1, 0))  # asymmetric partitions, no offset filter
        b.add((1, 1), (4, 7), (4, 7), 0, 1, (1, 1))  # PCM of 8 bits in blocks of 8 to 16
        b.add(0, (1, c.long_term))
        if c.long_term:
            b.add(0)
        b.add((1, c.temporal), (1, 0), (1, 0), (1, 0))
        b.align(1)
        return b

    def _pps(self) -> Bits:
        b, c = Bits(), self.choices
        tiles = c.columns * c.rows > 1
        b.add(0, 0, (1, c.dependent), (1, 0), (3, c.extra_bits), (1, 0), (1, c.cabac_init))
        b.add(0, 0, 0, (1, 0), (1, 0), (1, 0), 0, 0, (1, 0))
        b.add((1, 0), (1, 0), (1, 0), (1, tiles), (1, c.wavefronts))
        if tiles:
            b.add(c.columns - 1, c.rows - 1, (1, c.uniform))
            if not c.uniform:
                for bounds in (self.column_bounds, self.row_bounds):
                    for left, right in itertools.pairwise(bounds[:-1]):
                        b.add(right - left - 1)
            b.add((1, 0))
        b.add((1, 0), (1, 1), (1, 0), (1, 1))  # no deblocking
        b.add((1, c.scaling_lists))
        if c.scaling_lists:
            self._scaling_lists(b)
        b.add((1, c.modify_lists), c.merge_level - 2, (1, c.header_extension), (1, 0))
        b.align(1)
        return b

    def _scaling_lists(self, b: Bits) -> None:
        for size in range(4):
            for matrix in range(0, 6, 3 if size == 3 else 1):
                if self.random.random() < 0.4:
                    b.add((1, 0), self.random.randint(0, matrix // 3 if size == 3 else matrix))
                    continue
                b.add((1, 1))
                for _ in range(min(64, 16 << 2 * size) + (size > 1)):
                    b.add(self.random.randint(0, 1))

    def _picture(self, poc: int) -> list[bytes]:
        self._choose_references(poc)
        blocks = (2 * self.across) * (2 * self.down)
        self.depth, self.skipped, self.slice_of = [0] * blocks, [0] * blocks, [-1] * (self.across * self.down)
        self.collocated = self.random.choice(self.current) if self.current else 0
        self.use_temporal = self.choices.temporal and self.random.random() < 0.9
        units, at = [], 0
        self.saved: dict[str, list[int]] = {}
        self.row_saved: dict[str, list[int]] = {}
        while at < len(self.order):
            unit, at = self._segment(poc, at, len(self.order))
            units.append(unit)
        self.kept[poc] = False
        return units

    def _choose_references(self, poc: int) -> None:
        keep = self.random.sample(sorted(self.kept), min(len(self.kept), 4))
        if self.kept and poc > 0 and not keep:
            keep = [max(self.kept)]
        self.kept = {
            key: self.kept[key] or (self.choices.long_term and key < poc - 4 and self.random.random() < 0.4)
            for key in sorted(keep)
        }
        used = {key: self.random.random() < 0.8 for key in self.kept}
        if self.kept and not any(used.values()):
            used[next(iter(used))] = True
        self.used = used
        before = [key for key in sorted(self.kept, reverse=True) if key < poc and not self.kept[key]]
        after = [key for key in sorted(self.kept) if key > poc and not self.kept[key]]
        self.sets = before, after, sorted((key for key in self.kept if self.kept[key]), reverse=True)
        self.current = [key for group in self.sets for key in group if used[key]]

    def _breaks(self, start: int, at: int, slice_start: int) -> str:
        """What ends before tree block ``at``: nothing, a segment or a slice."""
        c, order = self.choices, self.order
        if c.breaks == "none" and not c.wavefronts:
            return ""
        cut = "segment" if c.dependent and self.random.random() < 0.6 else "slice"
        new_tile = self.tile[order[at]] != self.tile[order[at - 1]]
        if c.wavefronts and order[at] % self.across == 0:
            if slice_start and order[slice_start] % self.across:
                return "slice"
            if order[start] % self.across:
                return cut
        if c.breaks == "tiles":
            return cut if new_tile and self.random.random() < 0.5 else ""
        if c.breaks == "within":
            return "slice" if new_tile else cut if self.random.random() < 0.2 else ""
        return ""

    def _segment(self, poc: int, at: int, end: int) -> tuple[bytes, int]:
        """One slice segment from tree block ``at`` (in the order of tiles), and where the next one begins."""
        dependent = at > 0 and self.next_is == "segment"
        if not dependent:
            self.slice_start = at
            self._choose_slice(poc)
        contexts = self._contexts(at, at, dependent)
        cabac = Cabac(self.tables, contexts)
        sizes: list[int] = []
        start = at
        while True:
            address = self.order[at]
            self.slice_of[address] = self.order[self.slice_start]
            self.tree_block(cabac, address)
            x = address % self.across
            at += 1
            if self.choices.wavefronts and x == 1:
                self.row_saved = {name: list(states) for name, states in cabac.contexts.items()}
            self.next_is = "end" if at == end else self._breaks(start, at, self.slice_start)
            cabac.terminate(int(self.next_is != ""))
            if self.next_is:
                break
            new_tile = self.tile[self.order[at]] != self.tile[address]
            if new_tile or (self.choices.wavefronts and self.order[at] % self.across == 0):
                cabac.terminate(1)
                sizes.append(len(cabac.out.bits) // 8 - sum(sizes))
                cabac.contexts = self._contexts(at, -1, False)
                cabac.begin()
        self.saved = cabac.contexts
        header = self._header(poc, start, dependent, sizes)
        header.bits += cabac.out.bits
        return nal(19 if poc == 0 else 1, header), at

    def _contexts(self, at: int, start: int, dependent: bool) -> dict[str, list[int]]:
        address = self.order[at]
        new_tile = at == 0 or self.tile[address] != self.tile[self.order[at - 1]]
        if not new_tile and self.choices.wavefronts and address % self.across == 0:
            if self.across > 1 and self.slice_of[address - self.across + 1] == self.order[self.slice_start]:
                return {name: list(states) for name, states in self.row_saved.items()}
        elif not new_tile and at == start and dependent:
            return self.saved
        swapped = {"I": 0, "P": 2 if self.init_flag else 1, "B": 1 if self.init_flag else 2}
        kind, made = swapped[self.slice_type], {}
        for name, lists in self.tables["init_values"]["contexts"].items():
            states = []
            for value in lists[kind]:
                n = max(1, min(126, ((((value >> 4) * 5 - 45) * 26) >> 4) + ((value & 15) << 3) - 16))
                states.append((n - 64) << 1 | 1 if n > 63 else (63 - n) << 1)
            made[name] = states
        return made

    def _choose_slice(self, poc: int) -> None:
        r = self.random
        self.slice_type = "I" if not self.current else r.choice("PBBB" if r.random() < 0.95 else "I")
        total = len(self.current)
        self.active = [r.randint(max(total, 1), 4), r.randint(max(total, 1), 4)]
        self.entries: list[list[int] | None] = [None, None]
        if self.choices.modify_lists and total > 1:
            for X in range(2):
                if r.random() < 0.5:
                    continue
                self.entries[X] = [r.randrange(total) for _ in range(self.active[X])]
        self.mvd_l1_zero, self.init_flag = (
            int(r.random() < 0.3),
            int(self.choices.cabac_init and r.random() < 0.5),
        )
        self.lists = [self._list(X) for X in range(2)]
        for X in range(2):
            if self.collocated not in self.lists[X] and total:
                self.entries[X] = None
                self.lists[X] = self._list(X)
        self.collocated_list = r.randrange(2) if self.slice_type == "B" else 0

    def _list(self, X: int) -> list[int]:
        before, after, long_term = ([key for key in group if self.used[key]] for group in self.sets)
        joined = [*(after if X else before), *(before if X else after), *long_term]
        if not joined:
            return []
        entries = self.entries[X] or [i % len(joined) for i in range(self.active[X])]
        return [joined[i] for i in entries]

    def _header(self, poc: int, at: int, dependent: bool, sizes: list[int]) -> Bits:
        b, c = Bits(), self.choices
        b.add((1, at == 0))
        if poc == 0:
            b.add((1, 0))
        b.add(0)
        if at:
            if c.dependent:
                b.add((1, dependent))
            b.add(((self.across * self.down - 1).bit_length(), self.order[at]))
        if not dependent:
            b.add((c.extra_bits, 0), "BPI".index(self.slice_type))
            if poc:
                self._reference_sets(b, poc)
            if self.slice_type != "I":
                self._inter_header(b)
            b.add(0)
        if c.columns * c.rows > 1 or c.wavefronts:
            b.add(len(sizes))
            if sizes:
                b.add(31)
                for size in sizes:
                    b.add((32, size - 1))
        if c.header_extension:
            b.add(3, (24, self.random.getrandbits(24)))
        b.align(1)
        return b

    def _reference_sets(self, b: Bits, poc: int) -> None:
        before, after, long_term = self.sets
        bits, low = self.choices.count_bits, (1 << self.choices.count_bits) - 1
        b.add((bits, poc & low), (1, 0), len(before), len(after))
        for group in (before, after):
            last = poc
            for key in group:
                b.add(abs(key - last) - 1, (1, self.used[key]))
                last = key
        if self.choices.long_term:
            b.add(len(long_term))
            last = 0
            for key in long_term:
                b.add((bits, key & low), (1, self.used[key]), (1, bits == 4))
                cycle = (poc >> bits) - (key >> bits)
                if bits == 4:
                    b.add(cycle - last)
                last = cycle
        if self.choices.temporal:
            b.add((1, self.use_temporal))

    def _inter_header(self, b: Bits) -> None:
        B, total = self.slice_type == "B", len(self.current)
        b.add((1, 1))
        for X in range(1 + B):
            b.add(self.active[X] - 1)
        if self.choices.modify_lists and total > 1:
            for X in range(1 + B):
                entries = self.entries[X]
                b.add((1, entries is not None))
                for entry in entries or []:
                    b.add(((total - 1).bit_length(), entry))
        if B:
            b.add((1, self.mvd_l1_zero))
        if self.choices.cabac_init:
            b.add((1, self.init_flag))
        if self.use_temporal:
            if B:
                b.add((1, 1 - self.collocated_list))
            if self.active[self.collocated_list] > 1:
                b.add(self.lists[self.collocated_list].index(self.collocated))
        b.add(5 - self.choices.merge_candidates)
