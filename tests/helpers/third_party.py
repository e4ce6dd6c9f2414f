"""Another package that adds a plugin: one module, and the entry point that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

ENGINE = """
from edge_vss.runtimes.engines import EngineDescription, EngineOptions, onnxruntime

DESCRIPTION = EngineDescription(
    targets=("onnx",), modules=("steam",), packages=("steam-engine",), extra="",
    options=frozenset({"provider"}), accelerators=lambda: ["boiler"],
)


def load(path, graph, options=EngineOptions()):
    return onnxruntime.load(path, graph, EngineOptions(options.threads))
"""
SINK = """
from pathlib import Path
from edge_vss.runtimes.sinks import SinkDescription

DESCRIPTION = SinkDescription("the frame's number and its first label")


class Numbers:
    def __init__(self, path):
        self.file = open_file(path, "w")

    def write(self, frame, prediction):
        self.file.write(f"{frame.index} {prediction.labels[0, 0]}\\n")

    def close(self):
        self.file.close()


open_file = open


def open(path, context):
    return Numbers(path)
"""


def install(folder: Path, kind: str, name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a package with one module on the path, of this process and of those that it starts."""
    package = folder / "site"
    metadata = package / f"{name}_{kind}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (package / f"{name}.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-{kind}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[edge_vss.{kind}]\n{name} = {name}\n")
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setenv("PYTHONPATH", str(package), prepend=":")
