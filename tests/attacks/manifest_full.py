"""Three hundred thousand roles on one route, each of which would be looked up in a long list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import spoiled

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: the route nonkey has 300000 entries, and 64 is the most: convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    def change(data: dict[str, Any]) -> None:
        data["routes"]["nonkey"] = ["state"] * 300_000

    return spoiled(folder, change)
