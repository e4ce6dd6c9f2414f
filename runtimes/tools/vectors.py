"""Motion vectors as a product: of every codec in one form, saved on request, and composed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError, SinkError, SourceError
from edge_vss.files import path_of
from edge_vss.motion_field import MotionField, MotionVectors
from edge_vss.runtimes.motion._coded import provider_of, why_none
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.sinks import check_places
from edge_vss.runtimes.sources import Source, Uri
from edge_vss.runtimes.tools._vector_writer import VectorWriter
from edge_vss.runtimes.tracing._smooth import Positions, SmoothMap
from edge_vss.values import check_limit
from edge_vss.video import Size, StreamInfo


@dataclass(frozen=True)
class FrameVectors:
    """The motion of one frame, without its picture."""

    index: int
    """0 for the first frame."""

    pts_seconds: float
    """Presentation time in seconds."""

    pts: int | None
    """The exact time in units of the stream's time base; None where it has none."""

    picture_type: str
    """``I``, ``P``, ``B``, or ``?``."""

    size: Size
    """Height and width in pixels, as shown."""

    start: str
    """Why the frame does not follow on from the one before (``first frame``, ``lost packets``), or empty."""

    vectors: MotionVectors | None
    """The blocks as they are coded; None where the frame has none."""

    motion: MotionField | None
    """The motion of every cell towards the frame shown before, with holes filled; None where ``start`` is
    set."""


@dataclass(frozen=True)
class ComposedMotion:
    """Where the content of a frame was in an earlier frame: the content at pixel ``p`` was at ``p +
    displacement_px`` there."""

    displacement_px: NDArray[np.float32]
    """(2, h, w), x then y, in pixels of the frame."""

    known: NDArray[np.bool_]
    """(h, w): True where the motion was measured all the way."""

    frames: int
    """How many shown frames lie between, the earlier one counted."""

    cell_px: int
    """Side of a cell in pixels of the frame."""


class VectorStream:
    """The motion of a stream, frame by frame in the order of showing: a context manager and an iterator.

    Nothing is kept of frames that were given out. Raises SourceError where a live stream falls silent.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def info(self) -> StreamInfo:
        """What is known about the stream."""
        return self._source.info

    def __iter__(self) -> VectorStream:
        return self

    def __next__(self) -> FrameVectors:
        frame = next(self._source)
        return FrameVectors(
            frame.index,
            frame.pts_seconds,
            frame.pts if self.info.time_base is not None else None,
            frame.picture_type,
            frame.size,
            frame.start,
            frame.vectors,
            frame.motion,
        )

    def close(self) -> None:
        """Close the file or device."""
        self._source.close()

    def __enter__(self) -> VectorStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def vectors(uri: Uri, *, opening: Opening = Opening()) -> VectorStream:
    """The motion vectors of a video, and the motion that they tell.

    No picture is converted. HEVC is not even decoded, but for its first picture. H.264 with B-frames or
    several references does not say which frame a vector means; there the pixels of decoded pictures tell.

    Raises SourceError where the source cannot be read, OptionError for a codec whose vectors nobody reads,
    MissingExtra for HEVC without its extra.
    """
    source = replace(opening, pictures="none").open(uri, motion="codec")
    try:
        if not source.info.exports_vectors:
            name = source.info.uri
            if provider_of(source.info) == "hevc":
                raise SourceError(
                    f"{name}: this kind of HEVC cannot be read: open_source measures its motion"
                )
            raise OptionError(
                f"{name}: {why_none(source.info)}: open_source measures its motion by optical flow"
            )
    except BaseException:
        source.close()
        raise
    return VectorStream(source)


def save_vectors(
    uri: Uri,
    path: str | Path,
    *,
    limit: int | None = None,
    opening: Opening = Opening(),
    on_frame: Callable[[], None] | None = None,
) -> int:
    """Writes what `vectors` gives into an ``.npz`` file, for the first ``limit`` frames; returns how many.

    The file appears when it is complete. What was read before an interruption is kept. Takes little memory,
    and for a while twice the disk space of the file.

    Raises what `vectors` raises; SinkError where the file cannot be written, OptionError for a name that does
    not end with ``.npz``; SourceError where frames change their size.
    """
    path = path_of(path, "the file for vectors")
    check_name(path)
    check_limit(limit)
    check_places({"save": path}, uri)
    with vectors(uri, opening=opening) as stream, VectorWriter(path, stream.info) as writer:
        try:
            for frame in islice(stream, limit):
                writer.add(frame)
                if on_frame is not None:
                    on_frame()
        except KeyboardInterrupt:
            with suppress(SinkError):
                writer.finish()
            raise
        return writer.finish()


def check_name(path: Path) -> None:
    """Raises OptionError for a name that does not end with ``.npz``."""
    if path.suffix != ".npz":
        raise OptionError(f"motion vectors are saved as .npz, got {path}: give a name that ends with it")


def compose_motion(fields: Iterable[MotionField]) -> ComposedMotion:
    """The motion from a frame back to an earlier one, of the motion of each frame between them.

    ``fields`` begins with the motion of the frame after the earlier one, and ends with that of the later one.
    Raises OptionError where there is none, and where they do not have one grid.
    """
    smooth: SmoothMap | None = None
    shape, cell_px, frames = (0, 0), 0, 0
    for field in fields:
        found = field.known.shape
        if smooth is None:
            shape, cell_px = (found[0], found[1]), field.cell_px
            smooth = SmoothMap((shape[0] * cell_px, shape[1] * cell_px), Positions())
        if found != shape or field.cell_px != cell_px:
            raise OptionError(
                f"motion on a grid of {found} does not follow on from one of {shape}: begin anew there"
            )
        smooth = smooth.and_then(field)
        frames += 1
    if smooth is None:
        raise OptionError("there is no motion to compose: give that of one frame or more")
    known = smooth.known() > 0.5
    displacement = np.ascontiguousarray(smooth.root().transpose(2, 0, 1))
    return ComposedMotion(displacement, known, frames, cell_px)
