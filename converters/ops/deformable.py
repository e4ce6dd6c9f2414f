"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159) of gathered rows and small products.

A sample is bilinear, and outside a map is 0. The four neighbours of every place are laid beside each other
beforehand, in a table with a border of zeros. A sample is then one row of that table.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edge_vss.video import Size


def own_places(sizes: Sequence[Size], points: int) -> tuple[Tensor, Tensor]:
    """Where each cell of each level lies on every level: x and y, float32 (cells, 1, levels · points).

    In cells of that level, with centres at integers.
    """
    places: list[list[Tensor]] = [[], []]
    for height, width in sizes:
        down, across = ((torch.arange(extent) + 0.5) / extent for extent in (height, width))
        shares = (across.repeat(height), down.repeat_interleave(width))
        for axis, share in enumerate(shares):
            extents = torch.tensor([size[1 - axis] for size in sizes]).repeat_interleave(points)
            places[axis].append(share.reshape(-1, 1) * extents - 0.5)
    x, y = (torch.cat(parts).unsqueeze(1) for parts in places)
    return x, y


def deformable_attention(
    values: Tensor, x: Tensor, y: Tensor, weights: Tensor, sizes: Sequence[Size]
) -> Tensor:
    """For each query and head, samples of the values mixed by weights.

    values (N, heads, C): the cells of all levels, one level after the other; x, y and weights
    (Q, heads, levels · points), positions as `own_places` has them → (Q, heads · C).
    """
    heads, channels = int(values.shape[1]), int(values.shape[2])
    queries, samples = int(x.shape[0]), int(x.shape[2])
    table, firsts = _table(values, sizes)
    points = samples // len(sizes)

    def each(numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float32).repeat_interleave(points)

    height, width = (each([size[axis] for size in sizes]) for axis in (0, 1))
    # Beyond one cell outside all is 0 anyway; clamped, so that rows of the table stay in it.
    x, y = (torch.minimum(p.clamp(min=-1.0), most) for p, most in ((x, width), (y, height)))
    left, top = (torch.minimum(p.floor(), most - 1) for p, most in ((x, width), (y, height)))
    across, down = x - left, y - top
    row = ((top + 1) * (width + 1) + left + 1 + each(firsts)).to(torch.int64)
    corners = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    four = torch.stack([weights * corner for corner in corners], 3)
    mixed = []
    for head in range(heads):
        taken = table[head].index_select(0, row[:, head].reshape(-1)).reshape(queries, 4 * samples, channels)
        by = four[:, head].reshape(queries, 1, 4 * samples)
        mixed.append(torch.matmul(by, taken).reshape(queries, channels))
    return torch.cat(mixed, 1)


def _table(values: Tensor, sizes: Sequence[Size]) -> tuple[Tensor, list[int]]:
    """(heads, rows, 4 · C), and the first row of every level: (h + 1) · (w + 1) rows each."""
    heads, channels = int(values.shape[1]), int(values.shape[2])
    levels = torch.split(values, [height * width for height, width in sizes])
    parts, firsts, first = [], [], 0
    for level, (height, width) in zip(levels, sizes, strict=True):
        grid = functional.pad(
            level.permute(1, 0, 2).reshape(heads, height, width, channels), (0, 0, 1, 1, 1, 1)
        )
        near = [grid[:, y : y + height + 1, x : x + width + 1] for y in (0, 1) for x in (0, 1)]
        parts.append(torch.cat(near, 3).reshape(heads, -1, 4 * channels))
        firsts.append(first)
        first += (height + 1) * (width + 1)
    return torch.cat(parts, 1), firsts
