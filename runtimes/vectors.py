"""Codec motion vectors → a displacement for every cell of a regular grid.

The vectors are FFmpeg's ``AVMotionVector`` (libavutil/motion_vector.h) as PyAV hands them out: (dst_x,
dst_y) is the centre of the block in the current frame, motion/motion_scale its displacement in pixels,
current → reference, and ``source`` the direction of the reference in time (negative: shown before,
positive: shown after), not which one it is.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.video import Size

CELL_PX = 8
"""Side of a cell in pixels. No decoder that exports vectors reports blocks smaller than 8×8."""

Displacement = NDArray[np.float32]
Known = NDArray[np.bool_]

_HALO = 4
# Blocks reach into the coded padding (1080 rows are coded as 1088) and, in some codecs, past the left and
# top edge.


def grid_of(size: Size, cell_px: int = CELL_PX) -> Size:
    """How many cells cover a frame of ``size`` (height, width) pixels; the last ones may reach past it."""
    return -(-size[0] // cell_px), -(-size[1] // cell_px)


def cells(vectors: NDArray[Any] | None, grid: Size, *, ahead: bool = False) -> tuple[Displacement, Known]:
    """Lay one direction's vectors on a grid: displacement (2, h, w) float32 in pixels, x then y, and known
    (h, w).

    ``ahead`` chooses the vectors that point at frames shown later. Where blocks overlap, the last vector
    wins, as in the decoder. Cells without a vector are zero and not known.
    """
    h, w = grid
    if vectors is None or not len(vectors):
        return np.zeros((2, h, w), np.float32), np.zeros((h, w), np.bool_)
    direction = vectors["source"]
    if ahead or direction.max() > 0:
        vectors = vectors[direction > 0] if ahead else vectors[direction < 0]
    block_h, block_w = vectors["h"].astype(np.intp), vectors["w"].astype(np.intp)
    row = np.clip((vectors["dst_y"] - block_h // 2) // CELL_PX, -_HALO, h) + _HALO
    column = np.clip((vectors["dst_x"] - block_w // 2) // CELL_PX, -_HALO, w) + _HALO
    padded_w = w + 2 * _HALO
    first = row * padded_w + column
    scale = np.maximum(vectors["motion_scale"], 1).astype(np.float32)
    motion = np.stack([vectors["motion_x"] / scale, vectors["motion_y"] / scale]).astype(np.float32)

    field = np.zeros((2, (h + 2 * _HALO) * padded_w), np.float32)
    known = np.zeros(field.shape[1], np.bool_)
    rows, columns = np.maximum(block_h // CELL_PX, 1), np.maximum(block_w // CELL_PX, 1)
    shape = rows * 8 + columns
    for code in np.flatnonzero(np.bincount(shape)).tolist():
        of_shape = slice(None) if (shape == code).all() else shape == code
        start, values = first[of_shape], motion[:, of_shape]
        for i in range(min(code // 8, _HALO)):
            for j in range(min(code % 8, _HALO)):
                at = start + i * padded_w + j
                field[:, at] = values
                known[at] = True
    inside = np.s_[_HALO : _HALO + h, _HALO : _HALO + w]
    known_grid = np.ascontiguousarray(known.reshape(-1, padded_w)[inside])
    return np.ascontiguousarray(field.reshape(2, -1, padded_w)[(slice(None), *inside)]), known_grid


def fill(displacement: Displacement, known: Known) -> Displacement:
    """Give every cell that is not known a blurred average of the known cells around it, looking further out
    as needed."""
    if known.all() or not known.any():
        return displacement
    weighted = np.dstack([displacement[0], displacement[1], np.ones_like(displacement[0])]) * known[..., None]
    out, missing = displacement.copy(), ~known
    for sigma_cells in (1.0, 4.0, 16.0):
        blurred = cv2.GaussianBlur(weighted, (0, 0), sigma_cells, borderType=cv2.BORDER_REPLICATE)
        reached = missing & (blurred[..., 2] > 0.05)
        out[:, reached] = (blurred[reached][:, :2] / blurred[reached][:, 2:]).T
        missing &= ~reached
        if not missing.any():
            return out
    out[:, missing] = displacement[:, known].mean(axis=1, keepdims=True)
    return out


def at_centres(size: Size, grid: Size, cell_px: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixel coordinates of the cells' centres (x, y), each (h, w) float32, in a picture whose cells are
    ``cell_px`` wide."""
    x = (np.arange(grid[1], dtype=np.float32) + 0.5) * cell_px - 0.5
    y = (np.arange(grid[0], dtype=np.float32) + 0.5) * cell_px - 0.5
    across, down = np.meshgrid(np.minimum(x, size[1] - 1), np.minimum(y, size[0] - 1))
    return across, down
