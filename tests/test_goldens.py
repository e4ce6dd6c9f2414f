"""The published networks, rebuilt: their numbers under deterministic weights against the originals'."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_vss.converters.families.mpvss import enlarged
from edge_vss.converters.networks.arseg import VARIANTS, branches, fused
from edge_vss.converters.networks.mpvss_flow import MEAN, Flow, FlowShape, reduced
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.warp import warp_feature
from edge_vss.converters.ops.warp_masks import warp_masks
from edge_vss.converters.readers._untrained_weights import fill, pseudo_random

ARSEG = {
    "arseg-camvid-psp18": ("camvid-psp18", 12),
    "arseg-camvid-bise18": ("camvid-bise18", 12),
    "arseg-city-psp18": ("cityscapes-psp18", 19),
}


@pytest.fixture(scope="module")
def goldens(data: Path) -> dict[str, Any]:
    """Summaries of the originals' tensors, beside the data."""
    path = data.parent / "goldens" / "seed_goldens.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the data folder")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def noise(shape: tuple[int, ...], seed: float) -> Tensor:
    return torch.tensor(pseudo_random(math.prod(shape), seed).reshape(shape), dtype=torch.float32)


def same(found: Tensor, golden: dict[str, Any]) -> None:
    """Mean, deviation and eight values, relative to the largest of them."""
    values = found.double().flatten().numpy()
    middle = len(values) // 2
    ours = [values.mean(), values.std(ddof=1), *values[:3], *values[middle : middle + 3], *values[-2:]]
    theirs = [golden["mean"], golden["std"], *golden["first"], *golden["mid"], *golden["last"]]
    assert len(values) == golden["n"]
    assert np.abs(np.array(ours) - theirs).max() <= 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("entry", ARSEG)
def test_arseg(entry: str, goldens: dict[str, Any]) -> None:
    golden = goldens[entry]
    name, classes = ARSEG[entry]
    high, low = branches(VARIANTS[name], classes)
    for network in (high, low):
        fill(network)
        network.eval()
    with torch.inference_mode():
        feature = high.feature(noise((1, 3, 120, 160), 0.5))
        scores = high.classify(feature)
        if name == "camvid-psp18":  # the published network ends in one
            scores = torch.log_softmax(scores, 1)
        if name == "cityscapes-psp18":
            scores = bilinear(scores, (120, 160), align_corners=True)
        same(scores, golden["hr_logits"])
        same(feature, golden["feat_key"])
        height, width = feature.shape[2:]
        wave = 9 * torch.sin(0.0007 * torch.arange(2 * 120 * 160, dtype=torch.float64) + 0.3).float()
        motion = bilinear(wave.reshape(1, 2, 120, 160) * (height / 120), (height, width), align_corners=True)
        rows = feature.permute(0, 2, 3, 1)
        same(warp_feature(rows, motion).permute(0, 3, 1, 2), golden["feat_warp"])
        picture = bilinear(noise((1, 3, 120, 160), 0.25), (60, 80), align_corners=True)
        same(low.feature(picture), golden["lr_feat"])
        repaired = fused(low, rows, motion, picture)
        same(repaired, golden["fused"])
        scores = low.classify(repaired)
        same(torch.log_softmax(scores, 1) if name == "camvid-psp18" else scores, golden["logits"])


def test_mpvss_motion(goldens: dict[str, Any]) -> None:
    golden = goldens["mpvss-motion"]
    whole = torch.nn.Module()
    whole.motion = flow = Flow(FlowShape()).eval()  # the names have it before them
    fill(whole)
    mean = torch.tensor(MEAN).reshape(1, 3, 1, 1)
    pictures = [
        reduced((noise((1, 3, 128, 192), seed) * 127.5 + 127.5).round() / 255 - mean) for seed in (0.3, 0.6)
    ]
    with torch.inference_mode():
        pair = torch.cat(pictures, 1)
        same(pair, golden["flow_input"])
        maps = flow.encoder(pair)
        same(maps[0], golden["e2"])
        same(maps[4], golden["e6"])
        found = flow(*pictures, noise((100, 1, 256), 0.9)[:, 0])
        assert list(found.shape) == golden["qflow_shape"]
        same(found, golden["qflow"])
        masks = 4 * noise((1, 100, 32, 48), 0.7)
        same(warp_masks(masks, enlarged(found), drift=True), golden["warped_masks"])
