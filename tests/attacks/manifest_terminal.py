"""A role that would clear the terminal, write a line of its own and turn the text around."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import spoiled

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: two graphs have the same role (\\x1b[2J\\nok\\u202e\\u200b\\ufe0f, \\x1b[2J\\nok\\u202e\\u200b\\ufe0f): convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    def change(data: dict[str, Any]) -> None:
        data["graphs"][0]["role"] = data["graphs"][1]["role"] = "\x1b[2J\nok\u202e\u200b\ufe0f"

    return spoiled(folder, change)
