"""What FFmpeg does not say of a file: its bytes are looked through."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def looked_through(uri: str, find: Callable[[mmap.mmap], Found]) -> Found | None:
    """What ``find`` gives for a file's bytes; None for what is no file, is empty, or cannot be read."""
    if "://" in uri or not os.path.isfile(uri):
        return None
    try:
        with open(uri, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return find(data)
    except (OSError, ValueError):
        return None
