"""A link to a device that never ends, in a state file's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import OptionError
from tests.attacks import Attack
from tests.attacks._state import read

ATTACK = Attack(OptionError, "{folder}/s cannot be read (it is no plain file): ...")


def make(folder: Path) -> Callable[[], object]:
    (folder / "s").symlink_to("/dev/zero")
    return read(folder)
