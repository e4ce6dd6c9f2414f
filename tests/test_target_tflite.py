import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edge_vss.bundle import TensorSpec
from edge_vss.converters.targets import _flatbuffer as flatbuffer
from edge_vss.converters.values import Part
from edge_vss.errors import MissingExtra, ModelError
from tests.helpers.conversion import SIZE, save_script

pytest.importorskip("litert_torch", exc_type=ImportError)

from edge_vss.converters.targets.tflite import export

X = TensorSpec("x", (1, 3, 8, 8), "float32")
Y = TensorSpec("y", (1, 64, 8, 8), "float32")


class Shared(nn.Module):
    """A layer, and what is constant but computed: exporters leave it in the graph, and old runtimes choke."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.layer(x) + torch.arange(8) * 0.5
        return made


def parts(roles: tuple[str, ...] = ("key", "nonkey")) -> list[Part]:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 64, 3, padding=1)
    return [Part(role, Shared(layer).eval(), (X,), (Y,)) for role in roles]


def test_one_file_with_a_signature_per_role_and_shared_weights(tmp_path: Path) -> None:
    contract = {role: {"edge_vss": json.dumps({"role": role})} for role in ("key", "nonkey")}
    both = export(parts(), tmp_path, contract)
    assert [(a.role, a.file) for a in both] == [("key", "graphs.tflite"), ("nonkey", "graphs.tflite")]
    assert both[0].gmac == pytest.approx(64 * 64 * 27 / 1e9)
    weights = 64 * 3 * 9 * 4
    size = (tmp_path / "graphs.tflite").stat().st_size
    assert weights < size < 2 * weights
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(tmp_path / "graphs.tflite")).get_signature_runner("nonkey")
    x = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(
            runner(x=x)["y"], parts()[1].module(torch.from_numpy(x)), rtol=1e-4, atol=1e-5
        )
    held = flatbuffer.metadata(flatbuffer.read(tmp_path / "graphs.tflite"))
    assert json.loads(held["edge_vss:nonkey"]) == {"role": "nonkey"}


def test_nothing_constant_is_computed_on_the_device(tmp_path: Path) -> None:
    export(parts(("key",)), tmp_path, {})
    from ai_edge_litert import schema_py_generated as schema

    codes = {code.builtinCode for code in flatbuffer.read(tmp_path / "graphs.tflite").operatorCodes}
    names = {name for name, number in vars(schema.BuiltinOperator).items() if number in codes}
    assert "CONV_2D" in names and not {name for name in names if "RANGE" in name or "IOTA" in name}


def test_what_it_cannot_express_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    class Sorted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            values: torch.Tensor = torch.linalg.svd(x)[1]
            return values

    out = TensorSpec("y", (1, 3, 8), "float32")
    with pytest.raises(ModelError, match=r"svd.* of the key graph .*--target onnx or openvino") as caught:
        export([Part("key", Sorted().eval(), (X,), (out,))], tmp_path, {})
    assert "\n" not in str(caught.value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(str(save_script(tmp_path)))  # type: ignore[no-untyped-call]
    picture = TensorSpec("x", (1, 3, *SIZE), "float32")
    with pytest.raises(ModelError, match="a TorchScript module cannot be written as TFLite"):
        export([Part("key", script, (picture,), (out,))], tmp_path, {})


def test_without_the_converter_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules: Any = __import__("sys").modules
    monkeypatch.setitem(modules, "litert_torch", None)
    with pytest.raises(MissingExtra, match=r"edge-vss\[convert-tflite\]"):
        export(parts(), tmp_path, {})
