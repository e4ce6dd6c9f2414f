"""Tree blocks of a stream made at random: quadtree, prediction units and PCM, without any residual."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.helpers.hevc_bits import Cabac

CTB = 16
PARTS = {
    "2Nx2N": [(0, 0, 4, 4)],
    "2NxN": [(0, 0, 4, 2), (0, 2, 4, 2)],
    "Nx2N": [(0, 0, 2, 4), (2, 0, 2, 4)],
    "2NxnU": [(0, 0, 4, 1), (0, 1, 4, 3)],
    "2NxnD": [(0, 0, 4, 3), (0, 3, 4, 1)],
    "nLx2N": [(0, 0, 1, 4), (1, 0, 3, 4)],
    "nRx2N": [(0, 0, 3, 4), (3, 0, 1, 4)],
}


@dataclass
class Choices:
    """What a stream is like."""

    width: int = 96
    height: int = 64
    pictures: int = 8
    columns: int = 1
    rows: int = 1
    uniform: bool = True
    wavefronts: bool = False
    breaks: str = "none"
    """Where slices end: none; tiles: at tiles only; within: anywhere, and at each tile."""
    dependent: bool = False
    long_term: bool = False
    count_bits: int = 8
    """Width of a picture order count's low part; with 4, long-term references also tell the high part."""
    modify_lists: bool = False
    merge_level: int = 2
    merge_candidates: int = 5
    temporal: bool = True
    cabac_init: bool = False
    extra_bits: int = 0
    scaling_lists: bool = False
    header_extension: bool = False


@dataclass
class Blocks:
    """The picture's tree blocks, and what is chosen in them."""

    choices: Choices
    seed: int
    slice_type: str = "I"
    active: list[int] = field(default_factory=list)
    """How many references each list has."""
    mvd_l1_zero: int = 0
    depth: list[int] = field(default_factory=list)
    """By 8×8."""
    skipped: list[int] = field(default_factory=list)
    slice_of: list[int] = field(default_factory=list)
    """By tree block; -1 before it is coded."""
    tile: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.across, self.down = -(-self.choices.width // CTB), -(-self.choices.height // CTB)

    def tree_block(self, cabac: Cabac, address: int) -> None:
        x, y = address % self.across * CTB, address // self.across * CTB
        whole = x + CTB <= self.choices.width and y + CTB <= self.choices.height
        split = not whole or self.random.random() < 0.5
        if whole:
            cabac.bin("split_cu_flag", sum(self._near(x, y, self.depth, lambda depth: depth > 0)), int(split))
        if not split:
            self._coding_unit(cabac, x, y, 16)
            return
        for i in range(4):
            xi, yi = x + 8 * (i & 1), y + 8 * (i >> 1)
            if xi < self.choices.width and yi < self.choices.height:
                self._coding_unit(cabac, xi, yi, 8)

    def _near(self, x: int, y: int, values: list[int], holds: Callable[[int], bool]) -> list[int]:
        """For the blocks at the left and above: whether they are available and something holds of them."""
        here, found = (y // CTB) * self.across + x // CTB, []
        for nx, ny in ((x - 1, y), (x, y - 1)):
            there = (ny // CTB) * self.across + nx // CTB
            available = nx >= 0 and ny >= 0 and self.slice_of[there] == self.slice_of[here]
            available = available and self.tile[there] == self.tile[here]
            found.append(int(available and holds(values[(ny // 8) * 2 * self.across + nx // 8])))
        return found

    def _coding_unit(self, cabac: Cabac, x: int, y: int, size: int) -> None:
        r, depth = self.random, int(size == 8)
        skip = int(self.slice_type != "I" and r.random() < 0.4)
        if self.slice_type != "I":
            cabac.bin("cu_skip_flag", sum(self._near(x, y, self.skipped, bool)), skip)
        for row in range(y // 8, (y + size) // 8):
            for column in range(x // 8, (x + size) // 8):
                self.depth[row * 2 * self.across + column] = depth
                self.skipped[row * 2 * self.across + column] = skip
        if skip:
            self._merge_idx(cabac)
            return
        intra = self.slice_type == "I" or r.random() < 0.1
        if self.slice_type != "I":
            cabac.bin("pred_mode_flag", 0, int(intra))
        if intra:
            if size == 8:
                cabac.bin("part_mode", 0, 1)
            self._pcm(cabac, x, y, size)
            return
        mode = r.choice(list(PARTS) if size == 16 else ["2Nx2N", "2NxN", "Nx2N"])
        self._part_mode(cabac, mode, size)
        for box in PARTS[mode]:
            self._prediction_unit(cabac, mode, box[2] * size // 4, box[3] * size // 4, depth)
        cabac.bin("rqt_root_cbf", 0, 0)

    def _pcm(self, cabac: Cabac, x: int, y: int, size: int) -> None:
        cabac.terminate(1)
        base, across, down = (self.random.randint(*bounds) for bounds in ((60, 190), (-4, 4), (-4, 4)))
        for row in range(size):
            for column in range(size):
                cabac.out.u(8, base + (across * column + down * row) // 2 + self.random.randint(-2, 2))
        cabac.out.bits += [1, 0, 0, 0, 0, 0, 0, 0] * (size * size // 2)
        cabac.begin()

    def _part_mode(self, cabac: Cabac, mode: str, size: int) -> None:
        cabac.bin("part_mode", 0, int(mode == "2Nx2N"))
        if mode == "2Nx2N":
            return
        horizontal = mode.startswith("2N")
        cabac.bin("part_mode", 1, int(horizontal))
        if size == 16:
            symmetric = mode in ("2NxN", "Nx2N")
            cabac.bin("part_mode", 3, int(symmetric))
            if not symmetric:
                cabac.bypass(int(mode in ("2NxnD", "nRx2N")))

    def _merge_idx(self, cabac: Cabac) -> None:
        most = self.choices.merge_candidates - 1
        value = self.random.randint(0, most)
        for i in range(min(value + 1, most)):
            if i == 0:
                cabac.bin("merge_idx", 0, int(value > 0))
            else:
                cabac.bypass(int(value > i))

    def _prediction_unit(self, cabac: Cabac, mode: str, width: int, height: int, depth: int) -> None:
        r = self.random
        merge = mode != "2Nx2N" and r.random() < 0.4  # whole and merged would have to have a residual
        cabac.bin("merge_flag", 0, int(merge))
        if merge:
            self._merge_idx(cabac)
            return
        lists = 1
        if self.slice_type == "B":
            lists = r.choice((1, 2) if width + height == 12 else (1, 2, 3))
            if width + height != 12:
                cabac.bin("inter_pred_idc", depth, int(lists == 3))
            if lists != 3:
                cabac.bin("inter_pred_idc", 4, int(lists == 2))
        for X in range(2):
            if not lists >> X & 1:
                continue
            most, value = self.active[X] - 1, r.randint(0, self.active[X] - 1)
            for i in range(min(value + 1, most)):
                if i < 2:
                    cabac.bin("ref_idx_l0, ref_idx_l1", i, int(value > i))
                else:
                    cabac.bypass(int(value > i))
            if not (X and self.mvd_l1_zero and lists == 3):
                self._mvd(cabac, [r.choice((0, 0, 1, -1, r.randint(-40, 40))) for _ in range(2)])
            cabac.bin("mvp_l0_flag, mvp_l1_flag", 0, r.randrange(2))

    def _mvd(self, cabac: Cabac, mvd: list[int]) -> None:
        name = "abs_mvd_greater0_flag, abs_mvd_greater1_flag"
        for value in mvd:
            cabac.bin(name, 0, int(value != 0))
        for value in mvd:
            if value:
                cabac.bin(name, 1, int(abs(value) > 1))
        for value in mvd:
            if abs(value) > 1:
                rest, k = abs(value) - 2, 1
                while rest >= 1 << k:
                    cabac.bypass(1)
                    rest -= 1 << k
                    k += 1
                cabac.bypass(0)
                cabac.bypass(rest, k)
            if value:
                cabac.bypass(int(value < 0))
