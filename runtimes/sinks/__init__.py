"""Ways out: one file per kind, with the function ``open`` and a ``DESCRIPTION``.

Every sink takes a frame and its prediction, in order.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from edge_vss.bundle import HeadSpec, Manifest
from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError, SinkError
from edge_vss.files import check_writable, path_of
from edge_vss.plugins import Kind
from edge_vss.runtimes.sources import IMAGE_SUFFIXES
from edge_vss.runtimes.sources._spelling import local_files
from edge_vss.video import UNKNOWN_COLOUR, Colour, Frame, Size, StreamInfo


@dataclass(frozen=True)
class SinkContext:
    """What a sink may want to know before the first frame."""

    classes: tuple[str, ...]
    """Name of every class id."""

    palette: tuple[tuple[int, int, int], ...]
    """RGB of every class id."""

    ignore: int | None
    """The id that stands for "not labelled", if any."""

    size: Size
    """Height and width of the first frame."""

    fps: float
    """Frames per second of the source."""

    source: str = ""
    """What is read meanwhile, so that no sink writes over it; empty where that is no file."""

    heads: tuple[HeadSpec, ...] = ()
    """The maps of a bundle that gives several, as in ``Prediction.heads``; empty where ``labels`` is the only
    one."""

    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, as the source is shown."""

    colour: Colour = UNKNOWN_COLOUR
    """How the source's pixels stand for colours."""

    sound: str = ""
    """Where the sound that goes with the frames is copied from, as for `open_source`; empty for no sound."""

    @classmethod
    def of(cls, manifest: Manifest, info: StreamInfo) -> SinkContext:
        """The context of a bundle run on a source."""
        return cls(
            classes=manifest.classes,
            palette=manifest.palette,
            ignore=manifest.ignore,
            size=info.size,
            fps=info.fps,
            source=info.uri,
            heads=manifest.heads,
            pixel_aspect=info.pixel_aspect,
            colour=info.colour,
        )


class Sink(Protocol):
    """Where results go. One thread writes; after close(), which may come twice, all of it is readable."""

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Takes one frame's result. Raises SinkError where it cannot be written."""

    def close(self) -> None:
        """Finishes what was written. Raises SinkError where that fails."""


@runtime_checkable
class Remarks(Protocol):
    """What a sink may offer as well."""

    def remark(self) -> str:
        """What a person should know of its place besides, in a few words; empty where there is nothing."""


class Open(Protocol):
    """A sink's one function."""

    def __call__(self, path: str | Path, context: SinkContext) -> Sink:
        """Opens a place for results. Raises OptionError for an unknown type of file, SinkError where nothing
        can be written there."""


@dataclass(frozen=True)
class SinkDescription:
    """What a sink says of itself."""

    summary: str
    """What it writes, in a few words."""
    unit: str = "frames"
    """What it writes one of per frame."""
    place: Literal["file", "folder", "address"] = "file"
    """What it writes to: a file, a folder that it makes, or something else that only it understands (a URL,
    the name of a topic), which is not looked at before it is opened."""
    suffix: str = ""
    """The usual end of its file's name (``.mp4``)."""
    behind: bool = False
    """Whether it still holds frames that it was told to write, so that a failure may lose some of them."""
    motion: bool = False
    """Whether it looks at the frames' motion."""
    pictures: bool = True
    """Whether it looks at the frames' pictures."""

    @property
    def folder(self) -> bool:
        """Whether its place is a folder."""
        return self.place == "folder"

    def place_in(self, folder: Path, name: str) -> Path:
        """A place in ``folder`` that it can write to. Raises OptionError where its places are addresses."""
        if self.place == "address":
            raise OptionError(f"a sink that writes {self.summary} goes to no file: choose another sink here")
        return folder / f"{name}{self.suffix}"


SINKS: Kind[Open, SinkDescription] = Kind("sink", __name__, "open", SinkDescription)


def open_sink(name: str, path: str | Path, context: SinkContext) -> Sink:
    """Opens a sink by the name of its plugin: ``labels`` (a folder), ``video`` or ``jsonl`` (a file).

    Raises OptionError for an unknown name or file type, SinkError for a place that cannot be written to, or
    that the source is read from.
    """
    path_of(path, f"the place of the sink {name}")
    check_places({name: path}, context.source)
    return SINKS.find(name).call(path, context)


def check_places(places: Mapping[str, str | Path], source: object) -> None:
    """Refuses outputs (name → place) that would destroy the source or each other, and files that cannot be
    written. What is there stays as it is.

    A name is a sink's; any other stands for a file. Sinks empty the file that they open, so this has to come
    before all of them. Raises SinkError.
    """
    read = _read_from(source)
    taken: dict[str, str] = {}
    kinds = {name: _kind_of_place(name) for name in places}
    for name, place in places.items():
        if kinds[name] == "address":
            continue
        there = os.path.exists(place)
        # Standard output, /dev/null and pipes can be written to by several, and nothing in them is lost.
        if str(place) == "-" or (there and not os.path.isfile(place) and not os.path.isdir(place)):
            continue
        if there and any(os.path.samefile(place, path) for path in read):
            raise SinkError(f"{place} is what the frames are read from ({name}): choose another place")
        other = taken.setdefault(os.path.realpath(place), name)
        if other != name:
            raise SinkError(f"{other} and {name} both go to {place}: give each a place of its own")
    for path, name in taken.items():
        folder = Path(path).parent
        # A folder that is missing may be another output, which makes it.
        made = not folder.is_dir() and any(str(above) in taken for above in (folder, *folder.parents))
        if kinds[name] == "file" and not made:
            with writing(places[name]):
                check_writable(path)


def _kind_of_place(name: str) -> str:
    return SINKS.find(name).description.place if name in SINKS.names() else "file"


def _read_from(source: object) -> list[str]:
    """The files and folders that a source reads, as far as its name tells."""
    found = local_files(source)
    # Label maps in the folder of the images would take their names.
    images = [Path(path) for path in found if Path(path).suffix.lower() in IMAGE_SUFFIXES]
    return [*found, *{str(image.parent) for image in images}]


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turns a failure to write into a SinkError that says where and what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = (
            "make room there or choose another place" if full else "choose a place that can be written to"
        )
        raise SinkError(f"cannot write {path} ({error.strerror or error}): {advice}") from None
