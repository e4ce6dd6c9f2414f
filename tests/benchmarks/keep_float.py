"""What int8 loses on a network like ESPNetv2, and what leaving some layers float gives back.

python -m tests.benchmarks.keep_float --seconds 600 trains it on generated streets, on one core, and converts
it for each target: all int8, and with --keep-float auto.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import torch

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.demo.sample import CLASSES, MEAN, STD
from edge_vss.demo.scene.streets import scene
from tests.helpers.espnetv2 import EspNetV2
from tests.helpers.videos import encode

SIZE = (176, 320)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="time to train")
    parser.add_argument("--weights", type=Path, help="take these weights, and do not train")
    parser.add_argument("--targets", default="onnx,openvino,tflite")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = options.weights or _trained(folder / "weights.pt", options.seconds)
        factory = folder / "network.py"
        factory.write_text("from tests.helpers.espnetv2 import EspNetV2 as build\n")
        video = encode(folder / "drive.mp4", (image for image, _ in scene(2, frames=100)))
        print("| target | float layers | labels equal to fp32's | MB | MB in fp32 |")
        for target in options.targets.split(","):
            for keep in ((), ("auto",)):
                made = convert(
                    Conversion(
                        weights,
                        classes="streets",
                        size=SIZE,
                        factory=f"{factory}:build",
                        mean=MEAN,
                        std=STD,
                        target=target,
                        precision="int8",
                        calibrate=video,
                        keep_float=keep,
                    ),
                    folder / f"{target}-{len(keep)}.vss",
                )
                _show(target, made.precision)


def _trained(path: Path, seconds: float) -> Path:
    sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
    from train_streets import TRAIN_SEEDS, fit, save

    pairs = [pair for i in range(20) for pair in scene(TRAIN_SEEDS + i, frames=8, every=40)]
    network = EspNetV2(len(CLASSES))
    fit(network, pairs, len(CLASSES), (160, 224), seconds, 100_000)
    save(network, path)
    return path


def _show(target: str, lost: dict[str, Any]) -> None:
    sizes = lost["bytes"]
    kept, equal = lost["float_layers"], lost["against_fp32"]["labels_equal"]
    megabytes = f"{sizes['int8'] / 1e6:.2f} | {sizes['fp32'] / 1e6:.2f}"
    print(f"| {target} | {len(kept)} of {lost['layers']} | {equal:.1%} | {megabytes} |", *kept, flush=True)


if __name__ == "__main__":
    main()
