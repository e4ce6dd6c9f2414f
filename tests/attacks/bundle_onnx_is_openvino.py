"""OpenVINO's XML under an ONNX graph's name: OpenVINO would take its weights from `key.bin`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.onnx of key is not an ONNX file (field 7 of kind 4 has no place there): do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    return holding(folder, b'<?xml version="1.0"?><net name="a" version="11"/>')
