"""Files that others made, read with care; the hash of a file; whether one can be written."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from edge_vss.errors import OptionError
from edge_vss.text import kind_of

# Without waiting: a pipe that nobody writes to would never open. Windows has no such flags or pipes.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def path_of(value: object, what: str) -> Path:
    """A place that a program gave, as text or as a path. Raises OptionError for others, naming ``what``."""
    if isinstance(value, bytes) or not isinstance(value, (str, os.PathLike)):
        raise OptionError(f"{what} is {kind_of(value)}: give a path")
    return Path(value)


def utf8_name(path: Path) -> str:
    """A file's name for libraries that are not Python's and want it in UTF-8.

    Where the locale is `C`, Python holds what is not ASCII as stand-ins, which only its own functions
    understand. Raises OptionError for a name that is no UTF-8.
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise OptionError(f"{path} has a name that is no UTF-8: rename it") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return sha256_of(file)


def sha256_of(file: BinaryIO) -> str:
    """The SHA-256 of the rest of an open file, in hexadecimal."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file to read, without waiting; the last part of ``path`` may be a link to one.

    Raises OSError, for a pipe, a device and a name that no file can have too.
    """
    try:
        # Who writes into a pipe would take the shortest look into it for a reader that has gone.
        _check_plain(os.stat(path))
        return _plain(os.open(path, _READ))
    except ValueError as error:  # of a zero in the name
        raise OSError(errno.EINVAL, str(error)) from None


def open_inside(folder: Path, name: str) -> BufferedReader:
    """Open the plain file ``name`` (relative, with ``/``) of ``folder`` to read, without waiting.

    No part of ``name`` may be a link, nor lead out of ``folder``; ``folder`` itself may be one. Raises
    OSError as `open_plain` does, with ELOOP for a link.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or parts[0] == "/":
        raise OSError(errno.EINVAL, "it is no name of a file inside the folder")
    try:
        if os.open not in os.supports_dir_fd:  # Windows
            return _open_inside_slowly(folder, parts)
        return _open_below(folder, parts)
    except ValueError as error:  # of a zero in a name
        raise OSError(errno.EINVAL, str(error)) from None


def _open_below(folder: Path, parts: tuple[str, ...]) -> BufferedReader:
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = _open_at(at, part, os.O_RDONLY | os.O_DIRECTORY)
            os.close(at)
            at = inner
        status = os.stat(parts[-1], dir_fd=at, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            _check_plain(status)
        return _plain(_open_at(at, parts[-1], _READ))
    finally:
        os.close(at)


def read_plain(file: BinaryIO, limit_bytes: int) -> bytes:
    """All of an open file, which is closed. Raises OSError with EFBIG for more than ``limit_bytes``."""
    with file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise OSError(errno.EFBIG, f"it has more than {limit_bytes >> 10} KiB")
    return data


def _open_at(at: int, part: str, flags: int) -> int:
    try:
        return os.open(part, flags | _NO_LINK, dir_fd=at)
    except OSError:
        # A system says ELOOP, EMLINK or ENOTDIR of a link here.
        if stat.S_ISLNK(os.stat(part, dir_fd=at, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, "it is a link") from None
        raise


def _open_inside_slowly(folder: Path, parts: tuple[str, ...]) -> BufferedReader:
    place = folder
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise OSError(errno.ELOOP, "it is a link")
    return open_plain(place)


def _check_plain(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file")


def _plain(descriptor: int) -> BufferedReader:
    try:
        # It may be another one by now.
        _check_plain(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


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
