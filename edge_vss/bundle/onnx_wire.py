"""Which other files an ONNX model would make an engine open, read from the file's protobuf fields.

A device has no onnx package. What matters here is small: every tensor, wherever it is (weights, attributes,
graphs inside of nodes, functions, sparse tensors, training), and every node's operator. The numbers are those
of onnx.proto3; the encoding is protobuf's (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from typing import BinaryIO

_WITHIN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}
"""Message → field → the message in it that is looked into."""
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2}
"""Fields of a model, and how each is encoded."""
_REPEATED = {8, 14, 20, 25}
_IR_VERSION, _GRAPH = 1, 7
_OPERATOR = 4
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_FIELDS = 5_000_000
"""A hundred times what the largest of our models has. So many take some ten seconds."""


def outside_files(file: BinaryIO) -> str:
    """What is wrong with a model that wants other files, or an empty text.

    What is an ONNX file is told as strictly as OpenVINO tells it: what that takes for none, it tries to read
    as other formats, whatever the name. Raises ValueError for what is not an ONNX model, OSError as reading
    does.
    """
    end = file.seek(0, 2)
    file.seek(0)
    seen: set[int] = set()
    # Messages still open, innermost last: a hostile file may nest them deeper than Python calls functions.
    kinds, ends = ["model"], [end]
    for _ in range(_MOST_FIELDS):
        while file.tell() >= ends[-1]:
            if file.tell() > ends[-1]:
                raise ValueError("a field reaches past its end")
            kinds.pop()
            ends.pop()
            if not kinds:
                if not {_IR_VERSION, _GRAPH} <= seen:
                    raise ValueError("it has no version or no graph")
                return ""
        kind = kinds[-1]
        key = _varint(file)
        number, wire = key >> 3, key & 7
        if len(kinds) == 1:
            if _MODEL_FIELDS.get(number) != wire or (number in seen and number not in _REPEATED):
                raise ValueError(f"field {number} of kind {wire} has no place there")
            seen.add(number)
        if wire == _VARINT:
            value = _varint(file)
            if kind == "tensor" and number == _DATA_LOCATION and value:
                return "keeps weights in another file (external data)"
        elif wire == _BYTES:
            size = _varint(file)
            begin = file.tell()
            if kind == "tensor" and number == _EXTERNAL_DATA:
                return "keeps weights in another file (external data)"
            if kind == "node" and number == _OPERATOR and file.read(min(size, 10)) == b"EPContext":
                return "wants a compiled part that a device loads from another file (EPContext)"
            inner = _WITHIN[kind].get(number)
            if begin + size > ends[-1]:
                raise ValueError("a field reaches past its end")
            if inner is None:
                file.seek(begin + size)
            else:
                kinds.append(inner)
                ends.append(begin + size)
        elif wire in (_FIXED64, _FIXED32):
            file.seek(8 if wire == _FIXED64 else 4, 1)
        else:
            raise ValueError(f"a field of kind {wire}")
    raise ValueError(f"more than {_MOST_FIELDS} fields")


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends within a field")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number of more than ten bytes")
