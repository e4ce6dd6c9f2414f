"""Writing a bundle: whole or not at all.

A folder is built as ``.NAME.building-*`` beside its place. Where a bundle is there already, the two folders
change places in one step, so that there is a whole bundle at every moment. Not every system can do that. On
others the old bundle waits as ``.NAME.replaced-*/NAME`` until the new one has its place: for that moment NAME
is missing, and a process killed in it leaves the old bundle aside, from where the next one that writes NAME
brings it back (`recover`). Whoever uses a hidden folder holds a lock on it, which the kernel lets go of with
the process: what nobody holds is left over.
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_vss.bundle.exchange import exchange
from edge_vss.bundle.manifest import FORMAT, Manifest
from edge_vss.bundle.parsing import parse
from edge_vss.bundle.rules import MANIFEST, check_files
from edge_vss.claim import lock
from edge_vss.errors import BundleError


def write(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, checked as ``read`` would check it. The graph files are already there."""
    text = json.dumps({"format": FORMAT, **manifest.to_json()}, indent=1, allow_nan=False)
    parse(json.loads(text))
    for graph in manifest.graphs:
        check_files(folder, manifest.target, graph)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def check_target(target: Path) -> None:
    """Raise BundleError unless ``target`` is free or holds a bundle: nothing else is ever overwritten.

    A bundle that a killed process left aside counts, and is brought back.
    """
    try:
        recover(target)
        taken = target.is_symlink() or (
            target.exists() and not (target / MANIFEST).is_file() and not _is_empty(target)
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"{target} cannot be looked at ({reason}): choose another name") from None
    if taken:
        raise BundleError(f"{target} exists and is not a bundle: choose another name, or remove it first")


def recover(target: Path) -> None:
    """Bring back the bundle that a process was killed in replacing, where ``target`` is missing for that.

    Where another process is about to put a new one there, this waits for it. Does nothing where that cannot
    be told (a file system without locks, or one that is read-only).
    """
    target = Path(target).absolute()
    if os.path.lexists(target):
        return
    for beside in _left(target, "replaced"):
        with suppress(OSError, ImportError):
            claim = _claim(beside, wait=True)
            if claim is None:
                continue
            try:
                if not os.path.lexists(target):
                    (beside / target.name).rename(target)
                    beside.rmdir()
            finally:
                os.close(claim)


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``, which it becomes when the block ends; it vanishes if that fails.

    A bundle already at ``target`` is replaced, and only by a whole one; anything else there is refused. A
    process killed half-way leaves hidden folders, never half a bundle; the next one that builds the same
    ``target`` removes them. Raises BundleError, also when the disk is full.
    """
    target = Path(target).absolute()
    check_target(target)
    _clear(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder, claim = _beside(target, "building")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"cannot write beside {target}: {reason}; choose another folder") from None
    try:
        yield folder
        _sync(folder)
        _swap(folder, target)
    except OSError as error:
        raise BundleError(
            f"cannot write {target}: {error.strerror or error}; free some space or choose another folder"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _release(claim)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


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
    # What was there is in ``folder`` then, and goes with it.
    if exchange(folder, target):
        return
    beside, claim = _beside(target, "replaced")
    aside = beside / target.name
    try:
        target.rename(aside)
        folder.rename(target)
        shutil.rmtree(beside, ignore_errors=True)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        # Not with what is in it: that would be the only copy.
        with suppress(OSError):
            beside.rmdir()
        raise
    finally:
        _release(claim)


def _beside(target: Path, kind: str) -> tuple[Path, int | None]:
    """A new hidden folder beside ``target``, and the claim on it: None where the file system has no locks."""
    while True:
        folder = target.parent / f".{target.name}.{kind}-{secrets.token_hex(6)}"
        folder.mkdir()
        try:
            claim = _claim(folder)
        except (OSError, ImportError):
            return folder, None
        # Another process may have taken it for a leftover before it was claimed; then that one removes it.
        if claim is not None:
            return folder, claim


def _claim(folder: Path, wait: bool = False) -> int | None:
    """Lock a folder for as long as the descriptor is open; None where it is another's, or gone.

    Raises OSError where the file system has no locks, ImportError where Python has none (Windows).
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        if lock(descriptor, folder, wait):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _release(claim: int | None) -> None:
    if claim is not None:
        os.close(claim)


def _left(target: Path, kind: str) -> list[Path]:
    return sorted(target.parent.glob(f".{glob.escape(target.name)}.{kind}-*"))


def _clear(target: Path) -> None:
    """Remove what killed processes left beside ``target``."""
    leftovers = _left(target, "building")
    if target.exists():
        leftovers += _left(target, "replaced")
    for folder in leftovers:
        with suppress(OSError, ImportError):
            claim = _claim(folder)
            if claim is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(claim)
