"""An ONNX graph that comes in two parts, which readers join; the second has weights outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding
from tests.attacks._onnx import model, outside

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.onnx of key is not an ONNX file (field 1 of kind 0 has no place there): do not use this bundle",
    needs=("onnx",),
)


def make(folder: Path) -> Callable[[], object]:
    # Protobuf joins a message that appears twice: a second file behind the first adds to its graph.
    return holding(folder, model() + model(initializers=[outside()]))
