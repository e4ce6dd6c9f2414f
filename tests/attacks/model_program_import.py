"""An exported program whose inputs are nested in a type that torch imports by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import graph, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 asks for ..., which no graph of operators needs and which could run any "
    "code: do not use this file, or export the model again",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    def change(content: dict[str, Any]) -> None:
        signature = content["graph_module"]["module_call_graph"][0]["signature"]
        context = json.dumps({"__enum__": True, "fqn": "antigravity:nothing", "name": "x"})
        signature["in_spec"] = json.dumps(
            [1, {"type": "builtins.tuple", "context": context, "children_spec": []}]
        )

    return reading(graph(folder, change))
