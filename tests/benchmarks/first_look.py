"""How label maps look where pixels are prepared wrongly: ``python -m tests.benchmarks.first_look``.

Two trained networks, the sample's and a branch of the tests' AR-Seg, see four frames of each of five videos:
with the mean and deviation that they were trained with, and with five that are often used by mistake.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_vss.converters.networks.bisenet import BiSeNet18
from edge_vss.converters.networks.streetnet import streetnet
from edge_vss.demo.sample import CLASSES, MEAN, SIZE, STD, WEIGHTS
from edge_vss.demo.scene.encode import write
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Size

ARSEG = Path(__file__).parents[1] / "data" / "arseg_camvid" / "high.pth"
VIDEOS = (
    *("video/0016E5_h264_p_refs1_g12.mp4", "video/udacity_solidWhiteRight.mp4"),
    *("video/intel_car-detection.mp4", "davis/kite-surf_p.mp4"),
)
_MEAN, _STD = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))


def prepared(pixels: Tensor) -> Tensor:
    return (pixels / 255 - _MEAN) / _STD


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "right": prepared,
    "divided by 255": lambda pixels: pixels / 255,
    "prepared twice": lambda pixels: (prepared(pixels) - _MEAN) / _STD,
    "0 to 255": lambda pixels: pixels,
    "mean only": lambda pixels: pixels - 255 * _MEAN,
    "blue first": lambda pixels: prepared(pixels.flip(1)),
}


def loaded(network: nn.Module, path: Path) -> nn.Module:
    weights = torch.load(path, weights_only=True)
    network.load_state_dict({name.removeprefix("module."): value.float() for name, value in weights.items()})
    return network.eval()


def pictures(video: Path, size: Size) -> list[NDArray[np.uint8]]:
    with open_source(video, motion="none") as source:
        return [frame.picture.rgb(size) for frame in source if frame.index in (0, 15, 30, 45)]


def main() -> None:
    networks = {
        "sample": (loaded(streetnet(len(CLASSES)), WEIGHTS), SIZE),
        "arseg": (loaded(BiSeNet18(12, 0.25), ARSEG), (360, 480)),
    }
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "drawn.mp4"
        write(drawn, frames=60, seed=20)
        videos = [drawn, *(Path(os.environ["EDGE_VSS_DATA"]) / video for video in VIDEOS)]
        for name, (network, size) in networks.items():
            for video in videos:
                shown = [torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in pictures(video, size)]
                for way, prepare in WAYS.items():
                    with torch.no_grad():
                        scores = [network(prepare(pixels)) for pixels in shown]
                    shares = [torch.bincount(s.argmax(1).flatten()).max() / s[0, 0].numel() for s in scores]
                    best = [s.softmax(1).topk(2, 1).values for s in scores]
                    margin = np.mean([float((pair[:, 0] - pair[:, 1]).mean()) for pair in best])
                    largest = f"{min(shares):.3f} to {max(shares):.3f}"
                    print(f"{name:7}{video.stem:28}{way:16}largest class {largest}, margin {margin:.3f}")


if __name__ == "__main__":
    main()
