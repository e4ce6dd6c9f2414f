"""Tracing every position of the current frame back to the anchor, one shown frame at a time."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError
from edge_vss.runtimes.vectors import CELL_PX, at_centres, grid_of
from edge_vss.video import Frame, MotionField, Size, Track

MODES = ("grid", "exact")


class Tracer:
    """The root map of one stream: where each position of the frame last followed was on the anchor.

    Mode ``grid`` keeps one sub-pixel displacement per cell and samples it bicubically at every hop:
    bilinear sampling smears the map a little each time, which costs 1.3 mIoU over 12 frames. Mode ``exact``
    keeps one per pixel and rounds to whole pixels at every hop, as AR-Seg was trained. Not thread-safe: one
    per session.
    """

    def __init__(self, mode: str = "grid") -> None:
        if mode not in MODES:
            raise OptionError(f"no trace-back mode is called {mode!r}: choose one of {', '.join(MODES)}")
        self._mode = mode
        self._maps: dict[tuple[Size, float, Size], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self._size: Size = (0, 0)
        self._cell_px = float(CELL_PX)
        self._root: NDArray[np.float32] = np.zeros((1, 1, 2), np.float32)
        self._known: NDArray[np.float32] = np.ones((1, 1), np.float32)
        self._gap = 0
        self._anchor_thumb: NDArray[np.uint8] = np.zeros((1, 1), np.uint8)

    def anchor(self, frame: Frame) -> None:
        """Make a frame the anchor: every position of it is its own root."""
        self._size, self._gap = frame.size, 0
        self._cell_px = 1.0 if self._mode == "exact" else float(CELL_PX)
        h, w = grid_of(frame.size, int(self._cell_px))
        self._root = np.zeros((h, w, 2), np.float32)
        self._known = np.ones(grid_of(frame.size), np.float32)
        self._anchor_thumb = _thumb(frame)

    def follow(self, frame: Frame) -> Track:
        """Add the frame shown next. A frame without motion is taken not to move, and not to be known.

        Raises OptionError when the frame has another size than the anchor: the state must begin anew there.
        """
        if frame.size != self._size:
            raise OptionError(
                f"frame {frame.index} is {frame.size}, its anchor {self._size}: anchor one of the new size"
            )
        self._gap += 1
        motion = frame.motion
        if motion is None:
            self._known = np.zeros_like(self._known)
        else:
            step = np.ascontiguousarray(motion.displacement_px.transpose(1, 2, 0))
            known = motion.known.astype(np.float32)
            self._known = np.minimum(known, self._hop(self._known, step, motion.cell_px, cv2.INTER_NEAREST))
            if self._mode == "exact":
                self._follow_pixels(motion)
            else:
                self._root = step + self._hop(self._root, step, motion.cell_px, cv2.INTER_CUBIC)
        return self._track(frame)

    def root(self, grid: Size) -> NDArray[np.float32]:
        """Motion from the frame last followed back to the anchor: (2, h, w) float32, x then y, in pixels of
        ``grid``.

        The grid spans the frame exactly, as a resized picture does: one of its pixels is W/w by H/h pixels
        of the frame.
        """
        height, width = self._size
        x, y = self._positions(grid)
        root = cv2.remap(self._root, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out = np.empty((2, *grid), np.float32)
        np.multiply(root[..., 0], np.float32(grid[1] / width), out=out[0])
        np.multiply(root[..., 1], np.float32(grid[0] / height), out=out[1])
        return out

    def carry(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The anchor's label map (H, W) moved to the frame last followed, nearest pixel."""
        height, width = labels.shape
        dx, dy = self.root(grid_of(labels.shape))
        across, down = self._pixels(labels.shape)
        cell_x, cell_y = width / dx.shape[1], height / dx.shape[0]
        full_x = cv2.resize(dx, (width, height), interpolation=cv2.INTER_LINEAR)
        full_y = cv2.resize(dy, (width, height), interpolation=cv2.INTER_LINEAR)
        x, y = across + full_x * np.float32(cell_x), down + full_y * np.float32(cell_y)
        moved: NDArray[np.uint8] = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return moved

    def _track(self, frame: Frame) -> Track:
        cells = self.root(grid_of(self._size))
        h, w = cells.shape[1:]
        x, y = self._pixels((h, w))
        carried = cv2.remap(
            self._anchor_thumb, x + cells[0], y + cells[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        length = cv2.magnitude(
            cells[0] * np.float32(self._size[1] / w), cells[1] * np.float32(self._size[0] / h)
        )
        return Track(
            gap=self._gap,
            known=float(self._known.mean()),
            travel_px=float(length.mean()),
            error=float(cv2.absdiff(carried, _thumb(frame)).mean()),
        )

    def _hop(
        self, of: NDArray[np.float32], step: NDArray[np.float32], cell_px: int, sampling: int
    ) -> NDArray[np.float32]:
        x, y = self._pixels(step.shape[:2])
        scale = np.float32(1 / cell_px)
        there: NDArray[np.float32] = cv2.remap(
            of, x + step[..., 0] * scale, y + step[..., 1] * scale, sampling, borderMode=cv2.BORDER_REPLICATE
        )
        return there

    def _follow_pixels(self, motion: MotionField) -> None:
        height, width = self._size
        step = motion.displacement_px.repeat(motion.cell_px, 1).repeat(motion.cell_px, 2)[:, :height, :width]
        across, down = self._pixels(self._size)
        x = np.clip(across + np.rint(step[0]), 0, width - 1)
        y = np.clip(down + np.rint(step[1]), 0, height - 1)
        before = cv2.remap(self._root, x, y, cv2.INTER_NEAREST)
        self._root = before + np.dstack([x - across, y - down])

    def _positions(self, grid: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        key = (self._size, self._cell_px, grid)
        if key not in self._maps:
            height, width = self._size
            x = (
                (np.arange(grid[1], dtype=np.float32) + 0.5) * (width / grid[1] / self._cell_px) - 0.5
            ).astype(np.float32)
            y = (
                (np.arange(grid[0], dtype=np.float32) + 0.5) * (height / grid[0] / self._cell_px) - 0.5
            ).astype(np.float32)
            across, down = np.meshgrid(x, y)
            self._maps[key] = (across, down)
        return self._maps[key]

    def _pixels(self, grid: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        key = (grid, 0.0, grid)
        if key not in self._maps:
            self._maps[key] = at_centres(grid, grid, 1.0)
        return self._maps[key]


def _thumb(frame: Frame) -> NDArray[np.uint8]:
    # Every second row is enough for an average over 8 by 8 pixels, and half the memory to read.
    h, w = grid_of(frame.size)
    thumb: NDArray[np.uint8] = cv2.resize(frame.luma[::2], (w, h), interpolation=cv2.INTER_AREA)
    return thumb
