"""A class list that is a device without end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.classes import find
from edge_vss.errors import OptionError
from tests.attacks import Attack

ATTACK = Attack(
    OptionError,
    "/dev/zero cannot be read as text (it is no plain file): give one class name per line",
)


def make(folder: Path) -> Callable[[], object]:
    return lambda: find("/dev/zero")
