"""ONNX weights outside of the bundle, in a branch of a branch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding
from tests.attacks._onnx import model, outside

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.onnx of key keeps weights in another file (external data): do not use this bundle",
    needs=("onnx",),
)


def make(folder: Path) -> Callable[[], object]:
    from onnx import helper

    inner = helper.make_graph([], "inner", [], [], [outside()])
    for name in ("middle", "outer"):
        node = helper.make_node("If", ["condition"], ["labels"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], name, [], [])
    return holding(folder, model(*inner.node))
