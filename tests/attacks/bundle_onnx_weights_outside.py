"""ONNX weights that are in a file outside of the bundle."""

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
    return holding(folder, model(initializers=[outside()]))
