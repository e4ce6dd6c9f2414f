"""StreetNet: a small encoder and decoder of plain convolutions, for the sample and short trainings on a CPU.

Residual blocks at a quarter of the input keep thin things; inverted residuals (MobileNetV2, arXiv 1801.04381)
at an eighth and a sixteenth, with filters of up to 7 × 7, see the surroundings; a top-down sum (FPN, arXiv
1612.03144) joins them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, 1, groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3 × 3 convolutions around a sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


class Inverted(nn.Module):
    """Widen, filter each channel by itself, narrow; summed with the input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__()
        wide = 2 * outputs
        self.same = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            ConvBlock(inputs, wide, 1),
            ConvBlock(wide, wide, kernel, stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.same else y


class StreetNet(nn.Module):
    """Normalised RGB (N, 3, H, W) to logits (N, classes, H/4, W/4); H and W are best multiples of 16."""

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        thin, fine, mid, deep = (8 * max(1, round(channels * width / 8)) for channels in (24, 40, 64, 80))
        self.stem = nn.Sequential(ConvBlock(3, thin, stride=2), ConvBlock(thin, fine, stride=2))
        self.quarter = nn.Sequential(Residual(fine), Residual(fine))
        self.eighth = nn.Sequential(
            Inverted(fine, mid, stride=2), Inverted(mid, mid), Inverted(mid, mid, kernel=5)
        )
        self.sixteenth = nn.Sequential(
            Inverted(mid, deep, stride=2), Inverted(deep, deep, kernel=5), Inverted(deep, deep, kernel=7)
        )
        self.from_deep = ConvBlock(deep, mid, 1)
        self.from_mid = ConvBlock(mid, fine, 1)
        self.head = nn.Sequential(ConvBlock(fine, fine), nn.Conv2d(fine, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        fine = self.quarter(self.stem(image))
        mid = self.eighth(fine)
        deep = self.from_deep(self.sixteenth(mid))
        mid = self.from_mid(
            mid + functional.interpolate(deep, size=mid.shape[2:], mode="bilinear", align_corners=False)
        )
        fine = fine + functional.interpolate(mid, size=fine.shape[2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.head(fine)
        return logits


def streetnet(classes: int = 9, width: float = 1.0) -> nn.Module:
    """The untrained network; ``width`` scales the channels: 1 has 0.23 M weights, 1.5 GMAC at 352 × 640."""
    return StreetNet(classes, width)


def load(path: str, classes: int = 9, width: float = 1.0) -> nn.Module:
    """The network with the weights of a state dict, ready to infer."""
    network = streetnet(classes, width)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()
