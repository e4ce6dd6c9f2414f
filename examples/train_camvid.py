"""Trains a small network on CamVid, on one CPU core, for trying edge-vss on real video.

EDGE_VSS_DATA=... python examples/train_camvid.py --seconds 1500 --out camvid.pt needs the folders
camvid/train, trainannot, val and valannot there: 11 classes, and id 11 for what has no label. CamVid is CC
BY-NC 4.0, so weights made from it are for non-commercial use.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edge_vss.converters.networks.streetnet import streetnet
from edge_vss.demo.sample import WEIGHTS

Bytes = NDArray[np.uint8]
CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
UNLABELLED = 11


def pairs(folder: Path, split: str) -> list[tuple[Bytes, Bytes]]:
    """The pictures (RGB) and label maps of ``train`` or ``val``."""
    found = []
    for name in sorted((folder / f"{split}annot").glob("*.png")):
        labels = cv2.imread(str(name), cv2.IMREAD_GRAYSCALE)
        picture = next((folder / split).glob(f"{name.stem}.*"))
        image = cv2.imread(str(picture), cv2.IMREAD_COLOR)
        if labels is None or image is None:
            raise SystemExit(f"cannot read {name} or {picture}")
        found.append((np.ascontiguousarray(image[..., ::-1], np.uint8), np.asarray(labels, np.uint8)))
    if not found:
        raise SystemExit(f"no label maps in {folder / split}annot: set EDGE_VSS_DATA to what holds camvid/")
    return found


def main() -> None:
    # Found beside this script; not at the top, so that a converter can load `camvid` from anywhere.
    from train_streets import fit, save, score

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--steps", type=int, default=100_000, help="or this many steps of 8 crops")
    parser.add_argument(
        "--scratch", action="store_true", help="begin from noise, not from the streets' weights"
    )
    parser.add_argument("--out", type=Path, default=Path("camvid.pt"))
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    folder = Path(os.environ.get("EDGE_VSS_DATA", ".")) / "camvid"
    train, val = pairs(folder, "train"), pairs(folder, "val")
    network = camvid()
    if not options.scratch:
        # All but the last layer: it has learnt what roads look like, and a CPU is slow to learn it again.
        state = torch.load(WEIGHTS, weights_only=True)
        same = {k: v for k, v in state.items() if v.shape == network.state_dict()[k].shape}
        network.load_state_dict(same, strict=False)
    fit(network, train, len(CLASSES), (240, 320), options.seconds, options.steps, UNLABELLED)
    save(network, options.out)
    report = score(network, iter(val), len(CLASSES), UNLABELLED).result(CLASSES)
    print(f"val: mIoU {report.miou:.1f}", *(f"{name} {value or 0:.1f}" for name, value in report.iou.items()))


def camvid() -> torch.nn.Module:
    """For the converter: edge-vss convert camvid.pt --model train_camvid.py:camvid --classes camvid"""
    return streetnet(len(CLASSES))


if __name__ == "__main__":
    main()
