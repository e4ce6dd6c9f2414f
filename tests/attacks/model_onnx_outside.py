"""An ONNX file that keeps weights outside its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import onnx_beside, reading

ATTACK = Attack(
    ModelError,
    "{folder}/inside/model.onnx keeps weights in '../secret.bin', which is not beside it: do not use "
    "this file",
    needs=("torch", "onnx", "onnxruntime"),
)


def make(folder: Path) -> Callable[[], object]:
    (folder / "inside").mkdir()
    (folder / "secret.bin").write_bytes(bytes(864))
    return reading(onnx_beside(folder / "inside", {"location": "../secret.bin"}))
