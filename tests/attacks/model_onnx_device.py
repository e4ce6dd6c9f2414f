"""An ONNX file that keeps weights in a named pipe: reading it would wait for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import onnx_beside, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.onnx keeps weights in weights.bin, which is a link or no file: put the file there",
    needs=("torch", "onnx", "onnxruntime"),
)


def make(folder: Path) -> Callable[[], object]:
    os.mkfifo(folder / "weights.bin")
    return reading(onnx_beside(folder, {"location": "weights.bin"}))
