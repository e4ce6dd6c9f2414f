"""A manifest of a million empty lists, each of which takes more memory than its two bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import written

ATTACK = Attack(
    BundleError,
    '{folder}/street.vss: "manifest.json" is [[], ..., and has to be an object: convert the model again',
)


def make(folder: Path) -> Callable[[], object]:
    return written(folder, "[" + "[]," * 1_000_000 + "[]]")
