"""The metadata of TFLite files: normalisation, and class names in a ZIP archive behind the model.

Slots are those of ``metadata_schema.fbs``, version 1.5.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_vss.converters.conversion import Preprocess
from edge_vss.converters.readers._metadata import Said, class_names, of_texts, value_of
from edge_vss.converters.targets import _flatbuffer as flatbuffer
from edge_vss.errors import ModelError
from edge_vss.plugins import LOG

NAME = "TFLITE_METADATA"
ULTRALYTICS = ("metadata.json", "temp_meta.txt")
MOST_BYTES = 1 << 20
"""Of a label file."""
MOST_ENTRIES = 1000
SUBGRAPHS, INPUTS, OUTPUTS = 3, 2, 3
UNITS, FILES = 4, 6
LABELS = (2, 3)
"""Types of label files: for an axis, and for values."""
NORMALIZATION = 1
"""Type of a process unit."""


def said_by(path: Path) -> Said:
    """What the metadata of a file says of classes and pixels. Metadata that cannot be read counts as none.

    Raises ModelError where it names another task, or a label file that is far too large.
    """
    archived = _archived(path)
    for name in ULTRALYTICS:
        entries = value_of(archived.get(name, b"").decode(errors="replace"))
        if isinstance(entries, dict):
            return of_texts(path, {str(key): value for key, value in entries.items()})
    try:
        return _said(_root(path), archived)
    except ModelError:
        raise
    except Exception as error:  # struct's, and what comes of offsets that lead nowhere
        LOG.warning("%s has damaged metadata, which is left out (%s)", path, error)
        return Said()


def _root(path: Path) -> Any:
    from flatbuffers import encode, packer, table

    model = flatbuffer.read(path)
    for entry in model.metadata or []:
        if entry.name in (NAME, NAME.encode()):
            data = bytearray(bytes(model.buffers[entry.buffer].data))
            return table.Table(data, encode.Get(packer.uoffset, data, 0))
    return None


def _said(root: Any, archived: dict[str, bytes]) -> Said:
    graph = next(_tables(root, SUBGRAPHS), None) if root is not None else None
    if graph is None:
        return Said()
    classes, prepare = None, None
    for tensor in _tables(graph, OUTPUTS):
        for file in _tables(tensor, FILES):
            if _byte(file, 2) in LABELS and classes is None:
                lines = archived.get(_text(file, 0), b"").decode(errors="replace").splitlines()
                classes = class_names([line.strip() for line in lines if line.strip()])
    for unit in (unit for tensor in _tables(graph, INPUTS) for unit in _tables(tensor, UNITS)):
        if _byte(unit, 0) == NORMALIZATION and prepare is None:
            options = next(_unions(unit, 1))
            mean, std = _floats(options, 0) or [0.0], _floats(options, 1) or [1.0]
            prepare = Preprocess(_three(mean), _three(std), 1.0)
    return Said(classes, prepare)


def _three(values: list[float]) -> tuple[float, ...]:
    return tuple(values * 3 if len(values) == 1 else values)


def _archived(path: Path) -> dict[str, bytes]:
    """The small text files in the archive behind a model; none without one."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            for entry in archive.infolist()[:MOST_ENTRIES]:
                if entry.filename.endswith((".txt", ".json", ".csv")) and entry.file_size <= MOST_BYTES:
                    with archive.open(entry) as file:
                        found[entry.filename] = file.read(MOST_BYTES)
            return found
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError):
        return {}


def _offset(table: Any, slot: int) -> int:
    return int(table.Offset(4 + 2 * slot))


def _tables(table: Any, slot: int) -> Iterator[Any]:
    offset = _offset(table, slot)
    if offset:
        start = table.Vector(offset)
        for index in range(min(table.VectorLen(offset), MOST_ENTRIES)):
            yield type(table)(table.Bytes, table.Indirect(start + 4 * index))


def _unions(table: Any, slot: int) -> Iterator[Any]:
    inner = type(table)(table.Bytes, 0)
    table.Union(inner, _offset(table, slot))
    yield inner


def _text(table: Any, slot: int) -> str:
    offset = _offset(table, slot)
    return table.String(offset + table.Pos).decode(errors="replace") if offset else ""


def _byte(table: Any, slot: int) -> int:
    from flatbuffers import number_types

    offset = _offset(table, slot)
    return int(table.Get(number_types.Int8Flags, offset + table.Pos)) if offset else 0


def _floats(table: Any, slot: int) -> list[float]:
    from flatbuffers import number_types

    offset = _offset(table, slot)
    if not offset or table.VectorLen(offset) > MOST_ENTRIES:
        return []
    return [float(value) for value in table.GetVectorAsNumpy(number_types.Float32Flags, offset)]
