"""A graph file that is a pipe, which nobody writes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.bundle import read
from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import sound

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: 'key.onnx' cannot be read (it is no plain file): check permissions, or convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    target = sound(folder)
    (target / "key.onnx").unlink()
    os.mkfifo(target / "key.onnx")
    return lambda: read(target)
