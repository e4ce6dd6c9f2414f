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
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.runtimes.tracing.cells import (
    CELL_PX,
    Displacement,
    Known,
    cells,
    fill,
    grid_of,
    samples_per_side,
)
from edge_vss.video import Frame, MotionVectors, Size

SPANS = (1, 2)
"""How many frames a vector from or to a B-frame may span. More guesses match by chance: 0.1 mIoU worse."""

_NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


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
    match = Match(current, previous)
    known = np.zeros(match.grid, np.bool_)
    span = np.ones(match.grid, np.int8)
    for layer in _layers(found):
        better = match.offer(layer.displacement, layer.known)
        np.copyto(span, layer.span, where=better)
        known |= layer.known
    match.restart(fill(match.best, known))
    for rows, columns in _NEIGHBOURS:
        match.offer(np.roll(match.best, (rows, columns), (1, 2)))
    smooth = cv2.GaussianBlur(np.ascontiguousarray(match.best.transpose(1, 2, 0)), (0, 0), 1.0)
    match.offer(np.ascontiguousarray(smooth.transpose(2, 0, 1)))
    return match.best, known, span


@dataclass
class _Layer:
    """One guess for each cell that has one: displacement (2, h, w), known (h, w), span (h, w)."""

    displacement: Displacement
    known: Known
    span: NDArray[np.int8]


def _layers(found: list[Hypothesis]) -> list[_Layer]:
    """The same guesses on as few grids as hold them: where references are told, a stream has many spans, and
    a cell only a few of them. The order of a cell's guesses stays."""
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


_WIDE = 4096
"""Places in one row of the maps that OpenCV gets: it takes no more than 32766 rows or columns."""


@lru_cache(maxsize=4)
def _samples(grid: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the cells of a grid are looked at, in pictures of half the width and height: x and y, each
    (samples, cells)."""
    h, w = grid
    per_side = samples_per_side(grid)
    step = CELL_PX / 2 / per_side
    across, down = np.arange(w * per_side, dtype=np.float32), np.arange(h * per_side, dtype=np.float32)
    planes = np.meshgrid((across + 0.5) * step - 0.5, (down + 0.5) * step - 0.5)
    x, y = (
        np.ascontiguousarray(
            plane.reshape(h, per_side, w, per_side).transpose(1, 3, 0, 2).reshape(-1, h * w), np.float32
        )
        for plane in planes
    )
    x.flags.writeable = y.flags.writeable = False
    return x, y


class Match:
    """The best motion so far of every cell, judged by the brightness it finds in the previous shown frame."""

    def __init__(self, current: Shown, previous: Shown) -> None:
        self.grid = h, w = grid_of(current.size)
        self._places = _samples(self.grid)
        assert current.half is not None and previous.half is not None, "without pixels nobody elects"
        self._previous = previous.half
        # Used again and again: fresh memory costs more than filling it.
        rows = -(-self._places[0].size // _WIDE)
        self._maps = np.zeros((2, rows, _WIDE), np.float32)
        self._seen = np.empty((rows, _WIDE), np.uint8)
        self._every = np.arange(h * w)
        still = np.zeros((2, h, w), np.float32)
        self._current = self._looked_at(current.half, still, self._every).copy()
        self.best: Displacement = still
        self._cost = np.full(h * w, np.inf, np.float32)

    def restart(self, displacement: Displacement) -> None:
        """Replace every cell's motion and judge it anew."""
        chosen = np.flatnonzero(self._not_judged(displacement))
        self.best = displacement.copy()
        self._cost[chosen] = self._differences(displacement, chosen)

    def offer(self, displacement: Displacement, known: Known | None = None) -> Known:
        """Take a motion where it matches better than the best so far; returns where (h, w) it was taken."""
        # Many cells move as their neighbours do: the same motion is not judged twice.
        other = self._not_judged(displacement)
        chosen = np.flatnonzero(other if known is None else other & known)
        cost = self._differences(displacement, chosen)
        taken = np.flatnonzero(cost < self._cost.take(chosen))
        chosen = chosen.take(taken)
        self._cost[chosen] = cost.take(taken)
        better = np.zeros(self.grid, np.bool_)
        better.ravel()[chosen] = True
        for mine, theirs in zip(self.best, displacement, strict=True):
            mine.ravel()[chosen] = theirs.ravel().take(chosen)
        return better

    def _not_judged(self, displacement: Displacement) -> Known:
        """Where a motion is another than the best, or the best has not been judged."""
        other: Known = (displacement[0] != self.best[0]) | (displacement[1] != self.best[1])
        other |= (self._cost == np.inf).reshape(self.grid)
        return other

    def differences(self, displacement: Displacement) -> NDArray[np.float32]:
        """Mean difference in brightness of each cell (h, w) to the place that a motion points to."""
        return self._differences(displacement, self._every).reshape(self.grid)

    def _differences(self, displacement: Displacement, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        """Of the chosen cells alone, by their numbers."""
        if not len(chosen):
            return np.zeros(0, np.float32)
        seen = self._looked_at(self._previous, displacement, chosen)
        current = self._current if chosen is self._every else self._current.take(chosen, axis=1)
        # Sums of whole numbers: exact in any order.
        sums = np.add.reduce(cv2.absdiff(seen, current), axis=0, dtype=np.uint16)
        means: NDArray[np.float32] = sums.astype(np.float32)
        means *= np.float32(1 / len(seen))
        return means

    def _looked_at(
        self, picture: NDArray[np.uint8], displacement: Displacement, chosen: NDArray[np.intp]
    ) -> NDArray[np.uint8]:
        """A picture's brightness where the chosen cells' motion points to: (samples, chosen). The next call
        writes over it."""
        samples = len(self._places[0])
        count = samples * len(chosen)
        for into, places, part in zip(self._maps, self._places, displacement, strict=True):
            there = into.ravel()[:count].reshape(samples, -1)
            half = part.ravel().take(chosen)
            half *= np.float32(0.5)
            if chosen is self._every:
                np.add(places, half, out=there)
            else:
                # Not "raise", which would make a copy first.
                np.take(places, chosen, axis=1, out=there, mode="clip")
                there += half
        rows = -(-count // _WIDE)
        x, y, seen = self._maps[0, :rows], self._maps[1, :rows], self._seen[:rows]
        if rows:
            cv2.remap(picture, x, y, cv2.INTER_LINEAR, dst=seen, borderMode=cv2.BORDER_REPLICATE)
        return seen.ravel()[:count].reshape(samples, -1)


def _arriving(motion: Displacement, known: Known, span: int) -> Hypothesis:
    # The previous frame's vectors say where its content goes. Here the question is where this frame's content
    # came from. The answer is found one step of that motion away, and points the other way.
    h, w = known.shape
    across, down = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    x, y = across - motion[0] / CELL_PX, down - motion[1] / CELL_PX
    moved = cv2.remap(np.dstack([motion[0], motion[1], known.astype(np.float32)]), x, y, cv2.INTER_LINEAR)
    return Hypothesis(np.ascontiguousarray(-moved[..., :2].transpose(2, 0, 1)), moved[..., 2] > 0.5, -span)
