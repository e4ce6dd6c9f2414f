"""Files of a state: a small good one, and others as an attacker makes them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edge_vss.bundle import StateSpec
from edge_vss.runtimes._state_file import MAGIC, Snapshot, write
from tests.helpers import toys

MANIFEST = replace(
    toys.manifest(),
    state=(
        StateSpec("scores", (1, 2, 12, 16), "float32", 0.0),
        StateSpec("seen", (3,), "bool", 0.0),
        StateSpec("count", (1,), "int64", 0.0),
    ),
    options={"memory": 4},
)
TENSORS: dict[str, Any] = {
    "scores": np.arange(384, dtype=np.float32).reshape(1, 2, 12, 16),
    "seen": np.array([True, False, True]),
    "count": np.array([-7], np.int64),
}
NBYTES = 384 * 4 + 3 + 8


def saved(path: Path) -> Path:
    write(path, Snapshot(MANIFEST, TENSORS, (48, 64)))
    return path


@cache
def content_of_a_file() -> bytes:
    with TemporaryDirectory() as folder:
        return saved(Path(folder, "whole")).read_bytes()


def header_of(content: bytes) -> dict[str, Any]:
    start = len(MAGIC) + 4 + 32
    found: dict[str, Any] = json.loads(content[start : len(content) - NBYTES])
    return found


def forged(header: object, body: bytes, text: bytes | None = None) -> bytes:
    """A file as an attacker makes it: its hashes are right."""
    if isinstance(header, dict):
        header = {**header, "sha256": hashlib.sha256(body).hexdigest()}
    packed = json.dumps(header).encode() if text is None else text
    return MAGIC + len(packed).to_bytes(4, "little") + hashlib.sha256(packed).digest() + packed + body
