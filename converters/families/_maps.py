"""What a network gives → a label map at the frame's size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edge_vss.video import Size

CELL_PX = 8
"""Side of a motion cell when labels are carried: the smallest block that codecs commonly move."""


def to_labels(scores: Tensor, size: Size) -> Tensor:
    """Scores float32 (1, C, h, w) → the best class at ``size``, uint8 (1, H, W); bilinear in between."""
    if tuple(scores.shape[2:]) != size:
        scores = F.interpolate(scores, size, mode="bilinear", align_corners=False)
    return scores.argmax(1).to(torch.uint8)


def to_size(labels: Tensor, size: Size) -> Tensor:
    """Labels uint8 (1, h, w) → uint8 (1, H, W), nearest."""
    if tuple(labels.shape[1:]) == size:
        return labels
    larger = F.interpolate(labels.unsqueeze(1).to(torch.float32), size, mode="nearest-exact")
    return larger.squeeze(1).to(torch.uint8)
