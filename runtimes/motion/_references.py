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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.runtimes.motion._election import compiled
from edge_vss.runtimes.motion._election.match import Match
from edge_vss.runtimes.tracing.cells import CELL_PX, Displacement, Known, at_centres, cells, fill, grid_of
from edge_vss.video import Frame, MotionVectors, Size

SPANS = (1, 2)
"""How many frames a vector from or to a B-frame may span. More guesses match by chance: 0.1 mIoU worse."""

_FEW = 3 * len(SPANS)
"""Guesses that are offered one after the other: putting them together would take longer."""


@dataclass(frozen=True)
class Shown:
    """What must be kept of a shown frame to tell the next one's references apart."""

    half: NDArray[np.uint8] | None
    """(h, w) brightness at half the frame's width and height; None where nobody decoded it."""

    vectors: MotionVectors | None
    picture_type: str
    size: Size


@dataclass(frozen=True)
class Hypothesis:
    """A possible motion towards the previous shown frame: displacement (2, h, w) px, where it is known, and
    its span."""

    displacement: Displacement
    known: Known
    span: int


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
    grid = grid_of(current.size)
    spans = (since_anchor, 2 * since_anchor) if current.picture_type == "P" else SPANS
    found = [
        Hypothesis(back / np.float32(span), known, span)
        for back, known, span in _by_span(current.vectors, grid, spans)
    ]
    found += [
        Hypothesis(ahead / np.float32(-span), known, -span)
        for ahead, known, span in _by_span(current.vectors, grid, SPANS, ahead=True)
    ]
    found += [
        _arriving(before / np.float32(span), known, span)
        for before, known, span in _by_span(previous.vectors, grid, SPANS, ahead=True)
    ]
    return found


def _by_span(
    vectors: MotionVectors | None, grid: Size, guesses: Sequence[int], *, ahead: bool = False
) -> Iterator[tuple[Displacement, Known, int]]:
    """One direction's vectors on the grid, once for every span that they have or may have."""
    if vectors is None:
        return
    unknown = vectors
    if vectors.reference is not None:
        spans = np.abs(vectors.reference)
        for span in np.unique(spans[spans > 0]).tolist():
            displacement, known = cells(vectors.only(spans == span), grid, ahead=ahead)
            if known.any():
                yield displacement, known, span
        unknown = vectors.only(spans == 0)
    displacement, known = cells(unknown, grid, ahead=ahead)
    if known.any():
        yield from ((displacement, known, span) for span in guesses)


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
    # Where references are told, a stream has many spans, and a cell only a few of them.
    for guess in _layers(found) if len(found) > _FEW else found:
        better = match.offer(guess.displacement, guess.known)
        np.copyto(span, np.asarray(guess.span, np.int8), where=better)
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


@dataclass
class _Layer:
    """One guess for each cell that has one: displacement (2, h, w), known (h, w), span (h, w)."""

    displacement: Displacement
    known: Known
    span: NDArray[np.int8]


def _layers(found: list[Hypothesis]) -> list[_Layer]:
    """The same guesses on as few grids as hold them. The order of a cell's guesses stays."""
    layers: list[_Layer] = []
    for hypothesis in found:
        left = hypothesis.known
        for layer in layers:
            free = left & ~layer.known
            np.copyto(layer.displacement, hypothesis.displacement, where=free)
            np.copyto(layer.span, np.int8(hypothesis.span), where=free)
            left = left & layer.known
            layer.known |= free
            if not left.any():
                break
        else:
            span = np.full(left.shape, hypothesis.span, np.int8)
            layers.append(_Layer(hypothesis.displacement.copy(), left.copy(), span))
    return layers


def nearest(found: list[Hypothesis], grid: Size) -> tuple[Displacement, Known, NDArray[np.int8]]:
    """As `elect`, without pixels: each cell takes the guess that spans the fewest frames, and of two the one
    from its own frame that points back."""
    displacement = np.zeros((2, *grid), np.float32)
    known = np.zeros(grid, np.bool_)
    span = np.ones(grid, np.int8)
    for hypothesis in sorted(found, key=lambda guess: (abs(guess.span), guess.span < 0), reverse=True):
        np.copyto(displacement, hypothesis.displacement, where=hypothesis.known)
        np.copyto(span, np.int8(hypothesis.span), where=hypothesis.known)
        known |= hypothesis.known
    return fill(displacement, known), known, span


def _arriving(motion: Displacement, known: Known, span: int) -> Hypothesis:
    # The previous frame's vectors say where its content goes. Here the question is where this frame's content
    # came from. The answer is found one step of that motion away, and points the other way.
    across, down = at_centres(known.shape, known.shape, 1.0)
    x, y = across - motion[0] / CELL_PX, down - motion[1] / CELL_PX
    moved = cv2.remap(cv2.merge([*motion, known.astype(np.float32)]), x, y, cv2.INTER_LINEAR)
    dx, dy, found = cv2.split(moved)
    return Hypothesis(-np.array([dx, dy]), found > 0.5, -span)
