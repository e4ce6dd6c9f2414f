from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_vss.converters.cost import gmac
from edge_vss.errors import ModelError
from tests.helpers.conversion import save_onnx, trained


class Mixed(nn.Module):
    """Grouped, dilated, strided and transposed convolutions, and products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 5, stride=2, padding=2)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=12)
        self.up = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1, groups=2)
        self.linear = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(self.depthwise(self.stem(x)))
        rows = x.flatten(2).transpose(1, 2)
        context: torch.Tensor = rows.transpose(1, 2) @ rows
        scores: torch.Tensor = self.linear(rows @ context)
        return scores


def test_worked_out_by_hand(tmp_path: Path) -> None:
    # 48x64 → 24x32 with 8 channels of 3·3·3, → 12x16 with 3 channels of 8·3·3
    by_hand = 24 * 32 * 8 * 27 + 12 * 16 * 3 * 72
    assert gmac(save_onnx(tmp_path)) == pytest.approx(by_hand / 1e9, rel=1e-12)


def test_equal_to_pytorchs_count(tmp_path: Path) -> None:
    module = trained(Mixed())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.rand(1, 3, 48, 64))
    assert gmac(save_onnx(tmp_path, module)) == pytest.approx(counter.get_total_flops() / 2e9, rel=1e-12)


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm(tmp_path: Path, turned: int) -> None:
    first = [7, 4] if turned else [4, 7]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["a", "b"], ["c"], transA=turned)],
        "gemm",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("a", first), ("b", [7, 5]))],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [4, 5])],
    )
    onnx.save(helper.make_model(graph), tmp_path / "gemm.onnx")
    assert gmac(tmp_path / "gemm.onnx") == pytest.approx(4 * 5 * 7 / 1e9)


def test_a_free_shape_is_refused(tmp_path: Path) -> None:
    path = save_onnx(tmp_path, dynamic_axes={"image": {2: "height"}})
    with pytest.raises(ModelError, match="is not static"):
        gmac(path)
