"""An OpenVINO file with a constant far behind the end of its weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from edge_vss.vendors import without_telemetry
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.xml cannot be read as an OpenVINO model (a constant beyond the ... bytes of "
    "model.bin): copy it again, and its .bin beside it",
    needs=("torch", "onnx", "openvino"),
)


def make(folder: Path) -> Callable[[], object]:
    with without_telemetry():
        import openvino as ov

    from tests.helpers.conversion import save_onnx

    path = folder / "model.xml"
    ov.save_model(ov.Core().read_model(save_onnx(folder)), path, compress_to_fp16=False)
    path.write_text(re.sub(r'offset="[1-9]\d*"', 'offset="900000000"', path.read_text(), count=1))
    return reading(path)
