"""The name of a class set that is too long for any file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.classes import find
from edge_vss.errors import OptionError
from tests.attacks import Attack

ATTACK = Attack(
    OptionError,
    "xxx... cannot be read as text (File name too long): give one class name per line",
)


def make(folder: Path) -> Callable[[], object]:
    return lambda: find("x" * 100_000)
