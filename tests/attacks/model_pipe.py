"""A named pipe in a model's place: opening it would wait for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.onnx is a device or a pipe, no file: give the model's file",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    os.mkfifo(folder / "model.onnx")
    return reading(folder / "model.onnx")
