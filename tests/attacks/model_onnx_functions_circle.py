"""An ONNX file with two functions that call each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.onnx has functions that call each other for ever: do not use this file",
    needs=("torch", "onnx", "onnxruntime"),
)


def make(folder: Path) -> Callable[[], object]:
    import onnx
    from onnx import helper

    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    calls = {"F0": "F1", "F1": "F0"}
    functions = [
        helper.make_function(
            "own", name, ["a"], ["b"], [helper.make_node(other, ["a"], ["b"], domain="own")], opsets
        )
        for name, other in calls.items()
    ]
    picture = helper.make_tensor_value_info("x", 1, [1, 3, 48, 64])
    nodes = [helper.make_node("F0", ["x"], ["y"], domain="own")]
    graph = helper.make_graph(nodes, "g", [picture], [helper.make_tensor_value_info("y", 1, None)])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, functions=functions), path)
    return reading(path)
