"""A folder of images with a link to a device that never ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources.frames import open as open_images
from tests.attacks import Attack

ATTACK = Attack(SourceError, "cannot read the image {folder}/0.png (it is no plain file): check the file")


def make(folder: Path) -> Callable[[], object]:
    (folder / "0.png").symlink_to("/dev/zero")
    return lambda: open_images(folder)
