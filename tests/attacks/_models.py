"""Helpers for attacks by model files: a good file with one thing changed, and the call that reads it."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Trap:
    """When it is unpickled, a folder called ``sprung`` appears."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder / "sprung")

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.place,)


def code(folder: Path) -> str:
    """Python code of one expression that does the same."""
    return f"__import__('os').mkdir({str(folder / 'sprung')!r})"


def saved(content: object) -> bytes:
    """What ``torch.save`` writes of something."""
    import torch

    made = io.BytesIO()
    torch.save(content, made)
    return made.getvalue()


def program(folder: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """An exported program whose entries (without their folder) were changed."""
    from tests.helpers.conversion import save_exported

    path = save_exported(folder)
    with zipfile.ZipFile(path) as archive:
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"model/{name}", content)
    return path


def graph(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """An exported program whose graph was changed."""

    def rewrite(entries: dict[str, bytes]) -> None:
        content = json.loads(entries["models/model.json"])
        change(content)
        entries["models/model.json"] = json.dumps(content).encode()

    return program(folder, rewrite)


def onnx_beside(folder: Path, location: Mapping[str, str]) -> Path:
    """An ONNX file that keeps one of its weights elsewhere."""
    import onnx

    from tests.helpers.conversion import save_onnx

    path = save_onnx(folder)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in location.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)
    return path


def reading(path: Path, **options: Any) -> Callable[[], object]:
    """The call that reads a model, with what it needs already imported."""
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.readers._load import load_network

    conversion = Conversion(path, **{"classes": 3, "size": (48, 64), **options})
    return lambda: load_network(conversion)
