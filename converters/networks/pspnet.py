"""PSPNet (arXiv 1612.01105) on ResNet-18, in the two kinds that AR-Seg uses: they differ in more than names.

Parameters carry the names of AR-Seg's checkpoints. What only training needs (auxiliary heads, dropout) is
left out, and a module that two names share has one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_vss.converters.networks.resnet import ResNet18, Stage, scaled, stage
from edge_vss.converters.ops.resize import average_pool, bilinear
from edge_vss.video import Size

BINS = (1, 2, 3, 6)

CAMVID_STAGES = (
    Stage(),
    Stage(2),
    Stage(dilations=(1, 1, 2, 2)),
    Stage(dilations=(1, 1, 4, 4)),
)
CITYSCAPES_STAGES = (
    Stage(),
    Stage(2),
    Stage(dilations=(1, 2, 2, 2)),
    Stage(dilations=(1, 4, 4, 4)),
)
"""Their checkpoints fit either kind: the wrong dilation gives wrong pictures and no error."""

CAMVID_ALIASES: dict[str, str] = {}
CAMVID_AUXILIARY = ("classifier.",)
CITYSCAPES_ALIASES = {"final_conv.": "cls.4."}
CITYSCAPES_AUXILIARY = ("aux.",)


class Pyramid(nn.Module):
    """Averages over 1, 4, 9 and 36 parts of the picture, before the feature itself; neither norm nor ReLU."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Identity(), nn.Conv2d(channels, channels, 1, bias=False)) for _ in BINS
        )
        self.bottleneck = nn.Conv2d(channels * (len(BINS) + 1), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        parts = [
            bilinear(part(average_pool(x, cells)), size, align_corners=False)
            for part, cells in zip(self.stages, BINS, strict=True)
        ]
        return functional.relu(self.bottleneck(torch.cat([*parts, x], 1)))


class Up(nn.Module):
    """Twice the extents, then a convolution, batch norm and PReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.PReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        larger: Tensor = self.conv(bilinear(x, (2 * x.shape[2], 2 * x.shape[3]), align_corners=False))
        return larger


class PSPNet18CamVid(nn.Module):
    """Picture, normalised float32 (N, 3, H, W) → feature (N, 64 · width, 8⌈H/8⌉, 8⌈W/8⌉) → scores there."""

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        deep, pooled, first, self.channels = (scaled(count, width) for count in (512, 1024, 256, 64))
        self.feats = ResNet18(CAMVID_STAGES, width)
        self.psp = Pyramid(deep, pooled)
        self.up_1 = Up(pooled, first)
        self.up_2 = Up(first, self.channels)
        self.up_3 = Up(self.channels, self.channels)
        self.final_conv = nn.Conv2d(self.channels, classes, 1)
        self.upsampling = 1

    @property
    def classifier(self) -> nn.Conv2d:
        """What turns a feature into scores."""
        return self.final_conv

    @staticmethod
    def grid(size: Size) -> Size:
        """Extents of the feature for a picture of ``size``."""
        return 8 * -(-size[0] // 8), 8 * -(-size[1] // 8)

    @staticmethod
    def auxiliary_macs(grid: Size, classes: int) -> float:
        """Multiply-accumulates of the head that only training has: of one vector, next to nothing."""
        return 0.0

    def feature(self, x: Tensor) -> Tensor:
        """The feature of a picture."""
        feature: Tensor = self.up_3(self.up_2(self.up_1(self.psp(self.feats(x)[3]))))
        return feature

    def classify(self, feature: Tensor) -> Tensor:
        """Scores (N, classes, h, w) of a feature (N, C, h, w); the published network adds a log-softmax,
        which changes no label."""
        scores: Tensor = self.final_conv(feature)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.feature(x))


class Pools(nn.Module):
    """The feature, then its averages over 1, 4, 9 and 36 parts of the picture."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            nn.Sequential(
                nn.Identity(), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
            )
            for _ in BINS
        )

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        parts = [
            bilinear(part(average_pool(x, cells)), size, align_corners=True)
            for part, cells in zip(self.features, BINS, strict=True)
        ]
        return torch.cat([x, *parts], 1)


class PSPNet18Cityscapes(nn.Module):
    """Picture, normalised float32 (N, 3, H, W) → feature (N, 512 · width, ⌈H/8⌉, ⌈W/8⌉) → scores there."""

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        channels = [scaled(count, width) for count in (64, 128, 256, 512)]
        self.channels = channels[3]
        self.layer0 = nn.Sequential(
            nn.Conv2d(3, channels[0], 7, 2, 3, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        widths = [channels[0], *channels]
        for index, how in enumerate(CITYSCAPES_STAGES):
            setattr(self, f"layer{index + 1}", stage(widths[index], widths[index + 1], how))
        self.upsampling = 1
        pooled = channels[3] // len(BINS)
        self.ppm = Pools(channels[3], pooled)
        self.cls = nn.Sequential(
            nn.Conv2d(channels[3] + len(BINS) * pooled, channels[3], 3, padding=1, bias=False),
            nn.BatchNorm2d(channels[3]),
            nn.ReLU(),
            nn.Identity(),
            nn.Conv2d(channels[3], classes, 1),
        )

    @property
    def classifier(self) -> nn.Module:
        """What turns a feature into scores."""
        return self.cls[4]

    @staticmethod
    def grid(size: Size) -> Size:
        """Extents of the feature for a picture of ``size``."""
        return -(-size[0] // 8), -(-size[1] // 8)

    @staticmethod
    def auxiliary_macs(grid: Size, classes: int) -> float:
        """Multiply-accumulates of the head at 1/8 that only training has; papers count it."""
        return float((9 * 256 * 256 + 256 * classes) * grid[0] * grid[1])

    def feature(self, x: Tensor) -> Tensor:
        """The feature of a picture."""
        for index in range(5):
            x = self.get_submodule(f"layer{index}")(x)
        feature: Tensor = self.cls[:3](self.ppm(x))
        return feature

    def classify(self, feature: Tensor) -> Tensor:
        """Scores (N, classes, h, w) of a feature (N, C, h, w)."""
        scores: Tensor = self.cls[4](feature)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.feature(x))
