"""OpenVINO's XML behind a first byte that an ONNX file has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.onnx of key is not an ONNX file: do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    return holding(folder, b'\x08\x0a<net name="a" version="11"/>')
