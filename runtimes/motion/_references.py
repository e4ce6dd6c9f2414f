"""Finding out which frame a vector refers to, where the codec only says "before" or "after".

With B-frames or several references, a vector may span any number of frames. So every vector is taken as
several guesses: it may span 1 frame, or 2, and so on. The motion of one frame is then that part of it. The
previous frame's vectors towards later frames, turned round, are guesses about this frame too.

The pixels decide. Each cell takes the guess that makes it match the previous shown frame best. Then it tries
the motion of its neighbours: a neighbour often moves with it and was coded with a better vector.

Only frames that were already shown are needed, so nothing waits for the future. B-frames hold many vectors
that span one frame. Those follow the motion most closely, and win over vectors that span four frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.motion_field import MotionVectors
from edge_vss.runtimes.motion._election import compiled
from edge_vss.runtimes.motion._election.match import Match
from edge_vss.runtimes.motion._occurring import occurring
from edge_vss.runtimes.tracing.cells import (
    CELL_PX,
    Displacement,
    Known,
    at_centres,
    cell_at,
    cells,
    fill,
    grid_of,
)
from edge_vss.video import Frame, Size

SPANS = (1, 2)
"""How many frames a vector from or to a B-frame may span. More guesses match by chance: 0.1 mIoU worse."""


@dataclass(frozen=True)
class Shown:
    """What must be kept of a shown frame to tell the next one's references apart."""

    half: NDArray[np.uint8] | None
    """(h, w) brightness at half the frame's width and height; None where nobody decoded it."""

    vectors: MotionVectors | None
    picture_type: str
    size: Size

    @cached_property
    def unknown_ahead(self) -> tuple[Displacement, Known]:
        """The vectors towards later frames, of which nobody knows which, on the grid: wanted for this frame
        and for the next one."""
        return _unknown(self.vectors, grid_of(self.size), ahead=True)

    @cached_property
    def told(self) -> dict[int, Placed]:
        """The vectors whose spans are told, by span, negative where they point ahead. Wanted for both
        directions, and again for the next frame."""
        return {} if self.vectors is None else _by_told_span(self.vectors, grid_of(self.size))


@dataclass(frozen=True)
class Hypothesis:
    """A possible motion towards the previous shown frame: displacement (2, h, w) px, where it is known
    (h, w), and the span (h, w) int8 of the vectors that it comes from, negative where they point ahead."""

    displacement: Displacement
    known: Known
    span: NDArray[np.int8]


def keep(frame: Frame) -> Shown:
    """Reduce a frame to what its successor needs."""
    if not frame.has_picture:
        return Shown(None, frame.vectors, frame.picture_type, frame.size)
    height, width = frame.size
    half = cv2.resize(frame.luma, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA)
    return Shown(np.asarray(half, np.uint8), frame.vectors, frame.picture_type, frame.size)


def hypotheses(current: Shown, previous: Shown, since_anchor: int) -> list[Hypothesis]:
    """Every motion that this frame's vectors and the previous frame's forward ones allow.

    ``since_anchor`` counts the shown frames since the last I- or P-frame. A P-frame refers to that frame or
    to an earlier one. It never refers to the B-frames shown in between: they are decoded after it. Where the
    vectors say which frame they refer to, nothing is guessed.
    """
    spans = (since_anchor, 2 * since_anchor) if current.picture_type == "P" else SPANS
    back = _by_span(current, spans)
    ahead = _by_span(current, SPANS, ahead=True)
    # Moved to where they arrive, neighbours are mixed: only those of one span.
    arriving = _by_span(previous, SPANS, ahead=True, apart=True)
    return [
        *(Hypothesis(_each(motion, span), known, span) for motion, known, span in back),
        *(Hypothesis(_each(motion, -span), known, -span) for motion, known, span in ahead),
        *(_arriving(_each(motion, span), known, span) for motion, known, span in arriving),
    ]


def _each(motion: Displacement, span: NDArray[np.int8]) -> Displacement:
    """The motion of one frame, of vectors that span several."""
    return np.asarray(motion / span.astype(np.float32), np.float32)


Placed = tuple[NDArray[np.intp], Displacement]
"""Vectors of one span: the numbers of the cells that they lie in, (n,), and the motion there, (2, n). Of two
in one cell the last one counts."""

_Laid = tuple[Displacement, Known, NDArray[np.int8]]
"""Vectors on a grid, with their spans, which are positive everywhere."""


def _by_span(
    shown: Shown, guesses: Sequence[int], *, ahead: bool = False, apart: bool = False
) -> Iterator[_Laid]:
    """One direction's vectors on the grid: those whose spans are told, and the others once for every span
    that they may have. ``apart``: each span has a grid of its own."""
    if shown.vectors is None:
        return
    grid = grid_of(shown.size)
    yield from _told(shown.told, grid, ahead, apart)
    displacement, known = shown.unknown_ahead if ahead else _unknown(shown.vectors, grid, ahead=False)
    if known.any():
        yield from ((displacement, known, np.full(grid, span, np.int8)) for span in guesses)


def _unknown(vectors: MotionVectors | None, grid: Size, *, ahead: bool) -> tuple[Displacement, Known]:
    if vectors is not None and vectors.reference is not None:
        vectors = vectors.only(vectors.reference == 0)
    return cells(vectors, grid, ahead=ahead)


def _told(placed: Mapping[int, Placed], grid: Size, ahead: bool, apart: bool) -> list[_Laid]:
    """The vectors of one direction whose spans are told, the shortest first. Unless they are to be ``apart``,
    they are on as few grids as hold them: a stream has many spans, and a cell only a few of them."""
    grids: list[_Laid] = []
    for span in sorted((each for each in placed if (each < 0) == ahead), key=abs):
        places, motion = placed[span]
        for number in range(len(grids) if apart else 0, len(grids) + 1):
            if not len(places):
                break
            if number == len(grids):
                empty = np.zeros((2, *grid), np.float32), np.zeros(grid, np.bool_), np.ones(grid, np.int8)
                grids.append(empty)
            displacement, known, spans_here = grids[number]
            taken = known.ravel().take(places)
            free = np.flatnonzero(~taken)
            here = places.take(free)
            for axis in (0, 1):
                displacement[axis].ravel()[here] = motion[axis].take(free)
            known.ravel()[here] = True
            spans_here.ravel()[here] = abs(span)
            left = np.flatnonzero(taken)
            places, motion = places.take(left), motion.take(left, axis=1)
    return grids


def _by_told_span(vectors: MotionVectors, grid: Size) -> dict[int, Placed]:
    if vectors.reference is None:
        return {}
    spans = np.abs(vectors.reference.astype(np.int16))
    spans = np.where(vectors.direction > 0, -spans, spans)
    if vectors.width_px.max(initial=0) > CELL_PX or vectors.height_px.max(initial=0) > CELL_PX:
        there = [span for span in occurring(spans) if span]
        return {span: _many_cells(vectors.only(spans == span), grid) for span in there}
    row, column = (cell_at(corner).astype(np.intp) for corner in (vectors.top_px, vectors.left_px))
    spans[(row < 0) | (row >= grid[0]) | (column < 0) | (column >= grid[1])] = 0
    # Each span's vectors one after the other, in the order that they had.
    order = np.argsort(spans, kind="stable")
    cell, motion = (row * grid[1] + column).take(order), vectors.displacement_px.take(order, axis=1)
    in_order = spans.take(order)
    found = [span for span in occurring(spans) if span]
    begins, ends = (np.searchsorted(in_order, found, side) for side in ("left", "right"))
    return {
        span: (cell[begin:end], motion[:, begin:end])
        for span, begin, end in zip(found, begins.tolist(), ends.tolist(), strict=True)
    }


def _many_cells(vectors: MotionVectors, grid: Size) -> Placed:
    displacement, known = cells(vectors, grid, ahead=bool(vectors.direction[0] > 0))
    places = np.flatnonzero(known)
    return places, displacement.reshape(2, -1).take(places, axis=1)


def elect(
    current: Shown, previous: Shown, found: list[Hypothesis]
) -> tuple[Displacement, Known, NDArray[np.int8]]:
    """The motion of each cell towards the previous shown frame: the guess that its pixels match best.

    Returns displacement (2, h, w) in pixels, filled everywhere; known (h, w), True where the cell had a
    vector; and the span (h, w) int8 of the vector taken, negative where it pointed ahead.
    """
    match = matching(current, previous)
    known = np.zeros(grid_of(current.size), np.bool_)
    span = np.ones(known.shape, np.int8)
    for guess in found:
        better = match.offer(guess.displacement, guess.known)
        np.copyto(span, guess.span, where=better)
        known |= guess.known
    match.restart(fill(match.best, known))
    match.offer_neighbours()
    smooth = cv2.GaussianBlur(np.ascontiguousarray(match.best.transpose(1, 2, 0)), (0, 0), 1.0)
    match.offer(np.ascontiguousarray(smooth.transpose(2, 0, 1)))
    return match.best, known, span


def matching(current: Shown, previous: Shown) -> Match:
    """Judges motions from one frame to the one shown before. Both have their pictures."""
    assert current.half is not None and previous.half is not None, "without pixels nobody elects"
    return compiled.matching(current.half, previous.half, grid_of(current.size))


def nearest(found: list[Hypothesis], grid: Size) -> tuple[Displacement, Known, NDArray[np.int8]]:
    """As `elect`, without pixels: each cell takes the guess that spans the fewest frames, and of two the one
    from its own frame that points back."""
    displacement = np.zeros((2, *grid), np.float32)
    known = np.zeros(grid, np.bool_)
    span = np.ones(grid, np.int8)
    for guess in found:
        shorter, as_short = np.abs(guess.span) < np.abs(span), np.abs(guess.span) == np.abs(span)
        better = guess.known & (~known | shorter | (as_short & ((guess.span > 0) | (span < 0))))
        np.copyto(displacement, guess.displacement, where=better)
        np.copyto(span, guess.span, where=better)
        known |= guess.known
    return fill(displacement, known), known, span


def _arriving(motion: Displacement, known: Known, span: NDArray[np.int8]) -> Hypothesis:
    # The previous frame's vectors say where its content goes. Here the question is where this frame's content
    # came from. The answer is found one step of that motion away, and points the other way.
    across, down = at_centres(known.shape, known.shape, 1.0)
    x, y = across - motion[0] / CELL_PX, down - motion[1] / CELL_PX
    moved = cv2.remap(cv2.merge([*motion, known.astype(np.float32)]), x, y, cv2.INTER_LINEAR)
    dx, dy, found = cv2.split(moved)
    return Hypothesis(-np.array([dx, dy]), found > 0.5, -span)
