"""Two folders that change places in one step, where the system can do that."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# Linux, fcntl.h and linux/fs.h.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: Path, other: Path) -> bool:
    """Give each of two paths what the other has, at once for everyone who looks.

    False where that is not possible here, and nothing has changed: Python has no call for it, so that the C
    library is asked for its own, and neither every library nor every file system has one.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    places = (os.fsencode(one), os.fsencode(other))
    done: int = renameat2(_AT_FDCWD, places[0], _AT_FDCWD, places[1], ctypes.c_uint(_RENAME_EXCHANGE))
    return done == 0
