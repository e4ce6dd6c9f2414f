"""An exported program that lists one of its weights as pickled, and the pickle runs code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import Trap, program, reading, saved

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 holds weights that is no plain tensor, and opening it could run any code "
    "(...): export the model again with tensors only",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    def change(entries: dict[str, bytes]) -> None:
        listed = json.loads(entries["data/weights/model_weights_config.json"])
        payload = next(iter(listed["config"].values()))
        payload["use_pickle"] = True
        entries[f"data/weights/{payload['path_name']}"] = saved(Trap(folder))
        entries["data/weights/model_weights_config.json"] = json.dumps(listed).encode()

    return reading(program(folder, change))
