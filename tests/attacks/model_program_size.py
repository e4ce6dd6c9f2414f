"""An exported program with a size that is Python code. torch evaluates sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import code, graph, reading

ATTACK = Attack(
    ModelError,
    '{folder}/model.pt2 asks for "__import__(..., which no graph of operators needs and which could '
    "run any code: do not use this file, or export the model again",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    def change(content: dict[str, Any]) -> None:
        sizes = content["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[2] = {"as_expr": {"expr_str": code(folder), "hint": {"as_int": 48}}}

    return reading(graph(folder, change))
