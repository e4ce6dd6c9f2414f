"""A class list of a megabyte without a line end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.classes import find
from edge_vss.errors import OptionError
from tests.attacks import Attack

ATTACK = Attack(
    OptionError,
    "{folder}/names.txt, line 1: the name has 1000000 characters, and 200 is the most: give one class name per line",
)


def make(folder: Path) -> Callable[[], object]:
    (folder / "names.txt").write_text("x" * 1_000_000)
    return lambda: find(str(folder / "names.txt"))
