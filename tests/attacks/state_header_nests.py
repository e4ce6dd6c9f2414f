"""A state file whose header nests 60,000 deep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import StateFileError
from tests.attacks import Attack
from tests.attacks._state import forged_file

ATTACK = Attack(
    StateFileError, "{folder}/s is no state file, or a damaged one (its header is damaged): start without it"
)


def make(folder: Path) -> Callable[[], object]:
    return forged_file(folder, text=b"[" * 60_000)
