"""Moving every mask by a flow of its own, as MPVSS does."""

from __future__ import annotations

import torch
from torch import Tensor


def warp_masks(masks: Tensor, flow: Tensor, *, drift: bool) -> Tensor:
    """Bilinear masks along their flows, with the border beyond the border.

    masks float32 (1, N, h, w), at least 2 x 2, flow float32 (N, 2, h, w) in pixels of that grid (x first),
    current → key → float32 (1, N, h, w). With ``drift`` the source of (x, y) is (x + dx) · (w − 1)/w, as
    published: no flow at all then moves by up to a pixel at the right and lower edge, and weights were
    trained with that.

    The four neighbours of every place are laid beside each other, and are one row of a table then.
    """
    _, count, height, width = (int(extent) for extent in masks.shape)
    x = flow[:, 0] + torch.arange(width, dtype=torch.float32)
    y = flow[:, 1] + torch.arange(height, dtype=torch.float32).reshape(-1, 1)
    if drift:
        x, y = x * ((width - 1) / width), y * ((height - 1) / height)
    x, y = x.clamp(0.0, width - 1.0), y.clamp(0.0, height - 1.0)
    left, top = x.floor().clamp(max=width - 2.0), y.floor().clamp(max=height - 2.0)
    across, down = x - left, y - top
    corners = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    near = [masks[0, :, i : height - 1 + i, j : width - 1 + j] for i in (0, 1) for j in (0, 1)]
    places = (height - 1) * (width - 1)
    # float32 counts the places of one mask, and not of all.
    row = (top * (width - 1) + left).to(torch.int64) + places * torch.arange(count).reshape(-1, 1, 1)
    taken = torch.stack(near, 3).reshape(-1, 4).index_select(0, row.reshape(-1))
    return (taken * torch.stack(corners, 3).reshape(-1, 4)).sum(1).reshape(masks.shape)
