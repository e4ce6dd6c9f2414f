"""A state file whose family's name acts on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import OptionError
from tests.attacks import Attack
from tests.attacks._state import forged_file

ATTACK = Attack(
    OptionError, "{folder}/s is the state of family ...]0;owned..., and this bundle has propagate: ..."
)


def make(folder: Path) -> Callable[[], object]:
    return forged_file(folder, model={"family": "\x1b]0;owned\x07\n"})
