"""Judging motions by the brightness that they find in the frame shown before, with NumPy and OpenCV."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.runtimes.tracing.cells import CELL_PX, Displacement, Known, samples_per_side
from edge_vss.video import Size

Half = NDArray[np.uint8]
"""Brightness (h, w) at half a frame's width and height."""

_NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))

_WIDE = 4096
"""Places in one row of the maps that OpenCV gets: it takes no more than 32766 rows or columns."""


class Match(Protocol):
    """The best motion so far of every cell, judged by the brightness it finds in the frame shown before.

    Motions are displacements (2, h, w) in pixels of the frame. At first nothing moves, and nothing is judged.
    """

    @property
    def best(self) -> Displacement:
        """The best motion so far."""

    def offer(self, displacement: Displacement, known: Known | None = None) -> Known:
        """Take a motion where it matches better than the best so far; returns where (h, w) it was taken."""

    def restart(self, displacement: Displacement) -> None:
        """Replace every cell's motion and judge it anew."""

    def offer_neighbours(self) -> None:
        """Offer every cell the best motions of the eight around it."""

    def differences(self, displacement: Displacement) -> NDArray[np.float32]:
        """Mean difference in brightness of each cell (h, w) to the place that a motion points to."""


@lru_cache(maxsize=4)
def _samples(grid: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the cells of a grid are looked at, in pictures of half the width and height: x and y, each
    (samples, cells)."""
    h, w = grid
    per_side = samples_per_side(grid)
    step = CELL_PX / 2 / per_side
    across, down = np.arange(w * per_side, dtype=np.float32), np.arange(h * per_side, dtype=np.float32)
    planes = np.meshgrid((across + 0.5) * step - 0.5, (down + 0.5) * step - 0.5)
    x, y = (
        np.ascontiguousarray(
            plane.reshape(h, per_side, w, per_side).transpose(1, 3, 0, 2).reshape(-1, h * w), np.float32
        )
        for plane in planes
    )
    x.flags.writeable = y.flags.writeable = False
    return x, y


class NumpyMatch:
    """A `Match` anywhere. Not thread-safe."""

    def __init__(self, now: Half, then: Half, grid: Size) -> None:
        """``now`` and ``then``: this frame and the one shown before. ``grid``: rows and columns of cells."""
        self.grid = h, w = grid
        self._places = _samples(grid)
        self._previous = then
        # Used again and again: fresh memory costs more than filling it.
        rows = -(-self._places[0].size // _WIDE)
        self._maps = np.zeros((2, rows, _WIDE), np.float32)
        self._seen = np.empty((rows, _WIDE), np.uint8)
        self._every = np.arange(h * w)
        still = np.zeros((2, h, w), np.float32)
        self._current = self._looked_at(now, still, self._every).copy()
        self.best: Displacement = still
        self._cost = np.full(h * w, np.inf, np.float32)

    def restart(self, displacement: Displacement) -> None:
        """As a `Match`."""
        chosen = np.flatnonzero(self._not_judged(displacement))
        self.best = displacement.copy()
        self._cost[chosen] = self._differences(displacement, chosen)

    def offer(self, displacement: Displacement, known: Known | None = None) -> Known:
        """As a `Match`."""
        # Many cells move as their neighbours do: the same motion is not judged twice.
        other = self._not_judged(displacement)
        chosen = np.flatnonzero(other if known is None else other & known)
        cost = self._differences(displacement, chosen)
        taken = np.flatnonzero(cost < self._cost.take(chosen))
        chosen = chosen.take(taken)
        self._cost[chosen] = cost.take(taken)
        better = np.zeros(self.grid, np.bool_)
        better.ravel()[chosen] = True
        for mine, theirs in zip(self.best, displacement, strict=True):
            mine.ravel()[chosen] = theirs.ravel().take(chosen)
        return better

    def offer_neighbours(self) -> None:
        """As a `Match`. Cells on one edge of the frame take those on the other for neighbours too."""
        for rows, columns in _NEIGHBOURS:
            self.offer(np.roll(self.best, (rows, columns), (1, 2)))

    def _not_judged(self, displacement: Displacement) -> Known:
        """Where a motion is another than the best, or the best has not been judged."""
        other: Known = (displacement[0] != self.best[0]) | (displacement[1] != self.best[1])
        other |= (self._cost == np.inf).reshape(self.grid)
        return other

    def differences(self, displacement: Displacement) -> NDArray[np.float32]:
        """As a `Match`."""
        return self._differences(displacement, self._every).reshape(self.grid)

    def _differences(self, displacement: Displacement, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        """Of the chosen cells alone, by their numbers."""
        if not len(chosen):
            return np.zeros(0, np.float32)
        seen = self._looked_at(self._previous, displacement, chosen)
        current = self._current if chosen is self._every else self._current.take(chosen, axis=1)
        # Sums of whole numbers: exact in any order.
        sums = np.add.reduce(cv2.absdiff(seen, current), axis=0, dtype=np.uint16)
        means: NDArray[np.float32] = sums.astype(np.float32)
        means *= np.float32(1 / len(seen))
        return means

    def _looked_at(
        self, picture: NDArray[np.uint8], displacement: Displacement, chosen: NDArray[np.intp]
    ) -> NDArray[np.uint8]:
        """A picture's brightness where the chosen cells' motion points to: (samples, chosen). The next call
        writes over it."""
        samples = len(self._places[0])
        count = samples * len(chosen)
        for into, places, part in zip(self._maps, self._places, displacement, strict=True):
            there = into.ravel()[:count].reshape(samples, -1)
            half = part.ravel().take(chosen)
            half *= np.float32(0.5)
            if chosen is self._every:
                np.add(places, half, out=there)
            else:
                # Not "raise", which would make a copy first.
                np.take(places, chosen, axis=1, out=there, mode="clip")
                there += half
        rows = -(-count // _WIDE)
        x, y, seen = self._maps[0, :rows], self._maps[1, :rows], self._seen[:rows]
        if rows:
            cv2.remap(picture, x, y, cv2.INTER_LINEAR, dst=seen, borderMode=cv2.BORDER_REPLICATE)
        return seen.ravel()[:count].reshape(samples, -1)
