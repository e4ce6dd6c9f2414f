"""An ONNX file whose functions call the next one ten times each: 10 to the 30th nodes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.onnx unfolds to ... nodes, more than any network has: do not use this file",
    needs=("torch", "onnx", "onnxruntime"),
)


def make(folder: Path) -> Callable[[], object]:
    import onnx
    from onnx import helper

    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = []
    for depth in range(30):
        called, domain = (f"F{depth + 1}", "own") if depth < 29 else ("Relu", "")
        values = ["a", *(f"t{turn}" for turn in range(9)), "b"]
        pairs = pairwise(values)
        nodes = [helper.make_node(called, [first], [second], domain=domain) for first, second in pairs]
        functions.append(helper.make_function("own", f"F{depth}", ["a"], ["b"], nodes, opsets))
    picture = helper.make_tensor_value_info("x", 1, [1, 3, 48, 64])
    nodes = [helper.make_node("F0", ["x"], ["y"], domain="own")]
    graph = helper.make_graph(nodes, "g", [picture], [helper.make_tensor_value_info("y", 1, None)])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, functions=functions), path)
    return reading(path)
