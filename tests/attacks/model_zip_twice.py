"""An archive with two entries of one name: which one is read depends on who reads."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import program, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 has two entries of one name: do not use this file",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    path = program(folder, lambda entries: None)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("model/models/model.json", "{}")
    return reading(path)
