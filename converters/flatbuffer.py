"""Reading and changing TFLite files, by the schema that LiteRT brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_vss.errors import MissingExtra

IDENTIFIER = b"TFL3"


def read(path: Path) -> Any:
    """The file as a tree of plain objects (``ModelT``)."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        raise MissingExtra("ai-edge-litert", "tflite", "reading TFLite") from None
    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def write(path: Path, model: Any) -> None:
    """Write what ``read`` gave."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    path.write_bytes(builder.Output())


def name_tensors(
    path: Path, names: Mapping[str, tuple[Sequence[str], Sequence[str]]], metadata: Mapping[str, str]
) -> None:
    """Name the inputs and outputs of every signature, in their order, and add ``metadata``."""
    model = read(path)
    for signature in model.signatureDefs:
        inputs, outputs = names[_text(signature.signatureKey)]
        for maps, wanted in ((signature.inputs, inputs), (signature.outputs, outputs)):
            # args_0, args_1, ... and output_0, output_1, ...: the number says the place.
            for entry in maps:
                entry.name = wanted[int(_text(entry.name).rpartition("_")[2])]
    add_metadata(model, metadata)
    write(path, model)


def add_metadata(model: Any, metadata: Mapping[str, str]) -> None:
    """Add entries to a model's metadata."""
    from ai_edge_litert import schema_py_generated as schema

    model.metadata = model.metadata or []
    for key, value in metadata.items():
        buffer = schema.BufferT()
        buffer.data = list(value.encode())
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = key, len(model.buffers) - 1
        model.metadata.append(entry)


def metadata(model: Any) -> dict[str, str]:
    """A model's metadata, name → text."""
    return {
        _text(entry.name): bytes(model.buffers[entry.buffer].data).decode(errors="replace")
        for entry in model.metadata or []
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
