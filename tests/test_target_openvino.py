import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edge_vss.bundle import TensorSpec
from edge_vss.converters.values import Part
from edge_vss.errors import MissingExtra, ModelError

ov: Any = pytest.importorskip("openvino")

from edge_vss.converters.targets.openvino import export  # noqa: E402

IMAGE = TensorSpec("image", (1, 16, 24, 3), "uint8")
LABELS = TensorSpec("labels", (1, 32, 48), "uint8")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.layer(image.permute(0, 3, 1, 2).float())
        return nn.functional.interpolate(x, scale_factor=2, mode="bilinear").argmax(1).to(torch.uint8)


def test_a_pair_of_files_with_names_and_contract(tmp_path: Path) -> None:
    torch.manual_seed(0)
    part = Part("key", Net().eval(), (IMAGE,), (LABELS,))
    contract = json.dumps({"role": "key"})
    (artifact,) = export([part], tmp_path, {"key": {"edge_vss": contract}})
    assert (artifact.file, artifact.data) == ("key.xml", "key.bin")
    assert {path.name for path in tmp_path.iterdir()} == {"key.xml", "key.bin"}
    assert artifact.gmac == pytest.approx(16 * 24 * 5 * 27 / 1e9)
    model = ov.Core().read_model(tmp_path / "key.xml")
    assert model.get_rt_info(["edge_vss"]).astype(str) == contract
    assert [port.any_name for port in model.inputs] == ["image"]
    assert [port.any_name for port in model.outputs] == ["labels"]
    # The largest score is looked for where a pixel's scores lie together.
    (best,) = [node for node in model.get_ops() if node.get_type_name() == "TopK"]
    assert best.get_attributes()["axis"] in (3, -1)
    image = np.random.default_rng(0).integers(0, 255, IMAGE.shape, np.uint8)
    found = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"image": image})["labels"]
    with torch.no_grad():
        assert (found == part.module(torch.from_numpy(image)).numpy()).mean() > 0.999
    assert str(tmp_path) not in (tmp_path / "key.xml").read_text()


def test_without_openvino_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"edge-vss\[openvino\]"):
        export([Part("key", Net(), (IMAGE,), (LABELS,))], tmp_path, {})


def test_what_it_cannot_express_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise RuntimeError("Check 'unsupported' failed:\nOpenVINO does not support: ai.onnx.DeformConv")

    monkeypatch.setattr(ov.Core, "read_model", refuse)
    with pytest.raises(ModelError, match=r"DeformConv.*--target onnx") as caught:
        export([Part("key", Net().eval(), (IMAGE,), (LABELS,))], tmp_path, {})
    assert "\n" not in str(caught.value)
