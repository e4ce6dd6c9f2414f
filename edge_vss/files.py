"""The hash of a file, and whether one can be written."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_writable(place: str | Path) -> None:
    """Raise OSError where a file could not be written. What is there stays as it is, and nothing is left."""
    path = os.path.realpath(place)
    if os.path.isfile(path):
        os.close(os.open(path, os.O_WRONLY))
    elif not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        os.unlink(path)
    elif os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    # Neither file nor folder: a pipe, which would not open before somebody reads it, or a device.
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
