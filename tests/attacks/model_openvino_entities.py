"""An OpenVINO file whose entities grow to gigabytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from edge_vss.vendors import without_telemetry
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/model.xml cannot be read as an OpenVINO model (a DOCTYPE): copy it again, and its .bin "
    "beside it",
    needs=("torch", "onnx", "openvino"),
)


def make(folder: Path) -> Callable[[], object]:
    with without_telemetry():
        import openvino as ov

    from tests.helpers.conversion import save_onnx

    path = folder / "model.xml"
    ov.save_model(ov.Core().read_model(save_onnx(folder)), path, compress_to_fp16=False)
    laughs = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 8))
    head = f'<?xml version="1.0"?>\n<!DOCTYPE net [<!ENTITY e0 "ha">{laughs}]>\n'
    path.write_text(head + path.read_text().partition("?>")[2].replace('name="', 'name="&e7;', 1))
    return reading(path)
