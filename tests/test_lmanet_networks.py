"""LMANet's networks: what its checkpoints hold, what it costs, and the original's numbers under deterministic
weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_vss.converters.cost import convolutions
from edge_vss.converters.networks.lmanet import VARIANTS, LMANet
from edge_vss.converters.readers._untrained_weights import fill
from tests.test_goldens import goldens as goldens  # a fixture
from tests.test_goldens import noise, same

CLASSES = 20
UNUSED = 256 * 2048 + 256
"""Weights of psp101's conv_layer_2, which its checkpoints hold and its network does without."""


@pytest.fixture(scope="module", params=VARIANTS)
def network(request: pytest.FixtureRequest) -> tuple[str, LMANet]:
    """Each variant, filled: the larger takes some seconds."""
    built = VARIANTS[request.param].build(CLASSES).eval()
    fill(built)
    return request.param, built


def read(query: Tensor, slots: list[tuple[Tensor, Tensor]], window: int) -> Tensor:
    """The memory read as the paper writes it: one softmax over all slots and offsets, zeros outside."""
    height, width = query.shape[2:]

    def around(x: Tensor) -> Tensor:
        return F.unfold(x, window, padding=window // 2).reshape(1, x.shape[1], -1, height, width)

    keys = torch.cat([around(key) for key, _ in slots], 2)
    weights = (query.unsqueeze(2) * keys).sum(1, keepdim=True).softmax(2)
    mixed: Tensor = (weights * torch.cat([around(value) for _, value in slots], 2)).sum(2)
    return mixed


def test_the_original_gives_the_same_numbers(goldens: dict[str, Any]) -> None:
    golden = goldens["lmanet-erf-S2-P21"]
    network = VARIANTS["erf"].build(CLASSES).eval()
    fill(network)
    with torch.inference_mode():
        *before, feature = (
            network.encode(noise((3, 128, 256), seed)[None] * 0.5 + 0.5) for seed in (0.1, 0.2, 0.3)
        )
        same(network.decode(before[0]), golden["cold_logits_frame0"])
        same(feature, golden["enc_last"])
        key, value = network.ask(feature)
        same(key, golden["kQ"])
        same(value, golden["vQ"])
        slots = [network.memorise(earlier) for earlier in before]
        same(slots[0][0], golden["kM0"])
        memory = read(key, slots, VARIANTS["erf"].window)
        same(memory, golden["mem"])
        fused = network.fuse(value, memory)
        same(fused, golden["fused"])
        same(network.decode(fused), golden["logits"])


def test_checkpoints_hold_as_many_tensors_and_weights(network: tuple[str, LMANet]) -> None:
    name, built = network
    tensors, weights = len(built.state_dict()), sum(p.numel() for p in built.parameters())
    parts = {part: sum(p.numel() for p in child.parameters()) for part, child in built.named_children()}
    if name == "psp101":
        tensors, weights = tensors + 2, weights + UNUSED
        parts["memory_fusion"] += UNUSED
    assert tensors == {"erf": 374, "psp101": 690}[name]
    assert weights / 1e6 == pytest.approx({"erf": 2.6921, "psp101": 72.5327}[name], abs=5e-5)
    projections = {"kv_M_r4": 0.0922, "kv_Q_r4": 0.0922}
    expected = {
        "erf": {"encoder": 1.8740, **projections, "memory_fusion": 0.4434, "decoder": 0.1902},
        "psp101": {
            "encoder": 42.624,
            "kv_M_r4": 2.3594,
            "kv_Q_r4": 2.3594,
            "memory_fusion": 2.1064,
            "decoder": 18.8851,
            "ppm": 4.1984,
        },
    }
    assert {part: count / 1e6 for part, count in parts.items()} == pytest.approx(expected[name], abs=1e-4)


def test_cost_is_that_of_the_original(network: tuple[str, LMANet]) -> None:
    name, built = network
    size = VARIANTS[name].size
    grid = built.grid(size)
    feature, value = (1, {"erf": 128, "psp101": 2048}[name], *grid), (1, built.value_channels, *grid)
    steps: list[tuple[Callable[[Any], Any], tuple[int, ...]]] = [
        (built.encode, (1, 3, *size)),
        (built.ask, feature),
        (lambda x: built.fuse(x, x), value),
        (built.decode, feature),
    ]
    # 5.10 as published: doubling by one convolution multiplies with 7 zeros for every 9 weights (ops.upconv).
    expected = {"erf": [21.51, 0.755, 3.62, 5.80], "psp101": [1491, 78, 69.5, 626]}
    found = [convolutions(step, shape) for step, shape in steps]
    assert found == pytest.approx(expected[name], rel=0.005)


def test_every_step_keeps_to_its_shapes(network: tuple[str, LMANet]) -> None:
    name, built = network
    variant = VARIANTS[name]
    size = (64 + variant.rest, 128 + variant.rest)
    grid = built.grid(size)
    assert grid == (8 + variant.rest, 16 + variant.rest)
    with torch.inference_mode():
        feature = built.encode(noise((1, 3, *size), 0.1))
        assert tuple(feature.shape[2:]) == grid
        key, value = built.ask(feature)
        slot = built.memorise(feature)
        assert key.shape == slot[0].shape == (1, built.key_channels, *grid)
        assert value.shape == slot[1].shape == (1, built.value_channels, *grid)
        assert not torch.equal(key, slot[0])
        fused = built.fuse(value, read(key, [slot], 5))
        assert fused.shape == feature.shape
        scores = built.decode(fused)
    assert scores.shape == (1, CLASSES, *(extent * built.upsampling for extent in grid))
    assert scores.isfinite().all()
    assert (name == "psp101") == (not scores[:, -1].any())
    assert scores[:, :-1].any((0, 2, 3)).all()


def test_names_of_pspnet_alone_find_their_places(network: tuple[str, LMANet]) -> None:
    name, built = network
    own = set(built.state_dict())
    for alias, ours in VARIANTS[name].aliases.items():
        elsewhere = {key.replace(ours, alias, 1) for key in own if key.startswith(ours)}
        assert elsewhere and {ours + key.removeprefix(alias) for key in elsewhere} <= own
        assert not any(key.startswith(alias) for key in own)
    assert not any(key.startswith(VARIANTS[name].auxiliary) for key in own)
