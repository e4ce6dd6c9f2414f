"""ResNet-101 (arXiv 1512.03385) as PSPNet (arXiv 1612.01105) has it: three convolutions for a stem, and an
eighth of the picture to the end, because the last two stages dilate instead of striding.

Parameters carry the names of PSPNet's checkpoints in PyTorch, ``layer0`` to ``layer4``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edge_vss.converters.networks.resnet import shortcut

CHANNELS = 2048

_STEM = 128
_STAGES = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 23, 1, 2), (512, 3, 1, 4))
"""Of layer1 to layer4: inner channels, blocks, stride of the first block, dilation of all."""


class Bottleneck(nn.Module):
    """A 3 × 3 convolution between two of 1 × 1, around a shortcut; four times as many channels leave it."""

    def __init__(self, inputs: int, inner: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = 4 * inner
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return functional.relu(self.bn3(self.conv3(x)) + beside)


class ResNet101(nn.Sequential):
    """Picture, normalised float32 (N, 3, H, W) → feature (N, 2048, ⌈H/8⌉, ⌈W/8⌉)."""

    def __init__(self) -> None:
        super().__init__()
        half = _STEM // 2
        self.layer0 = nn.Sequential(
            *_convolution(3, half, 2),
            *_convolution(half, half),
            *_convolution(half, _STEM),
            nn.MaxPool2d(3, 2, 1),
        )
        inputs = _STEM
        for index, (inner, blocks, stride, dilation) in enumerate(_STAGES, 1):
            first = Bottleneck(inputs, inner, stride, dilation)
            inputs = 4 * inner
            others = (Bottleneck(inputs, inner, 1, dilation) for _ in range(blocks - 1))
            setattr(self, f"layer{index}", nn.Sequential(first, *others))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
