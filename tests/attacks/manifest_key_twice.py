"""A manifest with a key twice: programs differ in which of them they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import written

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss/manifest.json is not valid JSON (the key 'format' appears twice): convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    return written(folder, '{"format": "edge-vss bundle", "format": "other"}')
