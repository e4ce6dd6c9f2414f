"""A TFLite file whose tables lead out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: key.tflite of key is not a TFLite file: do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    return holding(folder, b"\xff\xff\xff\x7fTFL3" + bytes(64), "tflite")
