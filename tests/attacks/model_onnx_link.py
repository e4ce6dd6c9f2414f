"""An ONNX file that keeps weights in a link to another folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import onnx_beside, reading

ATTACK = Attack(
    ModelError,
    "{folder}/inside/model.onnx keeps weights in weights.bin, which is a link or no file: put the file there",
    needs=("torch", "onnx", "onnxruntime"),
)


def make(folder: Path) -> Callable[[], object]:
    (folder / "inside").mkdir()
    (folder / "secret.bin").write_bytes(bytes(864))
    (folder / "inside" / "weights.bin").symlink_to(folder / "secret.bin")
    return reading(onnx_beside(folder / "inside", {"location": "weights.bin"}))
