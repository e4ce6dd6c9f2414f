"""A label map that holds half of its rows: decoders leave the others black, which is a class."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import SourceError
from tests.attacks import Attack
from tests.attacks._png import map_of

ATTACK = Attack(
    SourceError,
    "{folder}/0.png is damaged: export the label map again",
)


def make(folder: Path) -> Callable[[], object]:
    return map_of(folder, (100, 100), zlib.compress(bytes(50 * 101)))
