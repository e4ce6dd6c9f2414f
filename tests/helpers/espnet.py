"""A network like ESPNet: five dilated convolutions side by side, of few channels each, and PReLU.

Without weights: for its speed. ``python -m tests.benchmarks.auto`` measures it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DILATIONS = (1, 2, 4, 8, 16)


class Act(nn.Module):
    """BatchNorm and PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(channels, eps=1e-3), nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(x))
        return y


def conv(into: int, out: int, side: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size, but for its stride."""
    return nn.Conv2d(into, out, side, stride, dilation * (side - 1) // 2, dilation, bias=False)


class Pyramid(nn.Module):
    """ESPNet's unit: reduce, convolve at five dilations, add up from the smallest on, concatenate."""

    def __init__(self, into: int, out: int, down: bool = False, add: bool = True) -> None:
        super().__init__()
        few = out // len(DILATIONS)
        first = out - few * (len(DILATIONS) - 1)
        self.reduce = conv(into, few, 3, 2) if down else conv(into, few, 1)
        self.branches = nn.ModuleList(
            conv(few, few if place else first, 3, dilation=dilation)
            for place, dilation in enumerate(DILATIONS)
        )
        self.act, self.add = Act(out), add and not down

    def forward(self, x: Tensor) -> Tensor:
        small = self.reduce(x)
        parts = [branch(small) for branch in self.branches]
        sums = [parts[1]]
        for part in parts[2:]:
            sums.append(sums[-1] + part)
        y = torch.cat([parts[0], *sums], 1)
        made: Tensor = self.act(x + y if self.add else y)
        return made


class EspNet(nn.Module):
    """0.36 million parameters with 20 classes, p = 2 and q = 8: scores at the picture's own size."""

    def __init__(self, classes: int = 11, p: int = 2, q: int = 8) -> None:
        super().__init__()
        self.first = nn.Sequential(conv(3, 16, 3, 2), Act(16))
        self.pool1, self.pool2 = nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1)
        self.join1 = Act(19)
        self.down2 = Pyramid(19, 64, down=True)
        self.level2 = nn.Sequential(*(Pyramid(64, 64) for _ in range(p)))
        self.join2 = Act(131)
        self.down3 = Pyramid(131, 128, down=True)
        self.level3 = nn.Sequential(*(Pyramid(128, 128) for _ in range(q)))
        self.join3 = nn.Sequential(Act(256), conv(256, classes, 1))
        self.up3 = nn.ConvTranspose2d(classes, classes, 2, 2, bias=False)
        self.side2, self.norm3 = conv(131, classes, 1), nn.BatchNorm2d(classes, eps=1e-3)
        self.mix = nn.Sequential(Act(2 * classes), Pyramid(2 * classes, classes, add=False))
        self.up2 = nn.Sequential(nn.ConvTranspose2d(classes, classes, 2, 2, bias=False), Act(classes))
        self.last = nn.Sequential(conv(classes + 19, classes, 3), Act(classes))
        self.up1 = nn.ConvTranspose2d(classes, classes, 2, 2, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        half = self.pool1(image)
        level1 = self.join1(torch.cat([self.first(image), half], 1))
        down2 = self.down2(level1)
        level2 = self.join2(torch.cat([self.level2(down2), down2, self.pool2(half)], 1))
        down3 = self.down3(level2)
        scores3 = self.up3(self.join3(torch.cat([self.level3(down3), down3], 1)))
        scores2 = self.up2(self.mix(torch.cat([self.side2(level2), self.norm3(scores3)], 1)))
        scores: Tensor = self.up1(self.last(torch.cat([scores2, level1], 1)))
        return scores


def espnet(classes: int = 11) -> EspNet:
    """The same weights at every call, so that a bundle can be checked again."""
    torch.manual_seed(0)
    return EspNet(classes).eval()
