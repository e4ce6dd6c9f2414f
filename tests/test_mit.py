"""MiT under the released names: the original's numbers, its state dict, and what it is exported to."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_vss.bundle import TensorSpec
from edge_vss.converters.networks.mit import VARIANTS, MiT, MitShape
from edge_vss.converters.readers._untrained_weights import fill
from edge_vss.converters.targets import onnx as target
from edge_vss.converters.values import Part, spec
from edge_vss.errors import MissingExtra
from tests.test_goldens import noise, same

pytest.importorskip("transformers", reason="the converter's part for TV3S is not installed")

TINY = MitShape((1, 2, 1, 1), (8, 16, 40, 64))


class Larger(nn.Module):
    """A network that has an encoder, as the released ones do."""

    def __init__(self, variant: MitShape = TINY) -> None:
        super().__init__()
        self.backbone = MiT(variant)
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = self.backbone(x)
        return maps


@pytest.fixture(scope="module")
def tiny() -> Larger:
    """Filled, and in no test changed."""
    network = Larger()
    fill(network)
    return network.eval()


def exported(network: nn.Module, x: Tensor) -> Part:
    """``network`` as a part that takes ``x`` and gives maps c1, c2, ..."""
    with torch.inference_mode():
        maps = network(x)
    specs = tuple(spec(f"c{index}", made) for index, made in enumerate(maps, 1))
    return Part("encoder", network, (TensorSpec("x", tuple(x.shape), "float32"),), specs)


def check_onnx(network: nn.Module, x: Tensor, folder: Path) -> None:
    """ONNX Runtime and OpenVINO give what PyTorch does, from one file."""
    part = exported(network, x)
    (artifact,) = target.export([part], folder, {})
    file = folder / artifact.file
    with torch.inference_mode():
        expected = [made.numpy() for made in network(x)]
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for found, wanted in zip(session.run(None, {"x": x.numpy()}), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for found, wanted in zip(compiled(x.numpy()).values(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_original_s_numbers(data: Path) -> None:
    path = data.parent / "goldens" / "seed_goldens.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the data folder")
    golden: dict[str, Any] = json.loads(path.read_text())["tv3s-b1-124"]
    network = Larger(VARIANTS["mit-b1"])
    fill(network)
    with torch.inference_mode():
        frames = [network.eval()(noise((1, 3, 256, 320), frame / 10)) for frame in (1, 2, 3, 4)]
    # Each summary is of all four frames in one tensor.
    for index, key in ((0, "c1"), (3, "c4")):
        same(torch.cat([maps[index] for maps in frames]), golden[key])


@pytest.mark.parametrize(
    ("name", "millions"),
    [("mit-b0", 3.319), ("mit-b1", 13.151), ("mit-b2", 24.196), ("mit-b5", 81.443)],
)
def test_parameters_are_as_many_as_the_original_s(name: str, millions: float) -> None:
    with torch.device("meta"):
        network = MiT(VARIANTS[name])
    assert sum(tensor.numel() for tensor in network.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_maps_are_at_four_scales(tiny: Larger) -> None:
    shapes = [tuple(made.shape) for made in tiny(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(1, 8, 16, 24), (1, 16, 8, 12), (1, 40, 4, 6), (1, 64, 2, 3)]
    assert tiny.backbone.channels == (8, 16, 40, 64)


def test_names_are_the_released_ones(tiny: Larger) -> None:
    def both(*names: str) -> set[str]:
        return {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}

    expected = both("head")
    for stage, depth in enumerate(TINY.depths, 1):
        at = "backbone."
        expected |= both(f"{at}patch_embed{stage}.proj", f"{at}patch_embed{stage}.norm", f"{at}norm{stage}")
        for block in range(depth):
            at = f"backbone.block{stage}.{block}."
            expected |= both(f"{at}norm1", f"{at}attn.q", f"{at}attn.kv", f"{at}attn.proj", f"{at}norm2")
            expected |= both(f"{at}mlp.fc1", f"{at}mlp.dwconv.dwconv", f"{at}mlp.fc2")
            if stage < 4:
                expected |= both(f"{at}attn.sr", f"{at}attn.norm")
    state = tiny.state_dict()
    assert set(state) == expected
    assert state["backbone.block2.1.attn.kv.weight"].shape == (32, 16)
    assert set(tiny.backbone.state_dict()) == {
        name.removeprefix("backbone.") for name in expected if name.startswith("backbone.")
    }


@pytest.mark.parametrize("assign", [False, True])
def test_what_is_saved_can_be_loaded(tiny: Larger, assign: bool) -> None:
    other = copy.deepcopy(Larger())
    other.load_state_dict(tiny.state_dict(), assign=assign)
    x = noise((1, 3, 32, 32), 0.5)
    with torch.inference_mode():
        for found, expected in zip(other.eval()(x), tiny(x), strict=True):
            assert torch.equal(found, expected)


def test_keys_come_before_values(tiny: Larger) -> None:
    state = tiny.backbone.state_dict()
    attention = tiny.backbone.stages["1"].get_submodule("blocks.0.attention")
    keys, values = (attention.get_parameter(f"{name}_proj.weight") for name in "kv")
    assert torch.equal(state["block1.0.attn.kv.weight"], torch.cat([keys, values]))


def test_what_is_wrong_with_a_state_dict_is_told_in_released_names(tiny: Larger) -> None:
    network = Larger()
    before = network.state_dict()["backbone.norm2.weight"].clone()
    state = tiny.state_dict()
    del state["backbone.block1.0.attn.kv.weight"]
    state["backbone.norm2.weight"] = torch.zeros(3)
    state["backbone.stages.1.layer_norm.weight"] = torch.zeros(8)
    with pytest.raises(RuntimeError) as caught:
        network.load_state_dict(state)
    message = str(caught.value)
    assert 'Missing key(s) in state_dict: "backbone.block1.0.attn.kv.weight".' in message
    assert 'Unexpected key(s) in state_dict: "backbone.stages.1.layer_norm.weight".' in message
    assert "size mismatch for backbone.norm2.weight: (3,) given, (16,) wanted" in message
    assert torch.equal(network.state_dict()["backbone.norm2.weight"], before)
    del state["backbone.norm2.weight"]
    found = network.load_state_dict(state, strict=False)
    assert found.missing_keys == ["backbone.block1.0.attn.kv.weight", "backbone.norm2.weight"]
    assert found.unexpected_keys == ["backbone.stages.1.layer_norm.weight"]


def test_onnx(tiny: Larger, tmp_path: Path) -> None:
    check_onnx(tiny, noise((1, 3, 64, 96), 0.5), tmp_path)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"building this encoder needs transformers.*convert-tv3s"):
        MiT(TINY)


def test_a_library_too_old_is_told_with_the_version_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    monkeypatch.setattr(transformers, "__version__", "5.8.1")
    with pytest.raises(MissingExtra, match=r"needs transformers>=5\.9,"):
        MiT(TINY)
