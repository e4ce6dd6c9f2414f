"""Graph files that are what their target says, and that make no engine open any other file.

An engine opens a graph by its path, and may go on to files that the graph names. Those would be loaded with
no hash checked. So what can name a file is refused, and so is a file of another kind than its target's:
OpenVINO looks at the content, and not at the name alone.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import BinaryIO

from edge_vss.bundle.json_fields import broken
from edge_vss.bundle.manifest import GraphSpec, Manifest
from edge_vss.bundle.onnx_wire import outside_files
from edge_vss.errors import BundleError

ENDINGS = {"onnx": (".onnx", ""), "openvino": (".xml", ".bin"), "tflite": (".tflite", "")}
"""Target → how the names of ``file`` and ``data`` end; nothing is known of other targets."""


def check_names(manifest: Manifest) -> None:
    """Every graph's files lie inside, and have the names by which engines find them. Raises BundleError."""
    for graph in manifest.graphs:
        for name in (graph.file, graph.data) if graph.data else (graph.file,):
            relative = PurePosixPath(name)
            # Backslashes and colons lead elsewhere on Windows.
            if not name or relative.is_absolute() or ".." in relative.parts or re.search(r"[\\:\0]", name):
                raise BundleError(
                    f"the file {name!r} of {graph.role} leaves the bundle: do not use this bundle"
                )
    if manifest.target not in ENDINGS:
        return
    ending, data_ending = ENDINGS[manifest.target]
    for graph in manifest.graphs:
        if not graph.file.endswith(ending):
            raise broken(
                f"the file {graph.file!r} of {graph.role} has to end in {ending} for {manifest.target}"
            )
        # OpenVINO takes the weights from beside the .xml, whatever the manifest says.
        wanted = graph.file.removesuffix(ending) + data_ending if data_ending else ""
        if graph.data != wanted:
            raise broken(
                f'"data" of {graph.role} is {graph.data!r}, and has to be {wanted!r} beside its file'
            )


def check_content(target: str, graph: GraphSpec, file: BinaryIO) -> None:
    """The graph's file, open to read, is of its target's kind and names no other file.

    Raises BundleError. OSError as reading does.
    """
    check = _CHECKS.get(target)
    if check is not None and (problem := check(file)):
        raise BundleError(f"{graph.file} of {graph.role} {problem}: do not use this bundle")


def _onnx(file: BinaryIO) -> str:
    try:
        return outside_files(file)
    except ValueError as error:
        return f"is not an ONNX file ({error})"


def _openvino(file: BinaryIO) -> str:
    # No ONNX file can begin so: OpenVINO would read one, and its external data, under the name of an XML.
    return "" if file.read(6).startswith((b"<?xml ", b"<net ")) else "is not an OpenVINO XML file"


def _tflite(file: BinaryIO) -> str:
    # The tables of a FlatBuffer by hand: a device has no schema. Fields 8 and 9 of LiteRT's ``Model`` are
    # external_buffer_groups, which name files, and external_buffers.
    try:
        head = file.read(8)
        root = struct.unpack("<I4x", head)[0]
        table = root - _number(file, root, "<i")
        size = _number(file, table, "<H")
        for field in (8, 9):
            slot = 4 + 2 * field
            offset = _number(file, table + slot, "<H") if slot + 2 <= size else 0
            vector = root + offset
            if offset and _number(file, vector + _number(file, vector, "<I"), "<I"):
                return "keeps tensors in other files"
    except (struct.error, ValueError):
        return "is not a TFLite file"
    return "" if head[4:] == b"TFL3" else "is not a TFLite file"


def _number(file: BinaryIO, place: int, form: str) -> int:
    file.seek(place)
    found: int = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return found


_CHECKS: dict[str, Callable[[BinaryIO], str]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "tflite": _tflite,
}
