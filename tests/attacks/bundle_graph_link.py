"""A graph file that is a link to a file elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.bundle import read
from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import sound

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: the file 'key.onnx' of key is reached by a link: do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    target = sound(folder)
    (target / "key.onnx").rename(folder / "elsewhere.onnx")
    (target / "key.onnx").symlink_to(folder / "elsewhere.onnx")
    return lambda: read(target)
