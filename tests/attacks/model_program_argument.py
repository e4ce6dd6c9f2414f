"""An exported program whose input is called by Python code. torch writes names into source code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import code, graph, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 asks for ..., which no graph of operators needs and which could run any "
    "code: do not use this file, or export the model again",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    def change(content: dict[str, Any]) -> None:
        text = json.dumps(content).replace('"name": "x"', json.dumps({"name": f"x={code(folder)}"})[1:-1])
        content.clear()
        content.update(json.loads(text))

    return reading(graph(folder, change))
