"""A tiny network that is right on the scene of `tests.helpers.scene`, and its bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from tests.helpers.scene import CLASSES, COLOURS, HEIGHT, WIDTH


class Nearest(torch.nn.Module):
    """Scores by the distance to each class's colour: exact on the scenes made here, and tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, len(CLASSES), 1)
        # -|x - c|² and 2x·c - |c|² have the same largest class, and the second is a 1x1 convolution.
        colours = torch.from_numpy(COLOURS / 255)
        self.layer.weight.data = 2 * colours[:, :, None, None]
        self.layer.bias = torch.nn.Parameter(-(colours**2).sum(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = 8 * self.layer(torch.nn.functional.avg_pool2d(image, 2))
        return scores


def make_model(path: Path) -> Path:
    """The network as an exported program."""
    program = torch.export.export(Nearest().eval(), (torch.zeros(1, 3, HEIGHT, WIDTH),))
    torch.export.save(program, path)
    return path


def make_bundle(folder: Path, **options: Any) -> Path:
    """A bundle ``tiny.vss`` in ``folder``, made by a real conversion with further ``options``."""
    names = folder / "classes.txt"
    names.write_text(
        "".join(
            f"{name} {int(r)} {int(g)} {int(b)}\n" for name, (r, g, b) in zip(CLASSES, COLOURS, strict=True)
        )
    )
    bundle = folder / "tiny.vss"
    convert(
        Conversion(make_model(folder / "tiny.pt2"), size=(HEIGHT, WIDTH), classes=str(names), **options),
        bundle,
    )
    return bundle
