"""A manifest that is a pipe, which nobody writes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.bundle import read
from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import sound

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss/manifest.json has to be a plain file of at most 4 MB (it is no plain file): do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    target = sound(folder)
    file = target / "manifest.json"
    file.unlink()
    os.mkfifo(file)
    return lambda: read(target)
