"""Trace-back as AR-Seg was trained with: rounded to whole pixels at every hop, only where a graph reads it.

This is AR-Seg's published trace-back without its reference index: a MotionField already points at the frame
shown before. Tracing every pixel would move megabytes a frame. A graph reads four pixels around each point
of its grid, so only those are followed back, through the motion of every frame since the anchor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.motion_field import MotionField
from edge_vss.video import Size, Window

Floats = NDArray[np.float32]
Pixels = NDArray[np.int16]


Field = tuple[NDArray[np.int32], int]
"""One frame's motion, and the side of its cells in pixels."""


class TapTables:
    """The `Taps` of the grids that a stream's graphs read, each made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[Size, Size, str, Window | None], Taps] = {}

    def find(self, size: Size, grid: Size, sampling: str, window: Window | None = None) -> Taps:
        """Those for reading frames of ``size`` at the points of ``grid``, which spans them or the window."""
        key = (size, grid, sampling, window)
        if key not in self._made:
            self._made[key] = Taps(*key)
        return self._made[key]


@dataclass(frozen=True)
class Hops:
    """The motion of every frame since the anchor, in whole pixels, the latest last. A value.

    Positions are pairs of int16, x and y: OpenCV looks those up as they are, five times as fast as floats.
    The motion found there is a pair too, and is moved as one int32: twice as fast as two numbers.
    """

    size: Size
    """Height and width of the frames."""
    tables: TapTables
    fields: tuple[Field | None, ...] = ()

    def and_then(self, motion: MotionField | None) -> Hops:
        """With one frame more. None stands still, as an intra block does in AR-Seg."""
        return replace(self, fields=(*self.fields, None if motion is None else _rounded(motion)))

    def root(self, grid: Size, sampling: str, window: Window | None = None) -> Floats:
        """Motion back to the anchor at the points of ``grid``: (2, h, w) float32, x then y, in frame pixels.

        The four pixels around each point are traced, and their motions mixed bilinearly.
        """
        taps = self.tables.find(self.size, grid, sampling, window)
        at = taps.at
        for field in reversed(self.fields):
            if field is None:
                continue
            step, cell_px = field
            cells = at >> 3 if cell_px == 8 else at // np.int16(cell_px)
            # OpenCV's own types leave out that the second map may be None.
            found = np.asarray(cv2.remap(step, cells, None, cv2.INTER_NEAREST), np.int32)  # type: ignore[call-overload]
            moved = found.view(np.int16).reshape(at.shape)
            moved += at
            np.minimum(moved, taps.last, out=moved)
            at = np.maximum(moved, taps.first, out=moved)
        return taps.mixed(at)


def _rounded(motion: MotionField) -> Field:
    # rint rounds halves to even, as the published trace-back does.
    x, y = np.rint(motion.displacement_px).astype(np.int16)
    pairs = np.empty((*x.shape, 2), np.int16)
    pairs[..., 0], pairs[..., 1] = x, y
    return pairs.view(np.int32)[..., 0], motion.cell_px


class Taps:
    """The pixels around the points of a grid, as rows 2i and 2i + 1 and columns likewise, and their weights.

    ``centres``: the grid's cells cover the frame, and a point is the centre of its cell. ``corners``: the
    first and last points lie on the first and last pixels (resizing with aligned corners).
    """

    def __init__(self, size: Size, grid: Size, sampling: str, window: Window | None = None) -> None:
        down, across = spread(size, grid, sampling, window)
        rows, self._down = _around(size[0], down)
        columns, self._across = _around(size[1], across)
        self.at: Pixels = np.dstack(np.meshgrid(columns, rows)).astype(np.int16)
        """(2h, 2w, 2): x and y."""
        # As large as the taps: numpy takes ten times as long to compare with a pair of numbers.
        self.first: Pixels = np.zeros_like(self.at)
        self.last: Pixels = np.full_like(self.at, (size[1] - 1, size[0] - 1))

    def mixed(self, at: Pixels) -> Floats:
        """Where the taps came from → how far that is from the points: (2, h, w)."""
        apart = (at - self.at).reshape(at.shape[0], -1).astype(np.float32)
        # First between rows: x and y alternate within a row, and both are mixed with the same weight.
        rows = apart[1::2] - apart[0::2]
        rows *= self._down[:, None]
        rows += apart[0::2]
        pairs = rows.reshape(rows.shape[0], -1, 4)
        out = np.empty((2, *pairs.shape[:2]), np.float32)
        for axis, result in enumerate(out):
            np.subtract(pairs[..., 2 + axis], pairs[..., axis], out=result)
            result *= self._across
            result += pairs[..., axis]
        return out


def spread(
    size: Size, grid: Size, sampling: str, window: Window | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the points of ``grid`` lie in a frame of ``size``: rows, then columns, in pixels. The grid spans
    the frame, or the ``window``."""
    if window is None:
        return points(size[0], grid[0], sampling), points(size[1], grid[1], sampling)
    rows = window.top + points(window.height, grid[0], sampling)
    return rows, window.left + points(window.width, grid[1], sampling)


def points(extent: float, count: int, sampling: str) -> NDArray[np.float64]:
    """Where the ``count`` points of a grid lie along ``extent`` pixels."""
    if sampling == "corners":
        return np.linspace(0, extent - 1, count)
    return (np.arange(count) + 0.5) * extent / count - 0.5


def _around(extent: int, points: NDArray[np.float64]) -> tuple[Floats, Floats]:
    at = np.clip(points, 0, extent - 1)
    first = np.minimum(np.floor(at), max(extent - 2, 0))
    pairs = np.stack([first, np.minimum(first + 1, extent - 1)], 1)
    return pairs.reshape(-1).astype(np.float32), (at - first).astype(np.float32)
