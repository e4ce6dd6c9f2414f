"""ONNX files of strangers: recognised by their first bytes, and weights in other files checked before use."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_vss.errors import ModelError, one_line

MOST_BYTES = 1 << 31
"""What one ONNX file may hold (protobuf's limit), and what its weights in other files may hold together: ONNX
Runtime takes the model in one piece."""
NEWEST_IR, MOST_NODES = 64, 1_000_000
FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Number of a field of ``ModelProto`` → its wire type (0 a number, 2 bytes)."""
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128}
"""Data type of a tensor → bits of a value, where that is fixed."""


def looks_like_onnx(start: bytes) -> bool:
    """Whether bytes begin as a ``ModelProto`` does: its IR version, and then fields that it has."""
    at, seen = 0, 0
    while at < len(start):
        key, at = _number(start, at)
        field, wire = key >> 3, key & 7
        if FIELDS.get(field) != wire or (not seen and field != 1):
            return False
        value, at = _number(start, at)
        if field == 1 and not 0 < value <= NEWEST_IR:
            return False
        at += value if wire == 2 else 0
        seen += 1
    return seen > 1


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number as protobuf writes it, and where the next thing begins."""
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            break
    return value, at


def load_model(path: Path) -> Any:
    """The ``ModelProto`` of a file, with its external data inside.

    Raises ModelError for a damaged file, and for external data that is not plain files beside the model.
    """
    import onnx

    if path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{path} is larger than an ONNX file can be (2 GiB): do not use this file")
    try:
        model = onnx.load(str(path), load_external_data=False)
        external = [tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    except Exception as error:  # protobuf's own, and RecursionError of graphs in graphs
        raise ModelError(f"{path} cannot be read as ONNX ({one_line(error)}): export it again") from None
    _fill(path, external)
    return model


def check_functions(path: Path, model: Any) -> None:
    """Raise ModelError where a model's functions call each other in a circle, or unfold to a vast graph."""
    functions = {(function.domain, function.name): list(nodes_in(function)) for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def unfolded(nodes: list[Any], inside: frozenset[tuple[str, str]]) -> int:
        total = 0
        for node in nodes:
            name = (node.domain, node.op_type)
            if name in inside:
                raise RecursionError
            if name in functions and name not in sizes:
                sizes[name] = unfolded(functions[name], inside | {name})
            total += sizes.get(name, 1)
        return total

    try:
        count = unfolded(list(nodes_in(model.graph)), frozenset())
    except RecursionError:
        raise ModelError(
            f"{path} has functions that call each other for ever: do not use this file"
        ) from None
    if count > MOST_NODES:
        raise ModelError(f"{path} unfolds to {count} nodes, more than any network has: do not use this file")


def nodes_in(owner: Any) -> Iterator[Any]:
    """The nodes of a graph or function, and of the graphs inside them."""
    waiting = list(owner.node)
    while waiting:
        node = waiting.pop()
        yield node
        for graph in graphs_in(node):
            waiting += graph.node


def graphs_in(node: Any) -> Iterator[Any]:
    """The graphs that a node holds, as the branches of an ``If``; those that are not set are empty."""
    for attribute in node.attribute:
        yield from (attribute.g, *attribute.graphs)


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a message: weights, constants, also those of inner graphs and functions."""
    import onnx

    waiting = [message]
    while waiting:
        found = waiting.pop()
        if isinstance(found, onnx.TensorProto):
            yield found
            continue
        for field, value in found.ListFields():
            if field.message_type is not None:
                waiting += list(value) if hasattr(value, "__len__") else [value]


def _fill(path: Path, external: list[Any]) -> None:
    import onnx

    total = 0
    for tensor in external:
        keys = {entry.key: entry.value for entry in tensor.external_data}
        place, size = _beside(path, keys.get("location", ""))
        begin, length = (_whole(keys.get(key, "0"), path, tensor) for key in ("offset", "length"))
        wanted = math.prod(tensor.dims) * _BITS.get(tensor.data_type, 0) // 8
        length = length or wanted
        total += length
        fits = begin + length <= size and all(extent >= 0 for extent in tensor.dims)
        if not fits or (wanted and length != wanted):
            raise ModelError(
                f"{path} keeps {ascii(tensor.name)[:60]} in {place.name}, and that does not fit: "
                "copy both files again"
            )
        if total > MOST_BYTES:
            raise ModelError(f"{path} has more than 2 GiB of weights in other files: give a smaller model")
        with place.open("rb") as file:
            file.seek(begin)
            tensor.raw_data = file.read(length)
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT


def _beside(path: Path, location: str) -> tuple[Path, int]:
    """The file that keeps external data, and its size: in the model's folder or below, and no link."""
    place = path.parent / location
    parts = Path(location).parts
    if not location or "\0" in location or Path(location).is_absolute() or ".." in parts:
        raise ModelError(
            f"{path} keeps weights in {ascii(location)[:80]}, which is not beside it: do not use this file"
        )
    try:
        folders = [path.parent.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
        modes = [os.lstat(folder).st_mode for folder in folders]
        size = place.stat().st_size
    except OSError as error:
        raise ModelError(
            f"{path} keeps weights in {ascii(place.name)[1:-1]}, and that cannot be read ({error.strerror}): "
            "put it beside"
        ) from None
    if any(stat.S_ISLNK(mode) for mode in modes) or not stat.S_ISREG(modes[-1]):
        raise ModelError(
            f"{path} keeps weights in {place.name}, which is a link or no file: put the file there"
        )
    return place, size


def _whole(text: str, path: Path, tensor: Any) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ModelError(
            f"{path} has no place for {ascii(tensor.name)[:60]} in its other file: export it again"
        )
    return int(text)
