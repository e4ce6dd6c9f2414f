"""How far carried labels are to be trusted.

The numbers are logistic fits to whether true labels, carried from every 5th, 12th and 24th frame of 0016E5
(H.264 and HEVC), were right: a cell of 0.9 had nine pixels in ten right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.confidence import Confidence
from edge_vss.runtimes.tracing.cells import grid_of
from edge_vss.runtimes.tracing.root_map import Trace
from edge_vss.video import Size

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_TYPICAL = 4.0
"""Grey levels of mismatch that are assumed where no picture tells."""


@dataclass(frozen=True)
class OwnLabels:
    """The trust in a key frame's labels, which were carried from nowhere."""

    size: Size

    def __call__(self) -> Confidence:
        grid = grid_of(self.size)
        nothing, zero = np.zeros(grid, np.float32), np.zeros(grid, np.int8)
        return Confidence(np.ones(grid, np.float32), zero, nothing, zero.astype(np.int16))


@dataclass(frozen=True)
class Carried:
    """The trust in labels that came along a trace from the key frame before."""

    trace: Trace
    thumb: Bytes | None
    """The frame's brightness, one sample a cell; None where it has no picture."""

    def __call__(self) -> Confidence:
        mismatch, age = _mismatch(self.trace, self.thumb), self.trace.frames_since_key
        there = np.nan_to_num(mismatch, nan=_TYPICAL)
        cells = _share(4.5 - 0.74 * np.log1p(there) - np.float32(0.26 * np.log1p(age)))
        grid = cells.shape
        return Confidence(cells, np.full(grid, -1, np.int8), mismatch, np.full(grid, age, np.int16))


@dataclass(frozen=True)
class OfFused:
    """The trust in labels that were made from what was carried from the better side, position by position."""

    earlier: Trace
    later: Trace
    thumb: Bytes
    lead: Floats
    """By how many grey levels the later side is the better one, one value a cell."""

    def __call__(self) -> Confidence:
        one, other = Carried(self.earlier, self.thumb)(), Carried(self.later, self.thumb)()
        ahead = self.lead > 0
        return Confidence(
            np.where(ahead, other.cells, one.cells),
            np.where(ahead, 1, -1).astype(np.int8),
            np.where(ahead, other.mismatch, one.mismatch),
            np.where(ahead, other.age, one.age),
        )


@dataclass(frozen=True)
class OfTwoSides:
    """The trust in labels that were chosen between two sides. Where both say the same, it is high."""

    earlier: Trace
    later: Trace
    thumb: Bytes
    lead: Floats
    """By how many grey levels the later side is the better one, one value a cell."""
    agree: Floats
    """Share of a cell's pixels that both sides label alike."""

    def __call__(self) -> Confidence:
        ahead = self.lead > 0
        mismatch = np.where(ahead, _mismatch(self.later, self.thumb), _mismatch(self.earlier, self.thumb))
        doubted = (1 - self.agree) * np.log1p(np.abs(self.lead))
        cells = _share(-1.96 - 0.36 * np.log1p(mismatch) + 6.33 * self.agree + 0.87 * doubted)
        age = np.where(ahead, self.later.frames_since_key, self.earlier.frames_since_key)
        return Confidence(cells, np.where(ahead, 1, -1).astype(np.int8), mismatch, age.astype(np.int16))


def of_two_sides(
    earlier: Trace, later: Trace, thumb: Bytes, lead: Floats, one: Bytes, other: Bytes
) -> OfTwoSides:
    """``one`` and ``other`` are the label maps (H, W) of the two sides, ``lead`` chooses between them."""
    grid = grid_of(earlier.size)[::-1]
    alike = np.equal(one, other).view(np.uint8) * np.uint8(255)
    agree = cv2.resize(alike, grid, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    return OfTwoSides(earlier, later, thumb, cells_of(lead, earlier.size), agree)


def cells_of(lead: Floats, size: Size) -> Floats:
    """The lead of the later side, one value for every cell of a frame of ``size``."""
    return np.asarray(cv2.resize(lead, grid_of(size)[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _mismatch(trace: Trace, thumb: Bytes | None) -> Floats:
    if thumb is None:
        return np.full(grid_of(trace.size), np.nan, np.float32)
    return trace.unlike(thumb).astype(np.float32)


def _share(odds: NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)
