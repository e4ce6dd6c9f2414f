"""A manifest with a number of five thousand digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import written

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss/manifest.json is not valid JSON (...): convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    return written(folder, "1" * 5000)
