"""A manifest with states that would each be sensible, and take 64 GB together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import spoiled

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: the tensors take 68.7 GB together, and 2.1 GB is the most: convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    def change(data: dict[str, Any]) -> None:
        for index in range(32):
            name, shape = f"memory{index}", [1, 1 << 29]
            data["state"].append({"name": name, "shape": shape, "dtype": "float32", "initial": 0})
            data["graphs"][0]["outputs"].append({"name": name, "shape": shape, "dtype": "float32"})

    return spoiled(folder, change)
