"""ResNet-18 (arXiv 1512.03385) with the strides and dilations that the segmentation networks here give it.

Parameters carry torchvision's names. Only conv1, bn1 and layer1 to layer4: what follows is the network's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (64, 128, 256, 512)


@dataclass(frozen=True)
class Stage:
    """Stride and dilations of a stage's two blocks. Padding always equals dilation."""

    stride: int = 1
    dilations: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Of conv1 and conv2 of block 0, then of block 1."""


OUTPUT_STRIDE_32 = (Stage(), Stage(2), Stage(2), Stage(2))


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, first, first, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, second, second, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)) + beside)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What leads past a block: a 1 × 1 convolution where the shape changes, or nothing."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def stage(inputs: int, outputs: int, how: Stage) -> nn.Sequential:
    """One of layer1 to layer4."""
    dilations = how.dilations
    return nn.Sequential(
        BasicBlock(inputs, outputs, how.stride, dilations[:2]),
        BasicBlock(outputs, outputs, 1, dilations[2:]),
    )


class ResNet18(nn.Module):
    """float32 (N, 3, H, W) → the outputs of layer1 to layer4, 1/4 of the input and smaller."""

    def __init__(self, stages: tuple[Stage, ...] = OUTPUT_STRIDE_32, width: float = 1.0) -> None:
        super().__init__()
        channels = [scaled(count, width) for count in CHANNELS]
        self.conv1 = nn.Conv2d(3, channels[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.layer1 = stage(channels[0], channels[0], stages[0])
        self.layer2 = stage(channels[0], channels[1], stages[1])
        self.layer3 = stage(channels[1], channels[2], stages[2])
        self.layer4 = stage(channels[2], channels[3], stages[3])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return first, second, third, self.layer4(third)


def scaled(channels: int, width: float) -> int:
    """A channel count under a width multiplier."""
    return max(1, round(channels * width))
