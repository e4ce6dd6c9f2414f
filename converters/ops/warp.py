"""Carrying a map along the motion: each position takes the value at position + motion.

Pixel centres lie at integers; a grid of (h, w) cells spans the frame evenly, so the centre of cell j lies at
(j + 0.5) · W / w − 0.5. Positions outside take the value at the border.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edge_vss.runtimes.operations.warp_labels import STEPS_PER_PX, points_between
from edge_vss.video import Size

VALUES = 2700 * 256
"""Values of a feature that are warped at a time."""
MOST_PARTS = 4


def warp_labels(labels: Tensor, motion: Tensor) -> Tensor:
    """Nearest labels along a coarse motion: the standard operation ``warp-labels@1`` (docs/bundle.md).

    uint8 (1, H, W), float32 (1, 2, h, w) in grid pixels → uint8 (1, H, W). An integer gather, not
    grid_sample: ONNX Runtime runs it several times faster, and label ids must not be mixed.
    """
    height, width = int(labels.shape[1]), int(labels.shape[2])
    index = nearest_sources(motion, (height, width))
    return torch.gather(labels.reshape(-1), 0, index).reshape(1, height, width)


def nearest_sources(motion: Tensor, size: Size) -> Tensor:
    """Where each pixel of a map comes from: an index into the map's pixels.

    float32 (1, 2, h, w) in grid pixels → int64 (H · W,).

    Everything is a multiple of 1/1024 and small enough for float32 to hold. So nothing is rounded but where
    it says so, and every engine gives the same index, in whatever order it adds.
    """
    height, width = size
    # x and y go separately: slicing the coarse motion is free, slicing the full-size one copies it.
    x = (motion[:, 0:1] * (width / motion.shape[3])).clamp(-width, width)
    y = (motion[:, 1:2] * (height / motion.shape[2])).clamp(-height, height)
    x, y = _dense_steps(x, height, width), _dense_steps(y, height, width)
    x = (x + (torch.arange(width) + 0.5).reshape(1, 1, 1, width)).clamp(0.0, width - 0.5).floor()
    y = (y + (torch.arange(height) + 0.5).reshape(1, 1, height, 1)).clamp(0.0, height - 0.5).floor()
    return _index(y, x, height, width).reshape(-1)


def _dense_steps(coarse: Tensor, height: int, width: int) -> Tensor:
    """A coarse motion in pixels, brought to every pixel bilinearly in steps: (1, 1, h, w) → (1, 1, H, W)."""
    along_x = _between(_stepped(coarse), 3, width)
    return _between(_stepped(along_x), 2, height)


def _stepped(values: Tensor) -> Tensor:
    return (values * STEPS_PER_PX + 0.5).floor() * (1 / STEPS_PER_PX)


def _between(values: Tensor, axis: int, extent: int) -> Tensor:
    """Values at the points of a grid → at ``extent`` pixels along an axis, linear in between."""
    first, weight = points_between(int(values.shape[axis]), extent)
    shape = [1] * 4
    shape[axis] = extent
    last = int(values.shape[axis]) - 1
    after = values.index_select(axis, torch.arange(1, last + 2).clamp(max=last))
    index = torch.from_numpy(first)
    rise = (after - values).index_select(axis, index)
    return values.index_select(axis, index) + rise * torch.from_numpy(weight).reshape(shape)


def on_grid(motion: Tensor, grid: Size) -> Tensor:
    """The same motion on another grid over the frame: float32 (1, 2, h, w), in pixels of that grid."""
    height, width = int(motion.shape[2]), int(motion.shape[3])
    if (height, width) == grid:
        return motion
    scale = torch.tensor([grid[1] / width, grid[0] / height]).reshape(1, 2, 1, 1)
    return _dense(motion, *grid) * scale


def warp_scores(scores: Tensor, motion: Tensor) -> Tensor:
    """Bilinear scores along a motion on their own grid.

    float32 (1, C, h, w), float32 (1, 2, h, w) in grid pixels → float32 (1, C, h, w). Equal to grid_sample
    with border padding, written as four gathers of whole class rows, which is faster.
    """
    _, classes, height, width = (int(extent) for extent in scores.shape)
    rows = scores.permute(0, 2, 3, 1).reshape(height * width, classes)
    x = (motion[0, 0] + torch.arange(width, dtype=torch.float32)).clamp(0.0, width - 1.0).reshape(-1)
    y = (
        (motion[0, 1] + torch.arange(height, dtype=torch.float32).reshape(-1, 1))
        .clamp(0.0, height - 1.0)
        .reshape(-1)
    )
    left, top = x.floor(), y.floor()
    right, bottom = (left + 1).clamp(max=width - 1.0), (top + 1).clamp(max=height - 1.0)
    across, down = (x - left).unsqueeze(1), (y - top).unsqueeze(1)

    def row(row_y: Tensor, row_x: Tensor) -> Tensor:
        return rows.index_select(0, _index(row_y, row_x, height, width))

    upper = row(top, left) * (1 - across) + row(top, right) * across
    lower = row(bottom, left) * (1 - across) + row(bottom, right) * across
    warped = upper * (1 - down) + lower * down
    return warped.reshape(1, height, width, classes).permute(0, 3, 1, 2)


def warp_feature(feature: Tensor, motion: Tensor, first_row: int = 0, rows: int | None = None) -> Tensor:
    """Bilinear feature along a motion as AR-Seg's published warp does it, quirk and all.

    float32 (1, h, w, C), float32 (1, 2, h, w) in grid pixels → float32 (1, rows, w, C), from ``first_row``
    on. The published grid counts corners as if they were centres, so the source of (x, y) is
    (x + dx) · w/(w − 1) − 0.5: zero motion shifts by up to half a pixel, and weights were trained with that.
    Outside is 0.

    Channels come last, so that a tap is one row of them. The four taps of a position are gathered together
    and mixed by a small matrix product, some positions at a time: half the time of four products
    over the whole map, which leave the processor's cache between each other.
    """
    _, height, width, channels = (int(extent) for extent in feature.shape)
    end = height if rows is None else first_row + rows
    x = motion[0, 0, first_row:end] + torch.arange(width, dtype=torch.float32)
    y = motion[0, 1, first_row:end] + torch.arange(first_row, end, dtype=torch.float32).reshape(-1, 1)
    # Beyond one pixel outside everything is 0 anyway; clamped, so that indices stay small.
    x = (x * (width / (width - 1)) - 0.5).clamp(-1.0, float(width)).reshape(-1)
    y = (y * (height / (height - 1)) - 0.5).clamp(-1.0, float(height)).reshape(-1)
    left, top = x.floor(), y.floor()
    across, down = x - left, y - top
    taps, weights = [], []
    for tap_y, weight_y in ((top, 1 - down), (top + 1, down)):
        for tap_x, weight_x in ((left, 1 - across), (left + 1, across)):
            inside_x, inside_y = tap_x.clamp(0.0, width - 1.0), tap_y.clamp(0.0, height - 1.0)
            inside = ((inside_x == tap_x) & (inside_y == tap_y)).to(torch.float32)
            taps.append(_index(inside_y, inside_x, height, width))
            weights.append(weight_x * weight_y * inside)
    return _mixed(feature, taps, weights).reshape(1, end - first_row, width, channels)


def warp_cells(feature: Tensor, motion: Tensor) -> Tensor:
    """Bilinear feature along a motion, as ``warp_scores`` has it, channels last.

    float32 (1, h, w, C), float32 (1, 2, h, w) in grid pixels → float32 (1, h, w, C).
    """
    _, height, width, _ = (int(extent) for extent in feature.shape)
    x = motion[0, 0] + torch.arange(width, dtype=torch.float32)
    y = motion[0, 1] + torch.arange(height, dtype=torch.float32).reshape(-1, 1)
    x, y = x.clamp(0.0, width - 1.0).reshape(-1), y.clamp(0.0, height - 1.0).reshape(-1)
    left, top = x.floor(), y.floor()
    right, bottom = (left + 1).clamp(max=width - 1.0), (top + 1).clamp(max=height - 1.0)
    across, down = x - left, y - top
    taps = [_index(row, column, height, width) for row in (top, bottom) for column in (left, right)]
    weights = [row * column for row in (1 - down, down) for column in (1 - across, across)]
    return _mixed(feature, taps, weights).reshape(feature.shape)


def _mixed(feature: Tensor, taps: list[Tensor], weights: list[Tensor]) -> Tensor:
    """Cells (N, C) of a feature (1, h, w, C): for each, four taps (N,) by their weights (N,)."""
    channels = int(feature.shape[3])
    at, weight = torch.stack(taps, 1), torch.stack(weights, 1).unsqueeze(1)
    cells = feature.reshape(-1, channels)
    parts = []
    together = max(VALUES // channels, -(-int(at.shape[0]) // MOST_PARTS))
    for first in range(0, int(at.shape[0]), together):
        chosen = slice(first, first + together)
        four = cells.index_select(0, at[chosen].reshape(-1)).reshape(-1, 4, channels)
        parts.append(torch.matmul(weight[chosen], four).reshape(-1, channels))
    return torch.cat(parts)


def _index(y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    # float32 holds every index below 2^24 (a 4K frame has half as many), and its arithmetic is faster than
    # int64's.
    if height * width <= 1 << 24:
        return (y * width + x).to(torch.int64)
    return y.to(torch.int64) * width + x.to(torch.int64)


def _dense(coarse: Tensor, height: int, width: int) -> Tensor:
    if tuple(coarse.shape[2:]) == (height, width):
        return coarse
    return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
