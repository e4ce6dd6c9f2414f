"""A state file with 64 GiB behind its tensors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import StateFileError
from tests.attacks import Attack
from tests.attacks._state import read
from tests.helpers.state_files import saved

ATTACK = Attack(
    StateFileError,
    "{folder}/s is no state file, or a damaged one (it has 68719476736 bytes where ... belong): ...",
)


def make(folder: Path) -> Callable[[], object]:
    saved(folder / "s")
    os.truncate(folder / "s", 1 << 36)
    return read(folder)
