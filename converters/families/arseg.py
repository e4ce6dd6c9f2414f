"""Family ``arseg``: a network for key frames, and a cheaper one in between that sees a smaller picture.

Routes: start and key run ``key`` (image → labels and ``feature``); nonkey runs ``state`` (feature and
motion → ``warped``) and ``nonkey`` (image, warped → labels). The feature always belongs to the anchor: it
is warped once, by the whole way back. Where the feature has the picture's own size (camvid-psp18: 177 MB),
``nonkey`` warps and fuses it strip by strip, and there is no ``state``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss import classes as class_sets
from edge_vss.bundle import MotionSpec, StateSpec, TensorSpec
from edge_vss.converters import cost
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.families import FamilyDescription, FamilyOption
from edge_vss.converters.families import _checkpoints as checkpoints
from edge_vss.converters.families import _variants as variants
from edge_vss.converters.networks.arseg import (
    VARIANTS,
    ArsegVariant,
    Normalised,
    low_size,
    published,
)
from edge_vss.converters.networks.creff import CReFF
from edge_vss.converters.ops.resize import bilinear, enlarging
from edge_vss.converters.ops.warp import warp_feature
from edge_vss.converters.values import Part, Split
from edge_vss.errors import OptionError
from edge_vss.video import Size

POLICY = "gop:12"
"""Key frames where the stream has I-frames; at the latest after 12, the longest way back in training."""
LEAST_PX = 32
STRIP_ROWS = 90
LARGE_PX = 1 << 17
"""A feature of the frame's own size, and of more positions than this, is fused in strips."""

DESCRIPTION = FamilyDescription(
    "AR-Seg: a network for key frames, a cheaper one in between",
    (
        FamilyOption("variant", str, "Which network of the family.", "NAME"),
        FamilyOption(
            "high", Path, "The key frames' network, the other one of the two files.", "FILE", "--hr"
        ),
        FamilyOption("scale", float, "Size of the small pictures, as a share of the frame.", "X"),
        FamilyOption("width", float, "Multiplies the channels of an untrained network.", "X"),
    ),
)


def split(conversion: Conversion) -> Split:
    """Both branches of a variant as graphs.

    Options: ``variant``, ``high`` (the key network's file; the model is the low one's), ``scale`` of the low
    branch's picture, ``width``. Raises OptionError, or ModelError where a file does not fit.
    """
    name = conversion.option("variant", str)
    variant = variants.find("arseg", VARIANTS, name)
    variants.fixed(conversion, str(name))
    class_set = conversion.class_set or class_sets.find(variant.classes)
    size = conversion.size or variant.size
    high, low, notes = checkpoints.pair(
        conversion.path,
        conversion.option("high", Path),
        variant,
        str(name),
        len(class_set),
        conversion.option("width", float),
    )
    scale = _scale(conversion.option("scale", float), conversion.path, notes)
    small = _small(size, scale)
    parts, grid = _parts(high, low, variant, size, small, len(class_set), conversion.logits)
    shape = (1, *grid, high.channels)
    return Split(
        parts=parts,
        state=(StateSpec("feature", shape, "float32", 0.0),),
        routes={
            "start": ("key",),
            "key": ("key",),
            "nonkey": tuple(part.role for part in parts if part.role != "key"),
        },
        motion=MotionSpec(grid, trace="exact", sampling="corners"),
        options={"variant": name, "scale": scale, "width": notes["width"], "logits": conversion.logits},
        size=size,
        source=notes["source"],
        notes={key: value for key, value in notes.items() if key not in ("source", "width")},
        classes=class_set,
        policy=POLICY,
    )


def _parts(
    high: Any, low: Any, variant: ArsegVariant, size: Size, small: Size, classes: int, logits: bool
) -> tuple[tuple[Part, ...], Size]:
    grid: Size = high.grid(size)
    image = TensorSpec("image", (1, *size, 3), "uint8")
    labels = TensorSpec("labels", (1, *size), "uint8")
    feature = TensorSpec("feature", (1, *grid, high.channels), "float32")
    warped = TensorSpec("warped", feature.shape, "float32")
    motion = TensorSpec("motion", (1, 2, *grid), "float32")
    check = TensorSpec("score_check", (1,), "float32")
    wanted = (TensorSpec("logits", (1, classes, *grid), "float32"),) if logits else ()
    # No output of the artifact, but compared with torch.
    scores = () if logits else (TensorSpec("scores", (1, classes, *grid), "float32"),)
    key = Part(
        "key",
        Key(high, variant, size, logits),
        (image,),
        (labels, feature, *wanted, check),
        scores,
        cost.convolutions(high, (1, 3, *size)),
    )
    # The classifier runs on the fused feature, at the high branch's extents.
    between = cost.convolutions(low.feature, (1, 3, *small))
    between += (CReFF.macs(low.channels, grid) + low.channels * classes * math.prod(grid)) / 1e9
    nonkey = (labels, *wanted, check)
    # Only where scores need no resizing: strips are classified by themselves.
    if grid == size and math.prod(grid) > LARGE_PX:
        if logits:
            raise OptionError(
                "--logits would hold scores of the whole picture beside its feature: leave it out"
            )
        fuse = Part(
            "nonkey",
            Strips(low, variant, size, small),
            (image, feature, motion),
            nonkey,
            gmac=between,
        )
        return (key, fuse), grid
    state = Part("state", Warp(size), (feature, motion), (warped,), gmac=0.0)
    fuse = Part(
        "nonkey",
        Nonkey(low, variant, size, small, logits),
        (image, warped),
        nonkey,
        scores,
        between,
    )
    return (key, state, fuse), grid


class Key(torch.nn.Module):
    """Image → labels, feature, the sum of scores and the scores, in the order of its part."""

    def __init__(self, network: Any, variant: ArsegVariant, size: Size, logits: bool) -> None:
        super().__init__()
        self.normalised, self.network = Normalised(variant, size), network
        self.size, self.logits = size, logits

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        feature = self.network.feature(self.normalised(image))
        scores = self.network.classifier(feature)
        # Channels last: a position is then one row, which the warp can gather.
        rows = feature.permute(0, 2, 3, 1).contiguous()
        shown = (scores, scores.sum().reshape(1)) if self.logits else (scores.sum().reshape(1), scores)
        return to_labels(scores, self.network.upsampling, self.size), rows, *shown


class Warp(torch.nn.Module):
    """Feature and motion → the feature where the frame has it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, feature: Tensor, motion: Tensor) -> Tensor:
        return warp_feature(feature, published(motion, self.size))


class Nonkey(torch.nn.Module):
    """Image and warped feature → labels, the sum of scores and the scores, in the order of its part."""

    def __init__(self, network: Any, variant: ArsegVariant, size: Size, small: Size, logits: bool) -> None:
        super().__init__()
        self.normalised, self.network = Normalised(variant, small), network
        self.size, self.logits = size, logits

    def forward(self, image: Tensor, warped: Tensor) -> tuple[Tensor, ...]:
        low = self.network.feature(self.normalised(image))
        fuse = self.network.fuse_attention
        scores = fuse.scores(warped.permute(0, 3, 1, 2), low, self.network.classifier)
        shown = (scores, scores.sum().reshape(1)) if self.logits else (scores.sum().reshape(1), scores)
        return to_labels(scores, self.network.upsampling, self.size), *shown


class Strips(torch.nn.Module):
    """Image, feature and motion → labels and the sum of scores, a few rows of the feature at a time."""

    def __init__(self, network: Any, variant: ArsegVariant, size: Size, small: Size) -> None:
        super().__init__()
        self.normalised, self.network = Normalised(variant, small), network
        self.size = size

    def forward(self, image: Tensor, feature: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        low = self.network.feature(self.normalised(image))
        motion = published(motion, self.size)
        fuse, rows = self.network.fuse_attention, int(feature.shape[1])
        labels, checks = [], []
        for first in range(0, rows, STRIP_ROWS):
            end = min(first + STRIP_ROWS, rows)
            scores = fuse.score_rows(feature, motion, low, self.network.classifier, first, end)
            labels.append(scores.argmax(1).to(torch.uint8))
            checks.append(scores.sum().reshape(1))
        return torch.cat(labels, 1), torch.cat(checks).sum().reshape(1)


def to_labels(scores: Tensor, upsampling: int, size: Size) -> Tensor:
    """The classifier's scores float32 (1, C, h, w) → the best class at ``size``, uint8 (1, H, W).

    The networks enlarge scores by ``upsampling`` (edges aligned), and then to the frame (corners aligned).
    Where both are needed they are one pair of matrices, applied with classes last: a quarter of the time.
    """
    _, classes, height, width = (int(extent) for extent in scores.shape)
    larger = (height * upsampling, width * upsampling)
    if upsampling == 1 or larger == size:
        once = bilinear(scores, larger, align_corners=False)
        return bilinear(once, size, align_corners=True).argmax(1).to(torch.uint8)
    down, across = (
        enlarging(extent, upsampling, wanted) for extent, wanted in zip((height, width), size, strict=True)
    )
    wide = torch.matmul(across, scores[0].permute(1, 2, 0))
    full = torch.matmul(down, wide.reshape(height, size[1] * classes)).reshape(1, *size, classes)
    return full.argmax(3).to(torch.uint8)


def _scale(wanted: float | None, path: Path | None, notes: dict[str, Any]) -> float:
    named = notes.pop("named_scale", None)
    scale = float(wanted or named or 0.5)
    if named is not None and abs(named - scale) > 1e-6:
        raise OptionError(
            f"--scale {scale:g} does not fit {path}, whose name says {named:g}: "
            "a low branch works at the scale it was trained for"
        )
    if not 0.1 <= scale <= 1:
        raise OptionError(
            f"--scale {scale:g}: the low branch's picture is 0.1 to 1 of the frame, usually 0.5"
        )
    return scale


def _small(size: Size, scale: float) -> Size:
    small = low_size(size, scale)
    if min(small) < LEAST_PX:
        raise OptionError(
            f"--size {size[0]}x{size[1]} at --scale {scale:g} leaves {small[0]}x{small[1]} pixels, and the "
            f"network needs {LEAST_PX} each way: give a larger size or scale"
        )
    return small
