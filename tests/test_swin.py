"""Swin against a second one, which attends query by query without rolling, masks or windows cut out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_vss.converters.networks.swin import VARIANTS, Swin, SwinShape
from edge_vss.converters.readers._untrained_weights import fill
from tests.test_goldens import noise
from tests.test_mit import check_onnx, exported

WINDOW = 7
TINY = SwinShape(8, (2, 1, 1, 1), (1, 2, 4, 8))


class Larger(nn.Module):
    """A network that has an encoder, as the released ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Swin(TINY)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = self.backbone(x)
        return maps


class FirstMap(nn.Module):
    """The first stage of an encoder alone: converting to TFLite takes seconds per block."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.encoder(x)[0],)


@pytest.fixture(scope="module")
def tiny() -> Larger:
    """Filled, and in no test changed."""
    network = Larger()
    fill(network)
    return network.eval()


class Plain:
    """The network as its paper describes it, on weights under the released names."""

    def __init__(self, weights: dict[str, Tensor], variant: SwinShape) -> None:
        self.weights, self.variant = weights, variant

    def norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def attention(self, x: Tensor, name: str, heads: int, shift: int) -> Tensor:
        """(h, w, C) → the same, before the shortcut."""
        height, width, channels = x.shape
        # Windows are filled up before keys and values are made: what is added takes part in the softmax.
        whole = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        rows, columns = whole.shape[:2]
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        # The grid of windows begins ``shift`` further down and right. What it cuts off at one end and at the
        # other does not see each other, although the published code puts both into one window.
        parts = (places - shift + WINDOW) // WINDOW
        query, key, value = (
            tensor.reshape(rows * columns, heads, channels // heads)
            for tensor in self.linear(whole, f"{name}.qkv").chunk(3, -1)
        )
        table = self.weights[f"{name}.relative_position_bias_table"]
        result = torch.zeros(rows * columns, heads, channels // heads)
        for here in range(rows * columns):
            seen = (parts == parts[here]).all(1)
            dy, dx = (places[here] - places[seen]).T
            logits = torch.einsum("hc,khc->kh", query[here], key[seen]) * (channels // heads) ** -0.5
            logits = logits + table[(dy + WINDOW - 1) * (2 * WINDOW - 1) + dx + WINDOW - 1]
            result[here] = torch.einsum("kh,khc->hc", logits.softmax(0), value[seen])
        mixed = self.linear(result.reshape(rows, columns, channels), f"{name}.proj")
        return mixed[:height, :width]

    def maps(self, image: Tensor) -> list[Tensor]:
        """(1, 3, H, W) → four maps (1, C, h, w)."""
        at = "patch_embed.proj"
        x = F.conv2d(image, self.weights[f"{at}.weight"], self.weights[f"{at}.bias"], stride=4)[0]
        x = self.norm(x.permute(1, 2, 0), "patch_embed.norm")
        found = []
        for stage, depth in enumerate(self.variant.depths):
            for block in range(depth):
                at = f"layers.{stage}.blocks.{block}"
                shift = WINDOW // 2 if block % 2 else 0
                heads = self.variant.heads[stage]
                x = x + self.attention(self.norm(x, f"{at}.norm1"), f"{at}.attn", heads, shift)
                inner = F.gelu(self.linear(self.norm(x, f"{at}.norm2"), f"{at}.mlp.fc1"))
                x = x + self.linear(inner, f"{at}.mlp.fc2")
            found.append(self.norm(x, f"norm{stage}").permute(2, 0, 1)[None])
            if stage < 3:
                x = F.pad(x, (0, 0, 0, x.shape[1] % 2, 0, x.shape[0] % 2))
                x = torch.cat([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], -1)
                at = f"layers.{stage}.downsample"
                x = self.linear(self.norm(x, f"{at}.norm"), f"{at}.reduction")
        return found


@pytest.mark.parametrize("size", [(72, 68), (56, 112), (20, 24)])
def test_every_map_is_that_of_the_plain_network(tiny: Larger, size: tuple[int, int]) -> None:
    x = noise((1, 3, *size), 0.5)
    with torch.inference_mode():
        plain = Plain(tiny.backbone.state_dict(), TINY)
        for found, expected in zip(tiny(x), plain.maps(x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "total"), [("swin-t", 31.7), ("swin-s", 53.1)])
def test_parameters_are_as_many_as_published(name: str, total: float) -> None:
    with torch.device("meta"):
        network = Swin(VARIANTS[name])
    count = sum(tensor.numel() for tensor in network.parameters())
    assert count == {"swin-t": 27_520_698, "swin-s": 48_838_602}[name]
    # TV3S's head on MiT-B1 has 4.110 M; its four input projections depend on the encoder.
    head = 4.110e6 + 256 * (sum(network.channels) - sum((64, 128, 320, 512)))
    assert (count + head) / 1e6 == pytest.approx(total, abs=0.05)


def test_names_are_the_released_ones(tiny: Larger) -> None:
    def both(*names: str) -> set[str]:
        return {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}

    expected = both("patch_embed.proj", "patch_embed.norm", "norm0", "norm1", "norm2", "norm3")
    for stage, depth in enumerate(TINY.depths):
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}."
            expected |= both(f"{at}norm1", f"{at}attn.qkv", f"{at}attn.proj", f"{at}norm2")
            expected |= both(f"{at}mlp.fc1", f"{at}mlp.fc2")
            expected |= {f"{at}attn.relative_position_bias_table"}
        if stage < 3:
            expected |= both(f"layers.{stage}.downsample.norm")
            expected |= {f"layers.{stage}.downsample.reduction.weight"}
    assert set(tiny.state_dict()) == {f"backbone.{name}" for name in expected}


def test_released_files_are_loaded_with_the_indices_that_they_hold(tiny: Larger) -> None:
    state = tiny.state_dict()
    state["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    network = Larger()
    network.load_state_dict(state)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name])
    state["backbone.layernorm.weight"] = state.pop("backbone.norm3.weight")
    with pytest.raises(RuntimeError, match=r'(?s)"backbone\.norm3\.weight".*"backbone\.layernorm\.weight"'):
        network.load_state_dict(state)


def test_onnx(tiny: Larger, tmp_path: Path) -> None:
    check_onnx(tiny, noise((1, 3, 72, 68), 0.5), tmp_path)


def test_tflite(tiny: Larger, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch", exc_type=ImportError)
    from ai_edge_litert.interpreter import Interpreter

    from edge_vss.converters.targets.tflite import export

    x = noise((1, 3, 36, 40), 0.5)
    (artifact,) = export([exported(FirstMap(tiny).eval(), x)], tmp_path, {})
    runner = Interpreter(model_path=str(tmp_path / artifact.file)).get_signature_runner("encoder")
    with torch.inference_mode():
        np.testing.assert_allclose(runner(x=x.numpy())["c1"], tiny(x)[0], rtol=1e-4, atol=1e-4)
