"""An exported program whose sample inputs hold a pickle that runs code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import Trap, program, reading, saved

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 holds sample inputs that is no plain tensor, and opening it could run any "
    "code (...): export the model again with tensors only",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    trap = saved((Trap(folder),))
    return reading(program(folder, lambda entries: entries.update({"data/sample_inputs/model.pt": trap})))
