"""A state that starts as a number that its type cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import spoiled

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: the state 'key_labels' starts as 1e+300, which uint8 cannot hold: convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    return spoiled(folder, lambda data: data["state"][0].update(initial=1e300))
