"""Moving every mask by a flow of its own, as MPVSS does."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def warp_masks(masks: Tensor, flow: Tensor, *, drift: bool) -> Tensor:
    """Bilinear masks along their flows, with the border beyond the border.

    masks float32 (1, N, h, w), flow float32 (N, 2, h, w) in pixels of that grid (x first), current → key →
    float32 (1, N, h, w). With ``drift`` the source of (x, y) is (x + dx) · (w − 1)/w, as published: no flow
    at all then moves by up to a pixel at the right and lower edge, and weights were trained with that.
    """
    _, count, height, width = (int(extent) for extent in masks.shape)
    spans = [extent if drift else max(extent - 1, 1) for extent in (width, height)]
    x = (flow[:, 0] + torch.arange(width, dtype=torch.float32)) * (2 / spans[0]) - 1
    y = (flow[:, 1] + torch.arange(height, dtype=torch.float32).reshape(-1, 1)) * (2 / spans[1]) - 1
    warped = functional.grid_sample(
        masks.reshape(count, 1, height, width),
        torch.stack((x, y), 3),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return warped.reshape(masks.shape)
