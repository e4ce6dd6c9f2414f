"""A TFLite file whose offsets lead nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.tflite is a damaged TFLite file (...): copy or download it again",
    needs=("torch", "ai_edge_litert"),
)


def make(folder: Path) -> Callable[[], object]:
    path = folder / "model.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + b"\xff\xff\xff\x7f" * 200)
    return reading(path)
