"""A sparse ONNX constant whose indices are in a file outside of the bundle."""

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
    from onnx import SparseTensorProto, helper

    sparse = SparseTensorProto(indices=outside(), dims=[4])
    node = helper.make_node("Constant", [], ["labels"])
    node.attribute.add(name="sparse_value", type=11, sparse_tensor=sparse)
    return holding(folder, model(node))
