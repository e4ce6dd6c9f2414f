"""How pixels are prepared: (pixel · scale − mean) / std, in the order of the network's channels."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the converter's half is not installed")

import torch

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.ops.normalize import Normalize

RED, GREEN, BLUE = 200.0, 100.0, 50.0


@pytest.mark.parametrize("bgr", [False, True])
def test_mean_and_std_are_in_the_order_of_the_networks_channels(bgr: bool) -> None:
    conversion = Conversion(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), bgr=bgr)
    before = Normalize(conversion.preprocess(), "NCHW", "float32")
    image = torch.tensor([RED, GREEN, BLUE]).to(torch.uint8).expand(1, 4, 6, 3)
    channels = (BLUE, GREEN, RED) if bgr else (RED, GREEN, BLUE)
    expected = [
        (value / 255 - mean) / std
        for value, mean, std in zip(channels, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), strict=True)
    ]
    assert before(image)[0, :, 2, 3].tolist() == pytest.approx(expected, abs=1e-5)
