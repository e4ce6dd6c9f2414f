"""An ONNX file that ends within a field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.onnx of key is not an ONNX file (a field reaches past its end): do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    return holding(folder, b"\x08\x08\x3a\x7f")
