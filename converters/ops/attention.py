"""Attention written out as matrix products, with the positions that transformers of pictures add."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edge_vss.video import Size

CLOSED = 1e9
"""What is taken from the logit of a position that must not be looked at: its weight is then exactly 0."""


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Softmax attention in ``heads`` heads, of projected tensors.

    query (Q, D), key (K, D), value (K, D), bias (Q, K) for all heads alike → (Q, D).
    """
    width = int(query.shape[1]) // heads
    asked = (query * width**-0.5).reshape(-1, heads, width).transpose(0, 1)
    logits = torch.matmul(asked, key.reshape(-1, heads, width).permute(1, 2, 0))
    if bias is not None:
        logits = logits + bias
    mixed = torch.matmul(logits.softmax(-1), value.reshape(-1, heads, width).transpose(0, 1))
    return mixed.transpose(0, 1).reshape(query.shape)


def masked(logits: Tensor) -> Tensor:
    """The bias for attention that looks only where a mask's logit (Q, K) is 0 or more.

    A query whose mask is empty looks everywhere (Mask2Former, arXiv 2112.01527, does so too).
    """
    opened = (logits >= 0).to(torch.float32)
    nowhere = 1 - opened.amax(1, keepdim=True)
    return (torch.maximum(opened, nowhere) - 1) * CLOSED


def sine_positions(size: Size, channels: int) -> Tensor:
    """Sine positions of a map of ``size``, normalised, with temperature 10000: (h · w, channels), y first."""
    steps = torch.arange(channels // 2, dtype=torch.float32)
    scale = 10000 ** (2 * torch.div(steps, 2, rounding_mode="floor") / (channels // 2))
    lines = []
    for extent in size:
        at = torch.arange(1, extent + 1, dtype=torch.float32) / (extent + 1e-6) * (2 * math.pi)
        angle = at.reshape(-1, 1) / scale
        lines.append(torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), 2).flatten(1))
    down = lines[0].unsqueeze(1).expand(-1, size[1], -1)
    across = lines[1].unsqueeze(0).expand(size[0], -1, -1)
    return torch.cat((down, across), 2).reshape(size[0] * size[1], -1)
