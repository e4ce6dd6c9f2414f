"""How far labels are to be trusted, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

CELL_PX = 8
"""Side of a cell, in pixels of the frame."""


@dataclass(frozen=True)
class Confidence:
    """How far the labels of one frame are to be trusted, for each cell of 8 by 8 pixels.

    It tells what carrying labels from a key frame may have lost. What the network got wrong on the key frame
    itself it does not know: there it is 1.
    """

    cells: NDArray[np.float32]
    """(h, w): the share of such cells' pixels, 0 to 1, that kept the right label where that was measured."""

    side: NDArray[np.int8]
    """(h, w): whose labels these are: −1 the key frame's before, 1 the one's after, 0 the frame's own."""

    mismatch: NDArray[np.float32]
    """(h, w): grey levels between the frame and that key frame carried here; NaN where no picture tells."""

    age: NDArray[np.int16]
    """(h, w): frames between the frame and that key frame."""

    @cached_property
    def score(self) -> float:
        """One number for the frame: the mean of ``cells``."""
        return float(self.cells.mean())
