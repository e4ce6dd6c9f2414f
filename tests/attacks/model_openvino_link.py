"""An OpenVINO file whose weights are a link to another folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/inside/model.xml keeps its weights in model.bin, which is a link or no file: put the "
    "file there",
    needs=("torch", "onnx", "openvino"),
)


def make(folder: Path) -> Callable[[], object]:
    (folder / "inside").mkdir()
    (folder / "secret.bin").write_bytes(bytes(100))
    (folder / "inside" / "model.bin").symlink_to(folder / "secret.bin")
    (folder / "inside" / "model.xml").write_text('<?xml version="1.0"?><net></net>')
    return reading(folder / "inside" / "model.xml")
