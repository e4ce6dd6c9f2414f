"""Ways out: every sink takes a frame and its prediction, in order."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_vss import plugins
from edge_vss.bundle import Manifest
from edge_vss.errors import SinkError
from edge_vss.video import Frame, Prediction, Size, StreamInfo


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

    @classmethod
    def of(cls, manifest: Manifest, info: StreamInfo) -> SinkContext:
        """The context of a bundle run on a source."""
        return cls(manifest.classes, manifest.palette, manifest.ignore, info.size, info.fps)


class Sink(Protocol):
    """Where results go. One thread writes; after close(), which may come twice, all of it is readable."""

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Takes one frame's result. Raises SinkError where it cannot be written."""

    def close(self) -> None:
        """Finishes what was written. Raises SinkError where that fails."""


def open_sink(name: str, path: str | Path, context: SinkContext) -> Sink:
    """Opens a sink by the name of its plugin: ``labels`` (a folder), ``video`` or ``jsonl`` (a file).

    Raises OptionError for an unknown name or file type, SinkError for a place that cannot be written to.
    """
    sink: Sink = plugins.find("sink", name)(path, context)
    return sink


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
