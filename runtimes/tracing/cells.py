"""Motion vectors → a displacement for every cell of a regular grid."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.motion_field import MotionVectors
from edge_vss.video import Size

CELL_PX = 8
"""Side of a cell in pixels. No decoder that exports vectors reports blocks smaller than 8×8."""

_CELL_BITS = CELL_PX.bit_length() - 1
_HALF_CELL = np.int16(CELL_PX // 2)

_MANY_CELLS = 6500  # 854×480

Displacement = NDArray[np.float32]
Known = NDArray[np.bool_]

_LARGEST = 16
"""Side of the largest block in cells: AV1 and VVC have blocks of 128 pixels. Larger ones are cut to it."""

_HALO = _LARGEST
# Blocks reach into the coded padding (1080 rows are coded as 1088) and, in some codecs, past the left and
# top edge.


def grid_of(size: Size, cell_px: int = CELL_PX) -> Size:
    """How many cells cover a frame of ``size`` (height, width) pixels; the last ones may reach past it."""
    return -(-size[0] // cell_px), -(-size[1] // cell_px)


def samples_per_side(grid: Size) -> int:
    """How many samples along a cell's side are compared where pixels decide between motions.

    On 480×360, 16 samples a cell give 0.8 mIoU more than 4 do, and take twice the time. On larger frames a
    cell shows less of the scene, so 4 are enough.
    """
    return 4 if grid[0] * grid[1] <= _MANY_CELLS else 2


def cells(vectors: MotionVectors | None, grid: Size, *, ahead: bool = False) -> tuple[Displacement, Known]:
    """Lay one direction's vectors on a grid: displacement (2, h, w) float32 in pixels, x then y, and known
    (h, w).

    ``ahead`` chooses the vectors that point at frames shown later. Where two vectors are for the
    same block, the last one counts. Cells without a vector are zero and not known.
    """
    h, w = grid
    chosen: NDArray[np.intp] | None = None
    if vectors is not None and (ahead or (len(vectors) and vectors.direction.max() > 0)):
        chosen = np.flatnonzero(vectors.direction > 0 if ahead else vectors.direction < 0)
    if vectors is None or not len(vectors if chosen is None else chosen):
        return np.zeros((2, h, w), np.float32), np.zeros((h, w), np.bool_)
    left, top, width, height, x, y = (
        values if chosen is None else values.take(chosen)
        for values in (
            *(vectors.left_px, vectors.top_px, vectors.width_px, vectors.height_px),
            *vectors.displacement_px,
        )
    )
    row = _within(cell_at(top), h)
    column = _within(cell_at(left), w)
    padded_w = w + 2 * _HALO
    first = row.astype(np.intp) * padded_w + column
    # One complex number a cell, so that x and y are scattered in one pass; NaN where no vector comes.
    motion = np.empty(len(x), np.complex64)
    motion.real, motion.imag = x, y
    field = np.full((h + 2 * _HALO) * padded_w, np.nan, np.complex64)
    # Blocks of one shape are laid down together. Its code has two digits: height and width in cells.
    tall, wide = (np.minimum(np.maximum(side >> _CELL_BITS, 1), _LARGEST) for side in (height, width))
    shape = (tall - 1) * _LARGEST + (wide - 1)
    for code in np.flatnonzero(np.bincount(shape)).tolist():
        of_shape = np.flatnonzero(shape == code)
        start, values = first[of_shape], motion[of_shape]
        for i in range(code // _LARGEST + 1):
            for j in range(code % _LARGEST + 1):
                field[start + (i * padded_w + j)] = values
    inside = field.reshape(-1, padded_w)[_HALO : _HALO + h, _HALO : _HALO + w]
    displacement = np.empty((2, h, w), np.float32)
    displacement[0], displacement[1] = inside.real, inside.imag
    known = displacement[0] == displacement[0]
    if not known.all():
        displacement[:, ~known] = 0
    return displacement, known


def cell_at(corner_px: NDArray[np.int16]) -> NDArray[np.int16]:
    """The row or column of cells where blocks begin. Where a picture is cropped they lie between cells: the
    nearest ones are theirs."""
    return np.asarray((corner_px + _HALF_CELL) >> _CELL_BITS, np.int16)


def _within(cells_: NDArray[np.int16], count: int) -> NDArray[np.int16]:
    """Numbers of cells on the padded grid; what lies further out is brought to its edge."""
    return np.asarray(np.minimum(np.maximum(cells_, -_HALO), count) + _HALO)


def fill(displacement: Displacement, known: Known) -> Displacement:
    """Give every cell that is not known the average of the known cells around it, looking further out
    as needed."""
    missing = np.flatnonzero(~known)
    if not len(missing) or len(missing) == known.size:
        return displacement
    filled = displacement.copy()
    x, y = filled.reshape(2, -1)
    x[missing] = y[missing] = 0
    weighted = cv2.merge([filled[0], filled[1], known.astype(np.float32)])
    for reach_cells in (1, 4, 16):
        side = 2 * reach_cells + 1
        sums = cv2.boxFilter(weighted, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
        around = sums.reshape(-1, 3).take(missing, axis=0)
        reached = np.flatnonzero(around[:, 2] > 0.5)
        found, around = missing.take(reached), around.take(reached, axis=0)
        x[found], y[found] = around[:, 0] / around[:, 2], around[:, 1] / around[:, 2]
        if len(found) == len(missing):
            return filled
        missing = np.delete(missing, reached)
    x[missing], y[missing] = weighted[known][:, :2].mean(axis=0)
    return filled


def at_centres(size: Size, grid: Size, cell_px: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixel coordinates of the cells' centres (x, y), each (h, w) float32, in a picture whose cells are
    ``cell_px`` wide."""
    x = (np.arange(grid[1], dtype=np.float32) + 0.5) * cell_px - 0.5
    y = (np.arange(grid[0], dtype=np.float32) + 0.5) * cell_px - 0.5
    across, down = np.meshgrid(np.minimum(x, size[1] - 1), np.minimum(y, size[0] - 1))
    return across, down
