"""A label map of four megabytes that would unpack to four gigabytes."""

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
    packer = zlib.compressobj()
    first, again = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return map_of(folder, (33, 47), first + again * 4095)
