"""An archive that unpacks to a thousand times its size, as state files of version 1 could be."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import StateFileError
from tests.attacks import Attack
from tests.attacks._state import read

ATTACK = Attack(
    StateFileError,
    "{folder}/s is no state file, or a damaged one (it is of another version): start without it",
)


def make(folder: Path) -> Callable[[], object]:
    with zipfile.ZipFile(folder / "s", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("edge_vss_state.npy", bytes(1 << 28))
    return read(folder)
