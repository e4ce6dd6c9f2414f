"""An ONNX node that makes an accelerator load a compiled engine from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding
from tests.attacks._onnx import model

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.onnx of key wants a compiled part that a device loads from another file (EPContext): do not use this bundle",
    needs=("onnx",),
)


def make(folder: Path) -> Callable[[], object]:
    from onnx import helper

    node = helper.make_node("EPContext", [], ["labels"], domain="com.microsoft", ep_cache_context="../engine")
    return holding(folder, model(node))
