"""An exported program with weights in the older form, whose pickle is no ZIP archive and runs code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import Trap, program, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 holds weights that is no plain tensor, and opening it could run any code "
    "(...): export the model again with tensors only",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    trap = pickle.dumps(Trap(folder), protocol=2)
    return reading(program(folder, lambda entries: entries.update({"data/weights/model.pt": trap})))
