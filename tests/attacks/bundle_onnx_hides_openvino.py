"""OpenVINO's XML in a field that no ONNX file has: OpenVINO passes over what is before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.onnx of key is not an ONNX file (field 100 of kind 2 has no place there): do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    xml = b'<net name="a" version="11"/>'
    # Field 100, a text; then what every ONNX file has: a version and a graph.
    return holding(folder, b"\xa2\x06" + bytes([len(xml)]) + xml + b"\x08\x0a\x3a\x00")
