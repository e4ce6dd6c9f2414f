"""A TFLite file that keeps its weights in another file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.tflite of key keeps tensors in other files: do not use this bundle",
    needs=("ai_edge_litert", "flatbuffers"),
)


def make(folder: Path) -> Callable[[], object]:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    group = schema.ExternalBufferGroupT()
    group.name = "../weights.bin"
    model = schema.ModelT()
    model.version, model.externalBufferGroups = 3, [group]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return holding(folder, bytes(builder.Output()), "tflite")
