"""A pipe that nobody writes to, in a state file's place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import OptionError
from tests.attacks import Attack
from tests.attacks._state import read

ATTACK = Attack(OptionError, "{folder}/s cannot be read (it is no plain file): ...")


def make(folder: Path) -> Callable[[], object]:
    os.mkfifo(folder / "s")
    return read(folder)
