"""An OpenVINO file with a hundred thousand elements one in the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.xml cannot be read as an OpenVINO model (elements nested deeper than 100): copy "
    "it again, and its .bin beside it",
    needs=("torch", "onnx", "openvino"),
)


def make(folder: Path) -> Callable[[], object]:
    path = folder / "model.xml"
    path.write_text('<?xml version="1.0"?><net>' + "<layer>" * 100_000)
    path.with_suffix(".bin").touch()
    return reading(path)
