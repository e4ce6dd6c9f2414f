"""A checkpoint in torch's oldest form, a tar archive, which torch unpacks to disk."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/weights.pt is no model that is known here: give one of ...",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    path = folder / "weights.pt"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("../sprung")
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    return reading(path, factory="tests.helpers.conversion:Net")
