"""AR-Seg (CVPR 2023, arXiv 2303.07224): a full network on key frames, a small picture and CReFF in between.

Both branches have the same architecture and their own weights; the low branch also holds
``fuse_attention``, and its classifier is the high one's. The variants differ in more than sizes: each mean
and resize rule here is the one its released weights were trained with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edge_vss.classes import find
from edge_vss.converters.cost import convolutions
from edge_vss.converters.networks import bisenet, pspnet
from edge_vss.converters.networks.creff import CReFF
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.warp import warp_feature
from edge_vss.video import Size


@dataclass(frozen=True)
class ArsegVariant:
    """One published combination of network and data set."""

    build: Callable[[int, float], Any]
    """Number of classes, width multiplier → network."""
    classes: str
    """Name of the class set."""
    size: Size
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of RGB from 0 to 1."""
    aliases: Mapping[str, str]
    auxiliary: tuple[str, ...]


_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAMVID_MEAN, _CAMVID_STD = (0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369)
_BISENET = (bisenet.ALIASES, bisenet.AUXILIARY)

VARIANTS: Mapping[str, ArsegVariant] = {
    "camvid-psp18": ArsegVariant(
        pspnet.PSPNet18CamVid,
        "camvid12",
        (720, 960),
        _CAMVID_MEAN,
        _CAMVID_STD,
        pspnet.CAMVID_ALIASES,
        pspnet.CAMVID_AUXILIARY,
    ),
    "camvid-bise18": ArsegVariant(
        bisenet.BiSeNet18, "camvid12", (720, 960), _CAMVID_MEAN, _CAMVID_STD, *_BISENET
    ),
    "cityscapes-psp18": ArsegVariant(
        pspnet.PSPNet18Cityscapes,
        "cityscapes",
        (1024, 2048),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        pspnet.CITYSCAPES_ALIASES,
        pspnet.CITYSCAPES_AUXILIARY,
    ),
    "cityscapes-bise18": ArsegVariant(
        bisenet.BiSeNet18,
        "cityscapes",
        (1024, 2048),
        (0.3257, 0.3690, 0.3223),
        (0.2112, 0.2148, 0.2115),
        *_BISENET,
    ),
    "streets-bise18": ArsegVariant(bisenet.BiSeNet18, "streets", (352, 640), *_IMAGENET, *_BISENET),
}
"""The four published ones, and the packaged sample's."""


def branches(variant: ArsegVariant, classes: int, width: float = 1.0) -> tuple[Any, Any]:
    """The high network and the low one, which also fuses."""
    high, low = variant.build(classes, width), variant.build(classes, width)
    low.add_module("fuse_attention", CReFF(low.channels))
    return high, low


def low_size(size: Size, scale: float) -> Size:
    """Extents of the low branch's picture. Cut, not rounded: int(720 · 0.7) is 503."""
    return int(size[0] * scale), int(size[1] * scale)


def published_gmac(name: str, scale: float = 0.5, gop: int = 12) -> dict[str, float]:
    """What a variant costs as its paper counts: ``high`` and ``low`` with the heads that only training has,
    ``fusion``, and the ``average`` over a GOP (AR-Seg's supplement, Eq. 1). Bundles hold what is really run.
    """
    variant = VARIANTS[name]
    classes = len(find(variant.classes))
    high, low = branches(variant, classes)
    high.eval()
    low.eval()
    small, grid = low_size(variant.size, scale), high.grid(variant.size)
    whole = convolutions(high, (1, 3, *variant.size)) + high.auxiliary_macs(grid, classes) / 1e9
    less = convolutions(low.feature, (1, 3, *small))
    if variant.build is bisenet.BiSeNet18:  # its low branch is counted with them as well
        less += low.auxiliary_macs(low.grid(small), classes) / 1e9
    fusion = (CReFF.macs(high.channels, grid) + high.channels * classes * grid[0] * grid[1]) / 1e9
    average = (whole + (gop - 1) * (less + fusion)) / gop
    return {"high": whole, "low": less, "fusion": fusion, "average": average}


class Normalised(nn.Module):
    """``image`` uint8 (1, H, W, 3) → float32 (1, 3, h, w), scaled with aligned corners after normalising."""

    def __init__(self, variant: ArsegVariant, size: Size) -> None:
        super().__init__()
        self.size = size
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (variant.mean, variant.std))
        self.register_buffer("factor", (1 / 255 / std).float().reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).float().reshape(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        # Scaling and normalising are both linear, and the smaller picture is the cheaper one to normalise.
        x = bilinear(image.permute(0, 3, 1, 2).to(torch.float32), self.size, align_corners=True)
        return x * self.get_buffer("factor") + self.get_buffer("shift")


def published(motion: Tensor, size: Size) -> Tensor:
    """Motion in grid pixels → as AR-Seg's evaluation scales it: x by the ratio of heights, as y is."""
    height, width = int(motion.shape[2]), int(motion.shape[3])
    across = (height / size[0]) / (width / size[1])
    return motion * torch.tensor([across, 1.0]).reshape(1, 2, 1, 1)


def fused(low: Any, feature: Tensor, motion: Tensor, picture: Tensor) -> Tensor:
    """The feature of a frame between key frames.

    ``feature`` (1, h, w, C) of the key frame, ``motion`` (1, 2, h, w) as ``published``, ``picture`` the low
    branch's → (1, C, h, w).
    """
    warped = warp_feature(feature, motion).permute(0, 3, 1, 2)
    result: Tensor = low.fuse_attention(warped, low.feature(picture))
    return result
