"""Pictures and motion to try a network or a graph on: textured, smooth, the same every time."""

from __future__ import annotations

import torch

from edge_vss.video import Size


def pictures(size: Size, count: int, seed: int = 0) -> list[torch.Tensor]:
    """Textured pictures, uint8 (1, H, W, 3): noise at four scales, for both edges and flat areas."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        picture = torch.zeros(1, 3, *size)
        for cells in (3, 9, 27, 81):
            noise = torch.rand(1, 3, cells, cells, generator=generator) - 0.5
            picture += torch.nn.functional.interpolate(
                noise, size, mode="nearest" if cells == 9 else "bilinear"
            )
        made.append(((picture * 110 + 128).clamp(0, 255)).to(torch.uint8).permute(0, 2, 3, 1).contiguous())
    return made


def motions(grid: Size, count: int, seed: int = 0, reach: float = 3.0) -> list[torch.Tensor]:
    """Smooth random motion, float32 (1, 2, h, w), up to ``reach`` grid pixels."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.nn.functional.interpolate(
            (torch.rand(1, 2, 4, 5, generator=generator) * 2 - 1) * reach, grid, mode="bicubic"
        ).contiguous()
        for _ in range(count)
    ]
