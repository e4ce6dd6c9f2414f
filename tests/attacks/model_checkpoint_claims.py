"""A checkpoint of a few bytes whose tensor repeats one number a tera times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading, saved

ATTACK = Attack(
    ModelError,
    "{folder}/weights.pt claims ... MB of weights, more than the file holds: do not use this file",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    import torch

    path = folder / "weights.pt"
    path.write_bytes(saved({"second.bias": torch.zeros(1, dtype=torch.half).expand(1 << 20, 1 << 20)}))
    return reading(path, factory="tests.helpers.conversion:Net")
