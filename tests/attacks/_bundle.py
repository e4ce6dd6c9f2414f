"""A sound bundle to spoil. Its graphs are empty: `read` asks no engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss import bundle
from tests.test_bundle import manifest


def sound(folder: Path) -> Path:
    """The bundle ``street.vss`` in ``folder``."""
    target = folder / "street.vss"
    with bundle.building(target) as building:
        bundle.write(building, manifest(building))
    return target


def spoiled(folder: Path, change: Callable[[dict[str, Any]], None]) -> Callable[[], object]:
    """The call that reads the sound bundle with ``change`` made to its manifest."""
    target = sound(folder)
    data = json.loads((target / "manifest.json").read_text())
    change(data)
    (target / "manifest.json").write_text(json.dumps(data))
    return lambda: bundle.read(target)


def written(folder: Path, text: str | bytes) -> Callable[[], object]:
    """The call that reads a bundle whose manifest is ``text``."""
    target = sound(folder)
    (target / "manifest.json").write_bytes(text.encode() if isinstance(text, str) else text)
    return lambda: bundle.read(target)


def holding(folder: Path, content: bytes, target: str = "onnx", **graph: str) -> Callable[[], object]:
    """The call that reads a bundle for ``target`` whose key graph has ``content``, with the right hash.

    ``graph`` are further keys of the graph in the manifest.
    """
    ending = {"onnx": ".onnx", "openvino": ".xml", "tflite": ".tflite"}[target]
    weights = b"weights"

    def change(data: dict[str, Any]) -> None:
        data["target"] = target
        (place / f"key{ending}").write_bytes(content)
        (place / "key.bin").write_bytes(weights)
        for entry in data["graphs"]:
            entry.update(file=f"key{ending}", sha256=hashlib.sha256(content).hexdigest())
            if target == "openvino":
                entry.update(data="key.bin", data_sha256=hashlib.sha256(weights).hexdigest())
            entry.update(graph)

    place = folder / "street.vss"
    return spoiled(folder, change)
