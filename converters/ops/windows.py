"""A map cut into windows by grid lines, as index lists: which position is which token of which window."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from edge_vss.video import Size


def cut(size: Size, window: int, shifted: bool) -> list[Tensor]:
    """Windows of ``window`` × ``window``, row by row inside, as lists of equal length together.

    ``size`` is a multiple of ``window``. ``shifted`` moves the grid by half a window, which leaves halves
    and quarters at the borders: rolling a map, cutting off what was rolled around, and rolling back is the
    same as these grid lines.

    Gives int64 (L, K) for every length L, longest first: the raster index of token l of window k.
    """
    rows, columns = (_lines(extent, window, shifted) for extent in size)
    found: dict[int, list[Tensor]] = {}
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            y, x = torch.arange(top, bottom).reshape(-1, 1), torch.arange(left, right)
            tokens = (y * size[1] + x).reshape(-1)
            found.setdefault(len(tokens), []).append(tokens)
    return [torch.stack(found[length], 1) for length in sorted(found, reverse=True)]


def _lines(extent: int, window: int, shifted: bool) -> list[int]:
    if not shifted:
        return list(range(0, extent + 1, window))
    return [0, *range(window // 2, extent, window), extent]
