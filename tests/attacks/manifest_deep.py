"""A manifest nested a million lists deep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import written

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss/manifest.json is not valid JSON (it is nested more than 32 deep): convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    return written(folder, "[" * 1_000_000)
