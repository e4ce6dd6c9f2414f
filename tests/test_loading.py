"""What an engine runs is what the manifest describes: what was hashed, and nothing that was there before."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edge_vss import bundle
from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.errors import BundleError
from edge_vss.files import sha256
from edge_vss.runtimes.engines import ENGINES, as_array
from edge_vss.runtimes.engines._auto import choose
from edge_vss.runtimes.segmenter import load
from tests.helpers import vectors


def adding(path: Path, number: float) -> GraphSpec:
    """Writes an ONNX graph that adds ``number``, with a file time that is always the same."""
    onnx = pytest.importorskip("onnx")
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in "xy"]
    held = onnx.numpy_helper.from_array(np.full(4, number, np.float32), "number")
    node = onnx.helper.make_node("Add", ["x", "number"], ["y"])
    graph = onnx.helper.make_graph([node], "adding", [values[0]], [values[1]], [held])
    opset = onnx.helper.make_opsetid("", 18)
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())
    os.utime(path, ns=(10**18, 10**18))
    specs = [TensorSpec(name, (4,), "float32") for name in "xy"]
    return GraphSpec("key", path.name, sha256(path), (specs[0],), (specs[1],), 0.0)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "numpy"])
def test_another_graph_at_the_same_place_and_time_is_compiled_anew(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not ENGINES.find(engine).description.installed:
        pytest.skip(f"{engine} is not installed")
    monkeypatch.setenv("EDGE_VSS_CACHE", str(tmp_path / "cache"))
    for number in (1.0, 2.0, 1.0):
        spec = adding(tmp_path / "key.onnx", number)
        graph = ENGINES.find(engine).call(tmp_path / "key.onnx", spec)
        found = graph({"x": np.zeros(4, np.float32)})["y"]
        assert list(as_array(found)) == [number] * 4


def test_a_bundle_replaced_while_an_engine_opens_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx", reason="the bundle is written with it")
    target = tmp_path / "grid.vss"
    motion = vectors.BUNDLES["grid"]
    with bundle.building(target) as folder:
        vectors.write_bundle(folder, motion)

    def slow(*wanted: object) -> object:
        with bundle.building(target) as folder:
            vectors.write_bundle(folder, motion)
        return choose(*wanted)  # type: ignore[arg-type]

    monkeypatch.setattr("edge_vss.runtimes.segmenter.choose", slow)
    with pytest.raises(BundleError, match="was changed while it was loaded: load the bundle again"):
        load(target, "onnxruntime")
    monkeypatch.undo()
    assert load(target, "onnxruntime").engine == "onnxruntime"
