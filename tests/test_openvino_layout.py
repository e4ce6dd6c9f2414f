"""OpenVINO on graphs that the converter wrote for ONNX Runtime: the same values, without its slow path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.converters.targets.onnx import export
from edge_vss.converters.values import Part
from edge_vss.runtimes.engines import EngineOptions, openvino
from edge_vss.runtimes.engines._openvino_layout import TURNED, to_compile

ov = pytest.importorskip("openvino")
SIZE, CLASSES = (90, 120), 7


class Network(nn.Module):
    """Scores, enlarged by a size or by a factor, and the best class."""

    def __init__(self, factor: float | None, mode: str) -> None:
        super().__init__()
        self.scores = nn.Conv2d(3, CLASSES, 3, 4, 1)
        sizes = {"size": SIZE} if factor is None else {"scale_factor": factor}
        self.larger = nn.Upsample(**sizes, mode=mode)

    def forward(self, image: Tensor) -> Tensor:
        best: Tensor = self.larger(self.scores(image)).argmax(1)
        return best.to(torch.uint8)


def exported(folder: Path, network: nn.Module, size: tuple[int, int]) -> tuple[Path, GraphSpec]:
    image = TensorSpec("image", (1, 3, *SIZE), "float32")
    labels = TensorSpec("labels", (1, *size), "uint8")
    torch.manual_seed(0)
    (artifact,) = export([Part("key", network.eval(), (image,), (labels,))], folder, {})
    return folder / artifact.file, GraphSpec("key", artifact.file, "", (image,), (labels,), 0.0)


def turned(model: Any) -> list[Any]:
    """What enlarges a map that was turned."""
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() == "Interpolate"]
    return [node for node in nodes if node.input_value(0).get_node().get_type_name() == "Einsum"]


@pytest.mark.parametrize(("factor", "size"), [(None, SIZE), (4.0, (92, 120)), (2.5, (57, 75))])
def test_maps_are_enlarged_before_they_are_turned(
    factor: float | None, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, graph = exported(tmp_path, Network(factor, "bilinear"), size)
    core = ov.Core()
    assert len(turned(core.read_model(str(path)))) == 1
    assert not turned(to_compile(core, path))
    image = np.random.default_rng(0).normal(size=graph.inputs[0].shape).astype(np.float32)
    found = np.array(openvino.load(path, graph, EngineOptions())({"image": image})["labels"])
    monkeypatch.setattr(openvino, "to_compile", lambda core, path: str(path))
    before = np.array(openvino.load(path, graph, EngineOptions())({"image": image})["labels"])
    assert (found == before).all() and len(np.unique(found)) > 2


def test_other_graphs_are_compiled_from_their_files(tmp_path: Path) -> None:
    path, _ = exported(tmp_path, Network(None, "nearest"), SIZE)
    assert TURNED.encode() not in path.read_bytes()
    assert to_compile(ov.Core(), path) == str(path)
