"""Which whole numbers occur in an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def occurring(values: NDArray[np.int16]) -> list[int]:
    """The numbers that occur, from the lowest on. Faster than sorting them."""
    # As wide numbers: a strange stream's may be as far apart as they can be.
    least = int(values.min(initial=0))
    counts = np.bincount(values.astype(np.intp).ravel() - least)
    return [least + place for place in np.flatnonzero(counts).tolist()]
