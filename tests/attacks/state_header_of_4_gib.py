"""A state file that says that its header has 4 GiB, in a file of 64 GiB."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import StateFileError
from edge_vss.runtimes._state_file import MAGIC
from tests.attacks import Attack
from tests.attacks._state import read

ATTACK = Attack(
    StateFileError, "{folder}/s is no state file, or a damaged one (its header is damaged): start without it"
)


def make(folder: Path) -> Callable[[], object]:
    (folder / "s").write_bytes(MAGIC + b"\xff\xff\xff\xff" + bytes(32))
    os.truncate(folder / "s", 1 << 36)
    return read(folder)
