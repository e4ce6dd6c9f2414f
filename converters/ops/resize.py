"""The resize rules that published networks mix: a wrong one costs parity without a word."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edge_vss.video import Size


def bilinear(x: Tensor, size: Size, *, align_corners: bool) -> Tensor:
    """(N, C, h, w) → (N, C, *size). With ``align_corners`` the corner pixels' centres stay where they are,
    else the pictures' outer edges do."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return functional.interpolate(x, size, mode="bilinear", align_corners=align_corners)


def bilinear_rows(x: Tensor, size: Size, first: int, end: int) -> Tensor:
    """Rows ``first`` to ``end`` of ``bilinear(x, size, align_corners=True)``."""
    height, width = int(x.shape[2]), size[1]
    wide = bilinear(x, (height, width), align_corners=True)
    at = torch.arange(first, end, dtype=torch.float64) * ((height - 1) / (size[0] - 1))
    above = at.floor().clamp(max=height - 1)
    share = (at - above).to(x.dtype).reshape(-1, 1)
    below = (above + 1).clamp(max=height - 1)
    upper, lower = (wide.index_select(2, row.to(torch.int64)) for row in (above, below))
    return upper + (lower - upper) * share


def enlarging(extent: int, times: int, size: int) -> Tensor:
    """Matrix (size, extent): ``times`` as large with edges aligned, and then to ``size`` with corners
    aligned."""
    line = torch.eye(extent).reshape(1, extent, extent, 1)
    larger = functional.interpolate(line, (extent * times, 1), mode="bilinear", align_corners=False)
    whole = functional.interpolate(larger, (size, 1), mode="bilinear", align_corners=True)
    return whole.reshape(extent, size).T.contiguous()


def double(x: Tensor) -> Tensor:
    """Every pixel twice in both directions."""
    return functional.interpolate(x, (2 * x.shape[2], 2 * x.shape[3]), mode="nearest")


def average_pool(x: Tensor, cells: int) -> Tensor:
    """Adaptive average pooling to ``cells`` × ``cells``, as two products with constant matrices.

    Row i averages the indices ⌊i·n/cells⌋ to ⌈(i+1)·n/cells⌉ − 1, so that rows overlap where ``cells`` does
    not divide n: exporters know no operator for that.
    """
    if cells == 1:
        return x.mean((2, 3), keepdim=True)
    down, across = (_averages(int(extent), cells) for extent in x.shape[2:])
    return down.to(x.dtype) @ x @ across.to(x.dtype).T


def _averages(extent: int, cells: int) -> Tensor:
    matrix = torch.zeros(cells, extent)
    for i in range(cells):
        first, end = i * extent // cells, -(-(i + 1) * extent // cells)
        matrix[i, first:end] = 1 / (end - first)
    return matrix
