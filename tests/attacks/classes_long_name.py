"""The name of a class list that no file can have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.classes import find
from edge_vss.errors import OptionError
from tests.attacks import Attack

ATTACK = Attack(OptionError, "no class set is called 'xxx...': choose one of ... a file of names")


def make(folder: Path) -> Callable[[], object]:
    return lambda: find("x" * 100_000)
