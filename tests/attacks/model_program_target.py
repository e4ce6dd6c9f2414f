"""An exported program whose graph calls a function of Python's os, by way of a module that torch imports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import graph, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.pt2 asks for 'torch.os.mkdir', which no graph of operators needs and which could "
    "run any code: do not use this file, or export the model again",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    def change(content: dict[str, Any]) -> None:
        node = content["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.os.mkdir"
        node["inputs"] = [{"name": "", "arg": {"as_string": str(folder / "sprung")}, "kind": 1}]

    return reading(graph(folder, change))
