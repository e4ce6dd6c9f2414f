"""A manifest whose motion would take 8 GB a frame, though no graph reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import spoiled

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: the tensors take 8.6 GB together, and 2.1 GB is the most: convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    def change(data: dict[str, Any]) -> None:
        data["motion"]["grid"] = [1 << 15, 1 << 15]
        data["graphs"][1]["inputs"].pop()

    return spoiled(folder, change)
