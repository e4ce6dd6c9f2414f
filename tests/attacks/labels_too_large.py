"""A label map whose header promises four gigapixels."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import SourceError
from tests.attacks import Attack
from tests.attacks._png import map_of

ATTACK = Attack(
    SourceError,
    "{folder}/0.png says it is 65535x65535 (height x width), and 128 megapixels is the most: give maps of the video's size",
)


def make(folder: Path) -> Callable[[], object]:
    return map_of(folder, (65535, 65535), zlib.compress(bytes(1000)))
