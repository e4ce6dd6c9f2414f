"""From the runtime's picture to what a network takes."""

from __future__ import annotations

import torch
from torch import Tensor

from edge_vss.converters.conversion import Preprocess


class Normalize(torch.nn.Module):
    """``image`` uint8 (1, H, W, 3) RGB → what a network takes."""

    def __init__(self, prepare: Preprocess, layout: str = "NCHW", dtype: str = "float32") -> None:
        super().__init__()
        self.bgr, self.layout, self.dtype = prepare.bgr, layout, dtype
        shape = (1, 3, 1, 1) if layout == "NCHW" else (1, 1, 1, 3)
        mean, std = (
            torch.tensor(prepare.mean, dtype=torch.float64),
            torch.tensor(prepare.std, dtype=torch.float64),
        )
        # One multiplication and one addition, as exact as float32 allows.
        self.register_buffer("factor", (prepare.scale / std).float().reshape(shape), persistent=False)
        self.register_buffer("shift", (-mean / std).float().reshape(shape), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        if self.bgr:
            image = image.flip(3)
        if self.layout == "NCHW":  # turned while it is still one byte per channel
            image = image.permute(0, 3, 1, 2)
        if self.dtype == "uint8":
            return image.contiguous()
        if self.dtype == "int8":  # quantised about the middle
            return (image.to(torch.int32) - 128).to(torch.int8)
        factor, shift = self.get_buffer("factor"), self.get_buffer("shift")
        return image.to(torch.float32) * factor + shift
