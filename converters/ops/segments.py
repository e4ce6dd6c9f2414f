"""From masks and their classes to a label for every pixel (MaskFormer, arXiv 2107.06278, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from edge_vss.converters.ops.resize import bilinear
from edge_vss.video import Size

TIMES = 4
"""Masks have a quarter of the picture's extents."""
ROWS = 15
"""Of masks that are enlarged at a time."""


def mixed(masks: Tensor, classes: Tensor) -> Tensor:
    """Masks (1, Q, h, w), logits, and the share of each class in them (1, Q, C) → scores (1, C, h, w)."""
    height, width = (int(extent) for extent in masks.shape[2:])
    scores = torch.matmul(classes.transpose(1, 2), masks.sigmoid().flatten(2))
    return scores.reshape(1, -1, height, width)


def labels_of(masks: Tensor, classes: Tensor, size: Size, whole: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The same at the picture's own size: masks are enlarged first, some rows at a time.

    Gives labels uint8 (1, *size), cut from what the masks cover, the sum of the scores (1,), and with
    ``whole`` the scores (1, C, 4h, 4w), else the last rows of them.
    """
    height, width = (int(extent) for extent in masks.shape[2:])
    labels, checks = [], []
    kept: list[Tensor] = []
    for first in range(0, height, ROWS):
        end = min(first + ROWS, height)
        above, below = max(first - 1, 0), min(end + 1, height)
        strip = masks[:, :, above:below]
        larger = bilinear(strip, (TIMES * (below - above), TIMES * width), align_corners=False)
        own = larger[:, :, TIMES * (first - above) : TIMES * (end - above)]
        scores = mixed(own, classes)
        labels.append(scores.argmax(1).to(torch.uint8))
        checks.append(scores.sum().reshape(1))
        kept = [*kept, scores] if whole else [scores]
    together = torch.cat(labels, 1)[:, : size[0], : size[1]]
    return together, torch.cat(checks).sum().reshape(1), torch.cat(kept, 2)
