"""An exported program with a constant that torch opens with pickle itself."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import Trap, program, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 holds an object that is no tensor (opaque_obj_0), and opening it could run "
    "any code: export the model again with tensors only",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    def change(entries: dict[str, bytes]) -> None:
        payload = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        entries["data/constants/opaque_obj_0"] = pickle.dumps(Trap(folder))
        entries["data/constants/model_constants_config.json"] = json.dumps(
            {"config": {"c": payload}}
        ).encode()

    return reading(program(folder, change))
