"""A batch norm as what it is at inference: a factor and a shift for every channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def folded(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(C,) and (C,): the norm of x is x · factor + shift."""
    factor = norm.weight * torch.rsqrt(norm.get_buffer("running_var") + norm.eps)
    return factor, norm.bias - norm.get_buffer("running_mean") * factor
