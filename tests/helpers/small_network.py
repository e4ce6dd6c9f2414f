"""A small real-time network of today's kind: 1.5 million parameters, stages of bottlenecks that are split and
joined, three levels joined at 1/8.

Without weights: for its speed. ``python -m tests.benchmarks.against`` measures it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS, BLOCKS = (16, 32, 64, 128, 256), (1, 2, 2, 2)


class Conv(nn.Sequential):
    """Convolution, BatchNorm and SiLU."""

    def __init__(self, into: int, out: int, side: int = 1, stride: int = 1) -> None:
        convolution = nn.Conv2d(into, out, side, stride, side // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(out), nn.SiLU())


class Split(nn.Module):
    """One half passes, the other goes through bottlenecks, and all that came on the way is joined."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        half = channels // 2
        self.before = Conv(channels, channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(Conv(half, half, 3), Conv(half, half, 3)) for _ in range(blocks)
        )
        self.after = Conv(half * (2 + blocks), channels)

    def forward(self, x: Tensor) -> Tensor:
        found = list(self.before(x).chunk(2, 1))
        for block in self.blocks:
            found.append(found[-1] + block(found[-1]))
        y: Tensor = self.after(torch.cat(found, 1))
        return y


class SmallNetwork(nn.Module):
    """(1, 3, H, W) → scores (1, classes, H, W)."""

    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        self.stem = Conv(3, WIDTHS[0], 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(Conv(into, out, 3, 2), Split(out, blocks))
            for into, out, blocks in zip(WIDTHS, WIDTHS[1:], BLOCKS, strict=False)
        )
        self.levels = nn.ModuleList(Conv(width, 64) for width in WIDTHS[2:])
        self.joined = nn.Sequential(Conv(64, 64, 3), Conv(64, 64, 3), nn.Conv2d(64, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        x, found = self.stem(image), list[Tensor]()
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        levels = [level(each) for level, each in zip(self.levels, found[1:], strict=True)]
        joined = levels[0]
        for level in levels[1:]:
            joined = joined + nn.functional.interpolate(level, joined.shape[2:], mode="bilinear")
        scores: Tensor = self.joined(joined)
        return nn.functional.interpolate(scores, image.shape[2:], mode="bilinear")
