"""Reading a bundle's folder: one manifest, with every MUST of it checked, and files that stay the same."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_vss.bundle.json_fields import strict_json
from edge_vss.bundle.manifest import Manifest
from edge_vss.bundle.parsing import parse
from edge_vss.bundle.rules import MANIFEST, Stamp, check_files, stamp
from edge_vss.errors import BundleError
from edge_vss.files import open_inside, path_of, read_plain

MANIFEST_BYTES = 4 << 20
"""The largest manifest that is read. Ours have a few kB."""
_ATTEMPTS = 10


def read(path: str | Path, check_hashes: bool = True) -> Manifest:
    """The manifest of the bundle at ``path``, with every MUST checked. Raises BundleError, in one line.

    Changes nothing and waits for nothing. ``check_hashes=False`` skips reading the graph files; they still
    have to exist inside the folder.
    """
    return _settled(path_of(path, "the bundle"), check_hashes)[0]


@contextmanager
def loading(path: Path) -> Iterator[Manifest]:
    """The manifest, as `read` gives it, for a block that opens the graph files.

    Raises BundleError as `read` does, and when the block ends where a file is not the one any more that was
    checked: then what was opened in the block is not to be used.
    """
    path = Path(path)
    manifest, stamps = _settled(path, check_hashes=True)
    yield manifest
    if changed := [name for name, was in stamps.items() if stamp(path, name) != was]:
        raise BundleError(f"{path}: {changed[0]} was changed while it was loaded: load the bundle again")


def _settled(path: Path, check_hashes: bool) -> tuple[Manifest, dict[str, Stamp]]:
    """One bundle, and not parts of two where it is replaced meanwhile: the new one is whole."""
    for left in reversed(range(_ATTEMPTS)):
        # Open as long as it is read: the number of a folder that is removed may go to the next one at once.
        with _pinned(path):
            before = _identity(path)
            try:
                return _checked(path, check_hashes)
            except BundleError:
                if not left or _identity(path) == before:
                    raise
    raise AssertionError("unreachable")


@contextmanager
def _pinned(path: Path) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except (OSError, ValueError):  # Windows opens no folders
        yield
        return
    try:
        yield
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _checked(path: Path, check_hashes: bool) -> tuple[Manifest, dict[str, Stamp]]:
    text = _manifest_text(path)
    try:
        data = strict_json(text)
    except ValueError as error:
        raise BundleError(f"{path / MANIFEST} is not valid JSON ({error}): convert the model again") from None
    stamps: dict[str, Stamp] = {}
    try:
        manifest = parse(data)
        for graph in manifest.graphs:
            stamps |= check_files(path, manifest.target, graph, check_hashes)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    return manifest, stamps


def _manifest_text(path: Path) -> str:
    try:
        return read_plain(open_inside(path, MANIFEST), MANIFEST_BYTES).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(_no_bundle(path)) from None
    except UnicodeDecodeError as error:
        raise BundleError(
            f"{path / MANIFEST} is not valid JSON ({error.reason}): convert the model again"
        ) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EINVAL, errno.EFBIG) and path.is_dir():
            raise BundleError(
                f"{path / MANIFEST} has to be a plain file of at most {MANIFEST_BYTES >> 20} MB "
                f"({error.strerror}): do not use this bundle"
            ) from None
        raise BundleError(
            f"{path / MANIFEST} cannot be read ({error.strerror}): check the place and its permissions"
        ) from None


def _no_bundle(path: Path) -> str:
    if path.is_dir():
        return f"{path} has no {MANIFEST}: it is not a bundle; make one with `edge-vss convert`"
    if os.path.lexists(path):
        kind = "is a link that leads nowhere" if path.is_symlink() and not path.exists() else "is a file"
        return f"{path} {kind}: a bundle is a folder that `edge-vss convert` wrote"
    if aside := left_aside(path):
        return (
            f"{path} does not exist, but the bundle that was there is left in {aside[0]}: a conversion "
            "was stopped; move it back, or convert again"
        )
    return f"{path} does not exist: a bundle is a folder that `edge-vss convert` wrote"


def left_aside(path: Path) -> list[Path]:
    """Bundles that wait beside ``path`` to be replaced, or were left there when that was stopped."""
    beside = f".{path.name}.replaced-"
    try:
        folders = sorted(found for found in path.absolute().parent.iterdir() if found.name.startswith(beside))
    except OSError:
        return []
    return [folder / path.name for folder in folders if (folder / path.name / MANIFEST).is_file()]
