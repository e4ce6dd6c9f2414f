"""Writing a folder whole or not at all, and the hash of a file."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_vss.errors import BundleError

MANIFEST = "manifest.json"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_target(target: Path) -> None:
    """Raise BundleError unless ``target`` is free or holds a bundle: nothing else is ever overwritten."""
    if target.is_symlink() or (
        target.exists() and not (target / MANIFEST).is_file() and not _is_empty(target)
    ):
        raise BundleError(f"{target} exists and is not a bundle: choose another name, or remove it first")


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``, which it becomes when the block ends; it vanishes if that fails.

    A bundle already at ``target`` is replaced, and only by a whole one; anything else there is refused. A
    process killed half-way leaves the hidden folder and nothing else. Raises BundleError, also when the disk
    is full.
    """
    target = Path(target).absolute()
    check_target(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.building-", dir=target.parent))
    except OSError as error:
        raise BundleError(f"cannot write beside {target}: {error.strerror}; choose another folder") from None
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())
        _sync(folder)
        _swap(folder, target)
    except OSError as error:
        raise BundleError(
            f"cannot write {target}: {error.strerror or error}; free some space or choose another folder"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def _sync(folder: Path) -> None:
    # A rename may reach the disk before the data it names: after a power cut that would be a bundle of empty
    # files.
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _swap(folder: Path, target: Path) -> None:
    check_target(target)
    if not target.exists():
        folder.rename(target)
        return
    # A folder cannot be renamed over another one: the old bundle steps aside, and comes back if the new one
    # cannot.
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.replaced-", dir=target.parent)) / target.name
    target.rename(aside)
    try:
        folder.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)
