"""A class list with a colour of ten thousand digits, which Python refuses to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.classes import find
from edge_vss.errors import OptionError
from tests.attacks import Attack

ATTACK = Attack(
    OptionError,
    "{folder}/names.txt, line 1: the colour 7777... goes past 255",
)


def make(folder: Path) -> Callable[[], object]:
    (folder / "names.txt").write_text(f"bus {'7' * 10_000} 0 0")
    return lambda: find(str(folder / "names.txt"))
