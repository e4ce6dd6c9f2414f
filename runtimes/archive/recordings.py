"""Which recordings there are, and what each is called in the results."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_vss.errors import SourceError
from edge_vss.plugins import LOG
from edge_vss.runtimes.archive.store import file_system, is_remote
from edge_vss.runtimes.sources._spelling import VIDEO_SUFFIXES, natural_order

_NAMED = 3
"""Names of files in one line of the log."""


@dataclass(frozen=True)
class Recording:
    """One video to be labelled."""

    name: str
    """What it is called in the results: its path in the folder that was given."""
    source: str
    """Its path or URL."""


def find(footage: Sequence[str], leave_out: str = "") -> list[Recording]:
    """The videos in folders, and files as they are, in natural order of their names. ``leave_out`` is a
    folder that is not looked into.

    Other files in a folder are left out, and the log says so. Two that would have one name get more of their
    path in front. Raises SourceError where a place is missing, or there is no video at all.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    for place in footage:
        inside = _remote(place, others) if is_remote(place) else _local(place, leave_out, others)
        found.update({source: name for source, name in inside if source not in found})
    if found and others:
        LOG.warning(
            "%d files are left out, whose names do not end as those of videos do (%s): "
            "name one to have it labelled all the same",
            len(others),
            ", ".join(sorted(others)[:_NAMED]) + (", ..." if len(others) > _NAMED else ""),
        )
    if not found:
        raise SourceError(f"no videos in {', '.join(footage)}: give video files, or folders that hold some")
    names = _told_apart(found)
    return [
        Recording(names[source], source)
        for source in sorted(found, key=lambda at: natural_order(Path(names[at])))
    ]


def _local(place: str, leave_out: str, others: list[str]) -> Iterable[tuple[str, str]]:
    path = Path(place.removeprefix("file://"))
    if path.is_dir():
        avoided = os.path.realpath(leave_out) if leave_out else None
        for folder, inner, files in os.walk(path, followlinks=False):
            inner[:] = [name for name in inner if os.path.realpath(os.path.join(folder, name)) != avoided]
            for name in files:
                file = Path(folder) / name
                inside = file.relative_to(path).as_posix()
                if file.suffix.lower() in VIDEO_SUFFIXES:
                    yield os.path.abspath(file), inside
                elif not name.startswith("."):
                    others.append(inside)
    elif path.exists():
        yield os.path.abspath(path), path.name
    else:
        raise SourceError(f"no such file or folder: {place}: check the path")


def _remote(place: str, others: list[str]) -> Iterable[tuple[str, str]]:
    files, root = file_system(place)
    scheme = place.partition("://")[0]
    if not files.exists(root):
        raise SourceError(f"no such file or folder: {place}: check the address")
    if files.isfile(root):
        yield place, PurePosixPath(root).name
        return
    for path in files.find(root):
        inside = path.strip("/").removeprefix(root.strip("/")).strip("/")
        if PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES:
            yield f"{scheme}://{path}", inside
        elif not PurePosixPath(path).name.startswith("."):
            others.append(inside)


def _told_apart(found: dict[str, str]) -> dict[str, str]:
    """A name of its own for every source: longer where two are called alike."""
    names = dict(found)
    while True:
        by_name: dict[str, list[str]] = {}
        for source, name in names.items():
            by_name.setdefault(name, []).append(source)
        alike = [source for sources in by_name.values() if len(sources) > 1 for source in sources]
        longer = {source: _longer(source, names[source]) for source in alike}
        if not alike or all(names[source] == name for source, name in longer.items()):
            return names
        names |= longer


def _longer(source: str, name: str) -> str:
    parts = PurePosixPath(source.partition("://")[2] or Path(source).as_posix()).parts
    taken = len(PurePosixPath(name).parts) + 1
    return "/".join(part.strip("/:") for part in parts[-taken:] if part.strip("/:"))
