"""A manifest whose graph file lies outside the bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import spoiled

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: the file '../key.onnx' of key leaves the bundle: do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    return spoiled(folder, lambda data: data["graphs"][0].update(file="../key.onnx"))
