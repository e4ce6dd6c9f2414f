"""An ONNX file that wants more weights than the file beside it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import onnx_beside, reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.onnx keeps ... in weights.bin, and that does not fit: copy both files again",
    needs=("torch", "onnx", "onnxruntime"),
)


def make(folder: Path) -> Callable[[], object]:
    (folder / "weights.bin").write_bytes(bytes(100))
    return reading(onnx_beside(folder, {"location": "weights.bin", "offset": "90", "length": "864"}))
