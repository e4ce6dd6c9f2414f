"""From the runtime's picture to what a network takes."""

from __future__ import annotations

import torch
from torch import Tensor

from edge_vss.converters.conversion import Preprocess

LEAST, MOST = {"uint8": 0, "int8": -128}, {"uint8": 255, "int8": 127}
AS_IT_IS = 2
"""How far a quantised pixel may be from the pixel itself: calibration only comes near its range."""


class Normalize(torch.nn.Module):
    """``image`` uint8 (1, H, W, 3) RGB → what a network takes.

    A network of uint8 or int8 takes pixels as they are, or less 128. With ``quantised`` (its scale and zero
    point) it takes the numbers that ``prepare`` gives, rounded to those.
    """

    def __init__(
        self,
        prepare: Preprocess,
        layout: str = "NCHW",
        dtype: str = "float32",
        quantised: tuple[float, int] | None = None,
    ) -> None:
        super().__init__()
        self.bgr, self.layout, self.dtype = prepare.bgr, layout, dtype
        shape = (1, 3, 1, 1) if layout == "NCHW" else (1, 1, 1, 3)
        mean, std = (
            torch.tensor(prepare.mean, dtype=torch.float64),
            torch.tensor(prepare.std, dtype=torch.float64),
        )
        factor, shift = prepare.scale / std, -mean / std
        self.rounds = False
        if quantised is not None:
            scale, zero = quantised
            factor, shift = factor / scale, shift / scale + zero
            pixels = torch.arange(256.0, dtype=torch.float64)[:, None]
            given = (pixels * factor + shift).clamp(LEAST[dtype], MOST[dtype])
            self.rounds = bool(((given - pixels - LEAST[dtype]).abs() > AS_IT_IS).any())
        # One multiplication and one addition, as exact as float32 allows.
        self.register_buffer("factor", factor.float().reshape(shape), persistent=False)
        self.register_buffer("shift", shift.float().reshape(shape), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        if self.bgr:
            image = image.flip(3)
        if self.layout == "NCHW":  # turned while it is still one byte per channel
            image = image.permute(0, 3, 1, 2)
        if self.dtype == "uint8" and not self.rounds:
            return image.contiguous()
        if self.dtype == "int8" and not self.rounds:  # quantised about the middle
            return (image.to(torch.int32) - 128).to(torch.int8)
        factor, shift = self.get_buffer("factor"), self.get_buffer("shift")
        given = image.to(torch.float32) * factor + shift
        if not self.rounds:
            return given
        rounded = torch.floor(given + 0.5).clamp(LEAST[self.dtype], MOST[self.dtype]).to(torch.int32)
        return rounded.to(torch.int8 if self.dtype == "int8" else torch.uint8)
