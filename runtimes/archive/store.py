"""Where results go, and where recordings come from: folders, or what fsspec has a URL for."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from edge_vss.errors import MissingExtra, OptionError, SinkError, SourceError, one_line
from edge_vss.runtimes.sinks import writing

SCRATCH = ".scratch"
"""Where files are made that then appear whole, on the same disk."""
_ENDS = 1 << 16


class Store(Protocol):
    """A place for files by name (``index/a.mp4.parquet``). Each appears whole or not at all."""

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file. Raises SinkError where that fails."""

    def put(self, name: str, file: Path) -> None:
        """Take over a file that was made with `scratch`."""

    def fetch(self, name: str, file: Path) -> None:
        """Copy a file to the disk of this machine."""

    def names(self, folder: str) -> list[str]:
        """Every file below a folder, in alphabetical order."""

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it, if it is there."""

    def scratch(self) -> Path:
        """A folder on this machine for files on their way to `put`."""


def is_remote(place: str) -> bool:
    """Whether fsspec has to read it. The rest are paths."""
    return "://" in place and not place.startswith("file://")


def open_store(place: str) -> Store:
    """The store at a path or URL. Raises OptionError for a URL that fsspec does not know."""
    return Remote(place) if is_remote(place) else Local(Path(place.removeprefix("file://")))


class Local:
    """A folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        """As `Store.read`."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """As `Store.write`."""
        with writing(self.root / name):
            made = self.scratch() / uuid.uuid4().hex
            try:
                made.write_bytes(data)
                self._place(made, name)
            finally:
                made.unlink(missing_ok=True)

    def put(self, name: str, file: Path) -> None:
        """As `Store.put`."""
        with writing(self.root / name):
            self._place(file, name)

    def _place(self, made: Path, name: str) -> None:
        target = self.root / name
        try:
            made.replace(target)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.replace(target)

    def fetch(self, name: str, file: Path) -> None:
        """As `Store.fetch`."""
        shutil.copyfile(self.root / name, file)

    def names(self, folder: str) -> list[str]:
        """As `Store.names`."""
        found = (path for path in (self.root / folder).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def remove(self, name: str) -> None:
        """As `Store.remove`. Folders above that are empty then go too."""
        place = self.root / name
        if place.is_file():
            place.unlink(missing_ok=True)
        else:
            shutil.rmtree(place, ignore_errors=True)
        for above in place.parents:
            if above == self.root or self.root not in above.parents:
                return
            try:
                above.rmdir()
            except OSError:
                return

    def scratch(self) -> Path:
        """As `Store.scratch`."""
        place = self.root / SCRATCH
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
        return place


class Remote:
    """A place that fsspec knows (``s3://bucket/labels``): its objects appear whole."""

    def __init__(self, url: str) -> None:
        self._files, self._root = file_system(url)

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes | None:
        """As `Store.read`."""
        try:
            return bytes(self._files.cat_file(self._at(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """As `Store.write`."""
        with _remote(self._at(name)):
            self._files.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(self._at(name), data)

    def put(self, name: str, file: Path) -> None:
        """As `Store.put`."""
        with _remote(self._at(name)):
            self._files.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(file), self._at(name))
        file.unlink(missing_ok=True)

    def fetch(self, name: str, file: Path) -> None:
        """As `Store.fetch`."""
        self._files.get_file(self._at(name), str(file))

    def names(self, folder: str) -> list[str]:
        """As `Store.names`."""
        root = self._root.strip("/")
        try:
            found = self._files.find(self._at(folder))
        except FileNotFoundError:
            return []
        return sorted(path.strip("/").removeprefix(root).strip("/") for path in found)

    def remove(self, name: str) -> None:
        """As `Store.remove`."""
        with _remote(self._at(name)):
            if self._files.exists(self._at(name)):
                self._files.rm(self._at(name), recursive=True)

    def scratch(self) -> Path:
        """As `Store.scratch`."""
        return Path(_own_folder().name)


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it. Raises MissingExtra, or OptionError for a URL that
    it does not know."""
    try:
        import fsspec
    except ImportError:
        raise MissingExtra("fsspec", "label", f"reading {url.partition('://')[0]}:// addresses") from None
    try:
        files, path = fsspec.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise OptionError(
            f"{url} cannot be opened ({one_line(error)}): give a path, or install what it needs"
        ) from None
    return files, str(path)


@lru_cache(maxsize=1)
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edge-vss-")


@contextmanager
def _remote(place: str) -> Iterator[None]:
    # fsspec's file systems raise what their own libraries raise.
    try:
        yield
    except Exception as error:
        raise SinkError(f"cannot write {place} ({one_line(error)}): check the address and its room") from None


@contextmanager
def reading(source: str) -> Iterator[str]:
    """A recording as a file on this machine: itself, or a copy of what fsspec fetches. Raises SourceError."""
    yield _fetched(source) if is_remote(source) else source.removeprefix("file://")


@lru_cache(maxsize=1)
def _copy(source: str) -> tuple[tempfile.TemporaryDirectory[str], str]:
    # A worker gets the shards of one recording in a row, as a rule.
    files, path = file_system(source)
    folder = tempfile.TemporaryDirectory(prefix="edge-vss-")
    place = str(Path(folder.name) / Path(path).name)
    try:
        files.get_file(path, place)
    except Exception as error:
        raise SourceError(f"cannot read {source} ({one_line(error)}): check the address") from None
    return folder, place


def _fetched(source: str) -> str:
    return _copy(source)[1]


def fingerprint(path: str) -> str:
    """What tells a recording from another one, or from itself while it was being written: a hash of its size,
    its beginning and its end. Raises SourceError where it cannot be read."""
    try:
        size = os.path.getsize(path)
        digest = hashlib.sha256(str(size).encode())
        with open(path, "rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read(_ENDS))
    except OSError as error:
        raise SourceError(
            f"cannot read {path} ({error.strerror}): check the path and its permissions"
        ) from None
    return digest.hexdigest()
