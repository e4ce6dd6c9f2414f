"""Where the content of a frame was before: on a grid, and as the vectors of a codec's blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError


@dataclass(frozen=True)
class MotionField:
    """Where the content of a frame was in the frame shown before it, on a regular grid.

    Current → reference: the content at pixel position ``p`` was at ``p + displacement_px`` in the previous
    shown frame. Cell (i, j) covers the pixels [i·cell_px, (i+1)·cell_px) × [j·cell_px, (j+1)·cell_px); the
    last row and column may reach past the frame.
    """

    displacement_px: NDArray[np.float32]
    """(2, h, w), x then y, in pixels of the frame (not of the grid)."""

    known: NDArray[np.bool_]
    """(h, w): True where the motion was measured (a vector, or matched flow), False where it was filled
    in."""

    reference: NDArray[np.int8]
    """(h, w): how many shown frames the measured vector spanned, negative where it pointed ahead. It is
    divided out: ``displacement_px`` is always the motion of one frame."""

    cell_px: int
    """Side of a grid cell in pixels of the frame; 1 is one displacement per pixel."""

    provider: str = ""
    """What measured it: ``codec``, ``flow``, or both as ``codec+flow``."""

    def __post_init__(self) -> None:
        shape = self.displacement_px.shape
        if (
            len(shape) != 3
            or shape[0] != 2
            or self.known.shape != shape[1:]
            or self.reference.shape != shape[1:]
        ):
            raise OptionError(
                f"MotionField wants displacement_px (2, h, w) with known and reference (h, w); "
                f"got {shape}, {self.known.shape}, {self.reference.shape}"
            )

    @property
    def coverage(self) -> float:
        """Share of the grid whose motion was measured, 0 to 1."""
        return float(self.known.mean()) if self.known.size else 0.0


@dataclass(frozen=True)
class MotionVectors:
    """The motion vectors of one frame: n blocks, and where the content of each was taken from.

    Current → reference, like MotionField: the content of a block was at its place plus ``displacement_px`` in
    the frame that it refers to. Positions are in pixels of the frame as it is shown. Blocks that
    point one way do not overlap; a block may have a vector for each direction.

    Raises OptionError where the arrays do not have one shape.
    """

    left_px: NDArray[np.int16]
    """(n,): left edge of the block. Blocks may reach past the edges of the frame."""

    top_px: NDArray[np.int16]
    """(n,): upper edge of the block."""

    width_px: NDArray[np.int16]
    """(n,): width of the block."""

    height_px: NDArray[np.int16]
    """(n,): height of the block."""

    displacement_px: NDArray[np.float32]
    """(2, n), x then y: from the block to its content in the reference frame."""

    direction: NDArray[np.int8]
    """(n,): −1 where the reference frame is shown earlier, 1 where it is shown later."""

    reference: NDArray[np.int8] | None = None
    """(n,): how many shown frames back the reference frame is, negative where it is shown later, 0 where that
    is not known. None where it is known of no block: most decoders do not tell."""

    def __post_init__(self) -> None:
        n = len(self.left_px)
        shapes = {self.left_px.shape, self.top_px.shape, self.width_px.shape, self.height_px.shape}
        shapes |= {self.direction.shape, (n,) if self.reference is None else self.reference.shape}
        if self.displacement_px.shape != (2, n) or shapes != {(n,)}:
            raise OptionError(
                "MotionVectors wants displacement_px (2, n) and every other array (n,); "
                f"got {self.displacement_px.shape} and {sorted(shapes)}"
            )

    def __len__(self) -> int:
        return len(self.left_px)

    def only(self, where: NDArray[np.bool_]) -> MotionVectors:
        """The vectors of the blocks chosen by ``where`` (n,), in the same order."""
        return MotionVectors(
            self.left_px[where],
            self.top_px[where],
            self.width_px[where],
            self.height_px[where],
            self.displacement_px[:, where],
            self.direction[where],
            None if self.reference is None else self.reference[where],
        )
