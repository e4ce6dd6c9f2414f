"""A folder of images with a pipe in it, which nobody writes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources.frames import open as open_images
from tests.attacks import Attack

ATTACK = Attack(SourceError, "cannot read the image {folder}/0.png (it is no plain file): check the file")


def make(folder: Path) -> Callable[[], object]:
    os.mkfifo(folder / "0.png")
    return lambda: open_images(folder)
