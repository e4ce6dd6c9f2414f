"""Tiny networks with several outputs, whose maps on the scene of `tests.helpers.scene` are known."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.helpers.bundles import Nearest
from tests.helpers.scene import HEIGHT, WIDTH

LANE, AREA, ALPHA = "lane", "area", "alpha"
CAR = 2
"""The class of `tests.helpers.scene` that moves."""


BOTH = ("area", "lane")
"""The outputs of TwoHeads."""


class TwoHeads(nn.Module):
    """``area``: the scene's three classes. ``lane``: 1 where the moving car is. One encoder for both."""

    def __init__(self, car: float = 0.0) -> None:
        """``car`` is added to the car's score in ``lane``."""
        super().__init__()
        self.encoder = Nearest()
        self.lane = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            # The car's score against the better of the two others, as far as one convolution can tell: its
            # score alone is enough, because the colours are far apart.
            self.lane.weight.copy_(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])[:, :, None, None])
            self.lane.bias = nn.Parameter(torch.tensor([0.0, car]))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        scores = self.encoder(image)
        return {AREA: scores, LANE: self.lane(scores)}


class Tuple(nn.Module):
    """The same as a tuple, and a matte of the car behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.both = TwoHeads()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.both(image)
        return maps[AREA], maps[LANE], maps[AREA].softmax(1)[:, CAR:]


class Matting(nn.Module):
    """How much of each pixel has the car's blue, 0 to 1: (1, 1, H / 2, W / 2)."""

    def forward(self, image: Tensor) -> Tensor:
        blue = nn.functional.avg_pool2d(image, 2)[:, 2:]
        return ((blue - 60 / 255) * (255 / 140)).clamp(0.0, 1.0)


class Mixed(nn.Module):
    """Class ids of the car (1, H, W), and one score of it (1, 1, H / 2, W / 2)."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        blue = image[:, 2:]
        return (blue > 0.5).to(torch.int64)[:, 0], nn.functional.avg_pool2d(blue, 2) * 10 - 5


def save_exported(path: Path, network: nn.Module) -> Path:
    program = torch.export.export(network.eval(), (torch.zeros(1, 3, HEIGHT, WIDTH),))
    torch.export.save(program, path)
    return path


def save_onnx(path: Path, network: nn.Module, outputs: list[str]) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, HEIGHT, WIDTH),),
            str(path),
            dynamo=False,
            opset_version=18,
            input_names=["image"],
            output_names=outputs,
        )
    return path


def save_all(folder: Path) -> Path:
    """The folder, with these networks in several forms."""
    save_exported(folder / "dict.pt2", TwoHeads())
    save_exported(folder / "tuple.pt2", Tuple())
    save_onnx(folder / "two.onnx", TwoHeads(), list(BOTH))
    save_onnx(folder / "three.onnx", Tuple(), [*BOTH, "alpha"])
    save_onnx(folder / "matting.onnx", Matting(), ["alpha"])
    return folder
