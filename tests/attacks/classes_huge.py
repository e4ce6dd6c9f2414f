"""A class list of eight gigabytes, most of them a hole in the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.classes import find
from edge_vss.errors import OptionError
from tests.attacks import Attack

ATTACK = Attack(
    OptionError,
    "{folder}/names.txt cannot be read as text (it has more than 1024 KiB): give one class name per line",
)


def make(folder: Path) -> Callable[[], object]:
    (folder / "names.txt").touch()
    os.truncate(folder / "names.txt", 8 << 30)
    return lambda: find(str(folder / "names.txt"))
