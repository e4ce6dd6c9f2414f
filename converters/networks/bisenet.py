"""BiSeNet (arXiv 1808.00897) on ResNet-18, as AR-Seg uses it: a feature at 1/8, and a 1 × 1 classifier.

Parameters carry the names of AR-Seg's checkpoints. What only training needs (the auxiliary heads) is left
out, and a module that two names share has one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_vss.converters.networks.resnet import ResNet18, scaled
from edge_vss.converters.ops.resize import bilinear, double
from edge_vss.video import Size

ALIASES = {"feat_conv_out.": "conv_out.conv.", "final_conv.": "conv_out.conv_out."}
"""Second names in checkpoints → the names used here."""

AUXILIARY = ("conv_out16.", "conv_out32.")
"""What checkpoints hold for training only."""


class ConvBnRelu(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class Refinement(nn.Module):
    """Attention refinement: channels weighed by their mean over the picture."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBnRelu(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(x.mean((2, 3), keepdim=True))))


class ContextPath(nn.Module):
    """Picture → what surrounds each place, at 1/8 (twice the extents at 1/16)."""

    def __init__(self, width: float) -> None:
        super().__init__()
        middle, deep, out = (scaled(count, width) for count in (256, 512, 128))
        self.resnet = ResNet18(width=width)
        self.arm16 = Refinement(middle, out)
        self.arm32 = Refinement(deep, out)
        self.conv_head32 = ConvBnRelu(out, out)
        self.conv_head16 = ConvBnRelu(out, out)
        self.conv_avg = ConvBnRelu(deep, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, _, at16, at32 = self.resnet(x)
        average = self.conv_avg(at32.mean((2, 3), keepdim=True))
        below = double(self.arm32(at32) + average)
        below = self.conv_head32(bilinear(below, (at16.shape[2], at16.shape[3]), align_corners=True))
        context: Tensor = self.conv_head16(double(self.arm16(at16) + below))
        return context


class SpatialPath(nn.Module):
    """Picture → its detail, at 1/8."""

    def __init__(self, width: float) -> None:
        super().__init__()
        inner = scaled(64, width)
        self.conv1 = ConvBnRelu(3, inner, 7, 2)
        self.conv2 = ConvBnRelu(inner, inner, 3, 2)
        self.conv3 = ConvBnRelu(inner, inner, 3, 2)
        self.conv_out = ConvBnRelu(inner, scaled(128, width), 1)

    def forward(self, x: Tensor) -> Tensor:
        detail: Tensor = self.conv_out(self.conv3(self.conv2(self.conv1(x))))
        return detail


class Fusion(nn.Module):
    """Feature fusion of both paths."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convblk = ConvBnRelu(channels, channels, 1)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        x: Tensor = self.convblk(torch.cat([detail, context], 1))
        return x + x * torch.sigmoid(self.bn(self.conv(x.mean((2, 3), keepdim=True))))


class Output(nn.Module):
    """The last 3 × 3 convolution, whose result is the feature, and the classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBnRelu(channels, channels)
        self.conv_out = nn.Conv2d(channels, classes, 1)


class BiSeNet18(nn.Module):
    """Picture, normalised float32 (N, 3, H, W) → feature (N, 256 · width, 2⌈H/16⌉, 2⌈W/16⌉) → scores × 8.

    ``width`` scales every channel count: 1 is the published network, 0.25 has a sixteenth of its cost.
    """

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        self.channels = 2 * scaled(128, width)
        self.upsampling = 8
        self.cp = ContextPath(width)
        self.sp = SpatialPath(width)
        self.ffm = Fusion(self.channels)
        self.conv_out = Output(self.channels, classes)

    @property
    def classifier(self) -> nn.Conv2d:
        """What turns a feature into scores."""
        return self.conv_out.conv_out

    @staticmethod
    def grid(size: Size) -> Size:
        """Extents of the feature for a picture of ``size``."""
        return 2 * -(-size[0] // 16), 2 * -(-size[1] // 16)

    @staticmethod
    def auxiliary_macs(grid: Size, classes: int) -> float:
        """Multiply-accumulates of the heads at 1/8 and 1/16 that only training has; papers count them."""
        return (9 * 128 * 64 + 64 * classes) * grid[0] * grid[1] * 1.25

    def feature(self, x: Tensor) -> Tensor:
        """The feature of a picture."""
        context = self.cp(x)
        detail = bilinear(self.sp(x), (context.shape[2], context.shape[3]), align_corners=True)
        feature: Tensor = self.conv_out.conv(self.ffm(detail, context))
        return feature

    def classify(self, feature: Tensor) -> Tensor:
        """Scores (N, classes, 8 h, 8 w) of a feature (N, C, h, w)."""
        scores: Tensor = self.classifier(feature)
        return bilinear(scores, (8 * feature.shape[2], 8 * feature.shape[3]), align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.feature(x))
