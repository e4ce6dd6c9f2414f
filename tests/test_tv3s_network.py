"""TV3S's network: its windows, its parameters, the original's numbers, and clips against streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_vss.converters.networks.mit import VARIANTS, MiT
from edge_vss.converters.networks.tv3s import TV3S
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.readers._untrained_weights import fill
from tests.test_goldens import noise, same

pytest.importorskip("transformers", reason="MiT's blocks come from transformers")


def network(variant: str = "mit-b1", classes: int = 124) -> TV3S:
    made = TV3S(MiT(VARIANTS[variant]), classes)
    fill(made)
    return made.eval().requires_grad_(False)


def test_the_originals_numbers(data: Path) -> None:
    path = data.parent / "goldens" / "seed_goldens.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the data folder")
    golden: dict[str, Any] = json.loads(path.read_text())["tv3s-b1-124"]
    tv3s, size = network(), (256, 320)
    memory = tv3s.nothing(size)
    with torch.inference_mode():
        for frame in range(4):
            feature = tv3s.feature(noise((1, 3, *size), (frame + 1) / 10))
            seen, memory = tv3s.remember(feature.permute(0, 2, 3, 1), memory)
            scores = bilinear(tv3s.classify(seen.permute(0, 3, 1, 2)), (64, 80), align_corners=False)
            if frame == 0:
                same(scores, golden["frame0_logits"])
    same(feature, golden["feat_resized"])
    same(scores, golden["frame3_logits"])
    same(memory[0][0][0].T, golden["ssm_layer0_cell00"])
    same(memory[0][1][:, 0], golden["conv_layer0_cell00"])
    same(memory[7][0][0].T, golden["ssm_layer7_cell11"])
