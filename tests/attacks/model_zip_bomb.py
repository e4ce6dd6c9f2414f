"""A checkpoint whose pickle unpacks to a gigabyte."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/weights.pt unpacks to far more than it holds (a ZIP bomb): do not use this file",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    path = folder / "weights.pt"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a/data.pkl", "w") as entry,
    ):
        for _ in range(1 << 10):
            entry.write(bytes(1 << 20))
    return reading(path, factory="tests.helpers.conversion:Net")
