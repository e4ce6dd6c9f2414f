"""An exported program with an empty weight that claims to be a tera of values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import program, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 claims ... values in ... bytes: do not use this file",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    def change(entries: dict[str, bytes]) -> None:
        listed = json.loads(entries["data/weights/model_weights_config.json"])
        payload = next(iter(listed["config"].values()))
        payload["tensor_meta"]["sizes"] = [{"as_int": 1 << 20}, {"as_int": 1 << 20}]
        entries[f"data/weights/{payload['path_name']}"] = b""
        entries["data/weights/model_weights_config.json"] = json.dumps(listed).encode()

    return reading(program(folder, change))
