"""Small stand-ins for the models that docs/models names, made for the page that needs them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.documents import ROOT, blocks
from tests.helpers.scene import HEIGHT, WIDTH

CLASSES = 11
SIZE = (HEIGHT, WIDTH)
TRAINED = """

def trained():
    import torch

    torch.manual_seed(0)
    return Net(classes=11)
"""


def make(page: str, folder: Path) -> None:
    """The files of ``docs/models/NAME.md`` in ``folder``; nothing for other pages."""
    if match := re.fullmatch(r"docs/models/(\w+)\.md", page):
        makers: dict[str, Callable[[Path], None]] = {
            "program": program,
            "checkpoint": checkpoint,
            "huggingface": huggingface,
            "onnx": onnx,
            "openvino": openvino,
            "tflite": tflite,
        }
        if match[1] in makers:
            makers[match[1]](folder)


def program(folder: Path) -> None:
    import torch

    network = torch.nn.Conv2d(3, CLASSES, 1).eval()
    torch.export.save(torch.export.export(network, (torch.rand(1, 3, *SIZE),)), folder / "net.pt2")


def checkpoint(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    (code,) = (block.text for block in blocks(ROOT / "docs/models/checkpoint.md") if block.title == "net.py")
    (folder / "net.py").write_text(code + TRAINED)
    names: dict[str, Any] = {}
    exec(code, names)
    weights, wide = (names["Net"](width, CLASSES).state_dict() for width in (8, 16))
    save_file({f"model.{name}": value for name, value in weights.items()}, folder / "weights.safetensors")
    torch.save({"state_dict": wide, "state_dict_ema": wide}, folder / "checkpoint.pth")


def huggingface(folder: Path) -> None:
    import transformers

    names = {"id2label": {0: "road", 1: "car"}, "label2id": {"road": 0, "car": 1}}
    sides = {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 1, 2, 2]}
    config = transformers.SegformerConfig(decoder_hidden_size=16, **sides, **names)
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder / "segformer")
    size = {"height": HEIGHT, "width": WIDTH}
    transformers.SegformerImageProcessorPil(size=size).save_pretrained(folder / "segformer")


def onnx(folder: Path) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch.nn.Conv2d(3, CLASSES, 1).eval(), (torch.rand(1, 3, *SIZE),), str(folder / "net.onnx"),
            dynamo=False, opset_version=17, input_names=["image"],
        )  # fmt: skip


def openvino(folder: Path) -> None:
    import openvino as ov

    onnx(folder)
    ov.save_model(ov.Core().read_model(folder / "net.onnx"), folder / "net.xml", compress_to_fp16=False)


def tflite(folder: Path) -> None:
    import torch

    from edge_vss.bundle import TensorSpec
    from edge_vss.converters.targets.tflite import export
    from edge_vss.converters.values import Part

    network = torch.nn.Conv2d(3, CLASSES, 1).eval()
    specs = TensorSpec("x", (1, 3, *SIZE), "float32"), TensorSpec("y", (1, CLASSES, *SIZE), "float32")
    export([Part("main", network, (specs[0],), (specs[1],))], folder, {})
    (folder / "graphs.tflite").rename(folder / "net.tflite")
