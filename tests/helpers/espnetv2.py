"""A network like ESPNetv2 (Mehta et al., CVPR 2019), from the paper's description.

What makes it hard for int8 is here: depthwise dilated convolutions whose branches are added up one after the
other, grouped 1 × 1 convolutions, PReLU, and the small picture added in again at every scale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BRANCHES = 4
WIDEST = {1: 13, 2: 11, 3: 9, 4: 7}
"""Receptive field that a branch may have, by how often the picture has been halved."""


def normed(inputs: int, outputs: int, kernel: int = 1, groups: int = 1, stride: int = 1) -> nn.Sequential:
    """A convolution, BatchNorm and PReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.PReLU(outputs))


class Pyramid(nn.Module):
    """The EESP unit: reduce, split into dilated branches, add them up hierarchically, merge."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, level: int = 4) -> None:
        super().__init__()
        width = outputs // BRANCHES
        fields = sorted(3 + 2 * i if 3 + 2 * i <= WIDEST[level] else 3 for i in range(BRANCHES))
        self.reduce = normed(inputs, width, groups=BRANCHES)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride, d, d, groups=width, bias=False)
            for d in ((field - 1) // 2 for field in fields)
        )
        self.act_branches = nn.Sequential(nn.BatchNorm2d(outputs), nn.PReLU(outputs))
        self.merge = nn.Conv2d(outputs, outputs, 1, groups=BRANCHES, bias=False)
        self.norm, self.act = nn.BatchNorm2d(outputs), nn.PReLU(outputs)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        sums = [self.branches[0](reduced)]
        for branch in self.branches[1:]:
            sums.append(sums[-1] + branch(reduced))
        merged: Tensor = self.norm(self.merge(self.act_branches(torch.cat(sums, 1))))
        if self.stride > 1:
            return merged
        return self.act(merged + x)  # type: ignore[no-any-return]


class Halved(nn.Module):
    """The strided unit, beside an average of its input, with the small picture added."""

    def __init__(self, inputs: int, outputs: int, level: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(inputs, outputs - inputs, 2, level)
        self.picture = nn.Sequential(normed(3, 3, 3), nn.Conv2d(3, outputs, 1, bias=False))
        self.norm, self.act = nn.BatchNorm2d(outputs), nn.PReLU(outputs)

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        pooled = functional.avg_pool2d(x, 3, 2, 1)
        both = torch.cat([pooled, self.pyramid(x)], 1)
        small = functional.adaptive_avg_pool2d(picture, (both.shape[2], both.shape[3]))
        return self.act(both + self.norm(self.picture(small)))  # type: ignore[no-any-return]


class EspNetV2(nn.Module):
    """Scores (1, classes, H / 2, W / 2); H and W are multiples of 16."""

    def __init__(self, classes: int, channels: tuple[int, int, int, int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        one, two, three, four = channels
        self.first = normed(3, one, 3, stride=2)
        self.down2, self.down3, self.down4 = (
            Halved(one, two, 2),
            Halved(two, three, 3),
            Halved(three, four, 4),
        )
        self.level3 = nn.Sequential(*(Pyramid(three, three, level=3) for _ in range(3)))
        self.level4 = nn.Sequential(*(Pyramid(four, four) for _ in range(7)))
        self.project4 = normed(four, three)
        self.mix3 = normed(2 * three, three)
        self.pyramid3 = Pyramid(three, three, level=3)
        self.project3 = nn.Conv2d(three, classes, 1, bias=False)
        self.act3 = nn.Sequential(nn.BatchNorm2d(classes), nn.PReLU(classes))
        self.project2 = normed(two + classes, classes)
        self.project1 = nn.Conv2d(one + classes, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        one = self.first(x)
        two = self.down2(one, x)
        three = self.level3(self.down3(two, x))
        four = self.level4(self.down4(three, x))
        up = torch.cat([_twice(self.project4(four)), three], 1)
        scores = self.act3(self.project3(self.pyramid3(self.mix3(up))))
        scores = self.project2(torch.cat([_twice(scores), two], 1))
        return self.project1(torch.cat([_twice(scores), one], 1))  # type: ignore[no-any-return]


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
