"""The sub-pixel root map: where every cell of a frame was on the anchor. Computed when somebody reads it."""

from __future__ import annotations

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.motion_field import MotionField
from edge_vss.runtimes.tracing.cells import CELL_PX, at_centres, grid_of
from edge_vss.runtimes.tracing.whole_pixels import spread
from edge_vss.video import Size, Window

Floats = NDArray[np.float32]

LONGEST_WAIT = 32
"""Frames after which a map is computed though nobody has read it. Until then each frame's motion is kept: 1.3
MB a frame for 4K. Most key frames come earlier, and with them a new map."""


class Positions:
    """Where maps are read, as ``cv2.remap`` wants it: each pair of tables is made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[Size, Size, str, Window | None], tuple[Floats, Floats]] = {}
        self._pairs: dict[Size, Floats] = {}

    def of_grid(
        self, size: Size, grid: Size, sampling: str, window: Window | None = None
    ) -> tuple[Floats, Floats]:
        """The points of ``grid`` on the root map's cells, for frames of ``size``: x and y. The grid spans the
        frame, or the ``window``."""
        key = (size, grid, sampling, window)
        if key not in self._made:
            y, x = ((at + 0.5) / CELL_PX - 0.5 for at in spread(size, grid, sampling, window))
            across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
            self._made[key] = (across, down)
        return self._made[key]

    def are_cells(self, size: Size, grid: Size, sampling: str, window: Window | None) -> bool:
        """Whether the points of ``grid`` are the centres of the map's cells: then each is read as it is."""
        if window is not None or grid != grid_of(size):
            return False
        x, y = self.of_grid(size, grid, sampling)
        return bool(x[0, -1] == grid[1] - 1 and y[-1, 0] == grid[0] - 1 and x[0, 0] == y[0, 0] == 0)

    def pairs(self, grid: Size) -> Floats:
        """Every pixel of ``grid``: (h, w, 2), x and y."""
        if grid not in self._pairs:
            self._pairs[grid] = np.dstack(self.of_pixels(grid))
        return self._pairs[grid]

    def of_pixels(self, grid: Size) -> tuple[Floats, Floats]:
        """Every pixel of ``grid``: x and y."""
        key = (grid, grid, "", None)
        if key not in self._made:
            self._made[key] = at_centres(grid, grid, 1.0)
        return self._made[key]


class SmoothMap:
    """Where the cells of one frame were on the anchor, and whether that is known. Never changes, as a reader
    sees it. Several threads may read it.

    At every hop the map of the frame before is sampled bicubically: bilinear sampling blurs the map a little
    each time, which costs 1.3 mIoU over 12 frames.
    """

    def __init__(self, size: Size, positions: Positions) -> None:
        """The anchor's own map: every position is its own root, and known."""
        h, w = grid_of(size)
        self._size, self._positions, self._lock = size, positions, threading.Lock()
        self._before: SmoothMap | None = None
        self._motion: MotionField | None = None
        self._step: tuple[Floats, Floats] | None = None
        self._root: Floats | None = np.zeros((h, w, 2), np.float32)
        self._known: Floats | None = np.ones((h, w), np.float32)
        self._waiting = 0

    def and_then(self, motion: MotionField | None) -> SmoothMap:
        """The map of the frame shown next. Without motion it is taken not to move, and not to be known."""
        after = SmoothMap.__new__(SmoothMap)
        after._size, after._positions, after._lock = self._size, self._positions, self._lock
        after._before, after._motion, after._step = self, motion, None
        after._root = after._known = None
        after._waiting = self._waiting + 1
        if after._waiting >= LONGEST_WAIT:
            after.known()
            after.root()
        return after

    def root(self) -> Floats:
        """(h, w, 2) float32: motion back to the anchor, x then y, in pixels of the frame."""
        with self._lock:
            link, waiting = self, []
            while (root := link._root) is None:
                waiting.append(link)
                link = link._previous()
            for link in reversed(waiting):
                if step := link._on_cells():
                    root = link._hop(root, step[0], cv2.INTER_CUBIC)
                    root += step[0]
                link._root = root
                # Made anew where somebody asks what is known; most policies do not.
                link._step = None
                before = link._previous()
                if before._before is not None:
                    # To save memory: the one before can be computed again.
                    before._root = None
                link._let_go()
            return root

    def known(self) -> Floats:
        """(h, w) float32: how much of a cell has measured motion all the way back to the anchor, 0 to 1."""
        with self._lock:
            link, waiting = self, []
            while (known := link._known) is None:
                waiting.append(link)
                link = link._previous()
            for link in reversed(waiting):
                if step := link._on_cells():
                    known = np.minimum(step[1], link._hop(known, step[0], cv2.INTER_NEAREST))
                else:
                    known = np.zeros_like(known)
                link._known = known
                link._let_go()
            return known

    def _previous(self) -> SmoothMap:
        assert self._before is not None, "a map that waits has one before it"
        return self._before

    def _let_go(self) -> None:
        # Whoever holds the last map would otherwise hold all of them back to the anchor.
        if self._root is not None and self._known is not None:
            self._before = self._motion = self._step = None
            self._waiting = 0

    def _on_cells(self) -> tuple[Floats, Floats] | None:
        """The frame's displacement (h, w, 2) in frame pixels and known (h, w), on the map's cells."""
        if self._step is None and self._motion is not None:
            self._step = self._averaged(self._motion)
        return self._step

    def _averaged(self, motion: MotionField) -> tuple[Floats, Floats]:
        step = np.asarray(cv2.merge(list(motion.displacement_px)), np.float32)
        known = motion.known.astype(np.float32)
        if motion.cell_px == CELL_PX:
            return step, known
        # Finer cells are averaged: the mean of a block is kept at its first cell. Coarser ones are mixed.
        within = max(1, CELL_PX // motion.cell_px)
        means = cv2.blur(
            np.dstack([step, known]), (within, within), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE
        )
        x, y = self._positions.of_pixels(grid_of(self._size))
        scale, shift = np.float32(CELL_PX / motion.cell_px), np.float32(within / 2)
        at_x, at_y = (x + np.float32(0.5)) * scale - shift, (y + np.float32(0.5)) * scale - shift
        here = cv2.remap(means, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.ascontiguousarray(here[..., :2]), np.ascontiguousarray(here[..., 2])

    _no_map = np.empty(0, np.float32)
    """Both coordinates are in the first map."""

    def _hop(self, of: Floats, step: Floats, sampling: int) -> Floats:
        at = step * np.float32(1 / CELL_PX)
        at += self._positions.pairs(step.shape[:2])
        # OpenCV rounds pairs in another way than it rounds two maps, where it takes the nearest.
        x, y = cv2.split(at) if sampling == cv2.INTER_NEAREST else (at, self._no_map)
        there = cv2.remap(of, x, y, sampling, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(there, np.float32)
