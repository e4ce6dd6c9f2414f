"""A state file with one more tensor, whose name is a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import StateFileError
from tests.attacks import Attack
from tests.attacks._state import forged_file
from tests.helpers.state_files import content_of_a_file, header_of

ATTACK = Attack(
    StateFileError,
    "{folder}/s is no state file, or a damaged one (it has other tensors than its model): start without it",
)


def make(folder: Path) -> Callable[[], object]:
    specs = header_of(content_of_a_file())["tensors"]
    return forged_file(folder, tensors=[*specs, {**specs[0], "name": "../../etc/passwd"}])
