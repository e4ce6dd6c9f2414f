"""ONNX weights outside of the bundle, in a graph six thousand messages deep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.onnx of key keeps weights in another file (external data): do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    # From the inside out: the graph of an attribute of a node of a graph. Field numbers are those of onnx.proto3.
    content = b"\x2a\x02\x70\x01\x52\x08location"
    for _ in range(2000):
        for field in (6, 5, 1):
            content = bytes([field << 3 | 2]) + size(len(content)) + content
    return holding(folder, b"\x08\x08\x3a" + size(len(content)) + content)


def size(count: int) -> bytes:
    """A number as protobuf writes it."""
    digits = []
    while count > 127:
        digits.append(count & 127 | 128)
        count >>= 7
    return bytes([*digits, count])
