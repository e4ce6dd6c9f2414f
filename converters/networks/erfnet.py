"""ERFNet (Romera et al., IEEE T-ITS 2018): residual blocks of 3 × 1 and 1 × 3 convolutions.

Parameters carry the names of its checkpoints. What only training needs (dropout, the classifier that the
encoder is trained with) is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_vss.converters.ops.norm import folded
from edge_vss.converters.ops.upconv import double

EPSILON = 1e-3
"""Of every batch norm here; PyTorch's own is 1e-5."""

CHANNELS = (16, 64, 128)
"""At a half, a quarter and an eighth of the picture."""

DILATIONS = (2, 4, 8, 16) * 2

AUXILIARY = ("encoder.output_conv.",)
"""What checkpoints hold for training only."""


class Down(nn.Module):
    """Half the extents: what a convolution gives, and beside it the maxima of the input's own channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs - inputs, 3, 2, 1)
        self.bn = nn.BatchNorm2d(outputs, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(torch.cat([self.conv(x), functional.max_pool2d(x, 2)], 1)))


class Factorised(nn.Module):
    """Two 3 × 3 convolutions around a shortcut, each as a column and a row; the second is dilated."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        d = dilation
        self.conv3x1_1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.conv1x3_1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.bn1 = nn.BatchNorm2d(channels, EPSILON)
        self.conv3x1_2 = nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1))
        self.conv1x3_2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d))
        self.bn2 = nn.BatchNorm2d(channels, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.conv3x1_1(x))
        y = functional.relu(self.bn1(self.conv1x3_1(y)))
        y = functional.relu(self.conv3x1_2(y))
        return functional.relu(x + self.bn2(self.conv1x3_2(y)))


class Up(nn.Module):
    """Twice the extents."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1)
        self.bn = nn.BatchNorm2d(outputs, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:  # a norm that still learns cannot be folded
            return functional.relu(self.bn(self.conv(x)))
        factor, shift = folded(self.bn)
        weight, bias = self.conv.weight * factor.reshape(1, -1, 1, 1), self.conv.get_parameter("bias")
        return functional.relu(double(x, weight, bias * factor + shift))


class Encoder(nn.Module):
    """Picture, float32 (N, 3, H, W) from 0 to 1 → feature (N, 128, H / 8, W / 8); H and W multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth = CHANNELS
        self.initial_block = Down(3, half)
        self.layers = nn.Sequential(
            Down(half, quarter),
            *(Factorised(quarter) for _ in range(5)),
            Down(quarter, eighth),
            *(Factorised(eighth, dilation) for dilation in DILATIONS),
        )

    def forward(self, x: Tensor) -> Tensor:
        feature: Tensor = self.layers(self.initial_block(x))
        return feature


class Decoder(nn.Module):
    """Feature (N, 128, h, w) → scores (N, classes, 8 h, 8 w)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        half, quarter, eighth = CHANNELS
        self.layers = nn.Sequential(
            Up(eighth, quarter),
            *(Factorised(quarter) for _ in range(2)),
            Up(quarter, half),
            *(Factorised(half) for _ in range(2)),
        )
        self.output_conv = nn.ConvTranspose2d(half, classes, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.output_conv(self.layers(x))
        return scores
