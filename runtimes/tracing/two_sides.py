"""Choosing, position by position, between labels that came from an earlier and from a later key frame.

The pixels decide first: the side whose key frame looks more like this frame, carried here, is taken to have
followed it better. Brightness, colour and edges count. A side that is further away has to be better by more,
because labels also decay in ways that pixels do not show.

Then the neighbours are asked. Where the two sides disagree, the label that more of the surroundings have
counts for more: the pixels of one position say little, those of a region much.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.runtimes.tracing.cells import CELL_PX, at_centres, grid_of, samples_per_side
from edge_vss.runtimes.tracing.root_map import Trace
from edge_vss.runtimes.tracing.whole_pixels import spread
from edge_vss.video import Frame, Size, Window

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Values = NDArray[Any]
Look = NDArray[np.uint8]
"""What is kept of a frame to compare it with others, reduced: (h, w, 3), brightness and two of colour."""

_COLOUR = 4.0
"""What a grey level of difference in colour counts, where one in brightness counts 1."""
_OUTSIDE = 20.0
"""Grey levels that count against a side whose way leads out of the frame."""
_WAY = 20.0
"""Grey levels that count against a side as far away as the interval is long."""
_SMOOTH_CELLS = 0.2
"""Differences are averaged over about so many cells."""
_VOTE = 250.0
"""Grey levels that a label gains if all of its surroundings have it, against one that none has."""
_VOTES = 6
"""How often the surroundings are asked."""
_REACH_PX = 2
"""Surroundings: a square of five by five pixels."""
_SQUARE = np.ones((2 * _REACH_PX + 1, 2 * _REACH_PX + 1), np.uint8)
_MANY = 12
"""Where more than one position in so many is voted on, it is quicker to count everywhere."""


def look_at(frame: Frame) -> Look:
    """Reduce a frame to what is compared: half its width and height, or a quarter of a large one."""
    less = CELL_PX // samples_per_side(grid_of(frame.size))
    small = (max(frame.size[0] // less, 1), max(frame.size[1] // less, 1))
    return np.asarray(cv2.cvtColor(frame.picture.rgb(small), cv2.COLOR_RGB2YCrCb), np.uint8)


def apart(here: Look, anchor: Look, trace: Trace) -> Floats:
    """How unlike a frame its key frame is, carried along the trace: (h, w) float32, in grey levels."""
    h, w = here.shape[:2]
    root = trace.smooth_root((h, w))
    x, y = (at + moved for at, moved in zip(_centres((h, w)), root, strict=True))
    carried = cv2.remap(anchor, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    light, red, blue = cv2.split(cv2.absdiff(here, carried))
    total = cv2.scaleAdd(cv2.add(red, blue, dtype=cv2.CV_32F), _COLOUR, light.astype(np.float32))
    slope = cv2.subtract(cv2.extractChannel(here, 0), cv2.extractChannel(carried, 0), dtype=cv2.CV_16S)
    for across in (True, False):
        edges = cv2.Scharr(slope, cv2.CV_32F, int(across), int(not across), scale=1 / 16)
        total = cv2.add(total, np.abs(edges, out=edges), dst=total)
    inside = cv2.bitwise_and(cv2.inRange(x, -0.5, w - 0.5), cv2.inRange(y, -0.5, h - 0.5))
    total[inside == 0] += np.float32(_OUTSIDE)
    return np.asarray(total, np.float32)


@lru_cache(maxsize=4)
def _centres(size: Size) -> tuple[Floats, Floats]:
    return at_centres(size, size, 1.0)


def lead_of_later(earlier: Floats, later: Floats, share: float, size: Size) -> Floats:
    """By how many grey levels the later side is the better one: (h, w) float32.

    ``earlier`` and ``later`` are what `apart` gives for each side. ``share`` is how much of the way from the
    earlier key frame to the later one lies behind, 0 to 1. ``size`` is the frame's.
    """
    cells = earlier.shape[1] / size[1] * CELL_PX
    lead = earlier - later + np.float32(_WAY * (2 * share - 1))
    return np.asarray(cv2.GaussianBlur(lead, (0, 0), max(_SMOOTH_CELLS * cells, 0.3)), np.float32)


def chosen(earlier: Values, later: Values, lead: Floats, axis: int) -> Values:
    """Of two tensors alike, each position of the grid has the values of one. The grid's rows are on ``axis``,
    its columns on the next one; ``lead`` is sampled at its positions (`lead_at`)."""
    shape = [1] * earlier.ndim
    shape[axis : axis + 2] = lead.shape
    return np.where((lead > 0).reshape(shape), later, earlier)


def lead_at(
    lead: Floats, size: Size, grid: Size, sampling: str = "centres", window: Window | None = None
) -> Floats:
    """`lead_of_later` at the positions of a grid (h, w), which lies in the frame as that of `Trace.root`."""
    rows, columns = lead.shape
    down, across = spread(size, grid, sampling, window)
    # Averaged first: a position of a coarse grid stands for many of the lead's.
    steps = [
        max(round(float(at[-1] - at[0]) / max(len(at) - 1, 1) * count / extent), 1)
        for at, count, extent in zip((across, down), (columns, rows), size[::-1], strict=True)
    ]
    even = cv2.blur(lead, (steps[0], steps[1]), borderType=cv2.BORDER_REPLICATE)
    x, y = np.meshgrid(
        ((across + 0.5) * columns / size[1] - 0.5).astype(np.float32),
        ((down + 0.5) * rows / size[0] - 0.5).astype(np.float32),
    )
    return np.asarray(cv2.remap(even, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def merged(earlier: Labels, later: Labels, lead: Floats) -> Labels:
    """One label map (H, W) of two: each position has the label of one of the sides."""
    differ = np.flatnonzero(earlier != later)
    if not len(differ):
        return earlier
    height, width = earlier.shape
    reach = _REACH_PX
    dense = cv2.resize(lead, (width, height), interpolation=cv2.INTER_LINEAR).ravel()[differ]
    one, other = earlier.ravel()[differ], later.ravel()[differ]
    # Padded, so that no neighbour needs a check of its own. Row by row, whatever order the map came in.
    chosen = np.asarray(
        cv2.copyMakeBorder(np.ascontiguousarray(earlier), reach, reach, reach, reach, cv2.BORDER_REPLICATE),
        np.uint8,
    )
    wide = width + 2 * reach
    at = (differ // width + reach) * wide + differ % width + reach
    flat = chosen.reshape(-1)
    flat[at] = np.where(dense > 0, other, one)
    steps = np.array([dy * wide + dx for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)])
    weight = np.float32(_VOTE / len(steps))
    for _ in range(_VOTES):
        many = len(at) * _MANY > flat.size
        if many:
            votes = _votes_everywhere(chosen, earlier, later).take(differ)
        else:
            around = flat.take(at + steps[:, None])
            votes = ((around == other).view(np.int8) - (around == one).view(np.int8)).sum(0, np.int8)
        voted = np.where(dense + votes * weight > 0, other, one)
        # Where nothing around has changed, the next vote would end as this one did.
        near = np.zeros(flat.shape, np.bool_)
        changed = at[voted != flat.take(at)]
        if many:
            near[changed] = True
            grown = cv2.dilate(near.view(np.uint8).reshape(chosen.shape), _SQUARE)
            near = np.asarray(grown, np.uint8).view(np.bool_).reshape(-1)
        else:
            near[changed + steps[:, None]] = True
        flat[at] = voted
        again = near.take(at)
        differ, at, one, other, dense = (each[again] for each in (differ, at, one, other, dense))
    return np.ascontiguousarray(chosen[reach : reach + height, reach : reach + width])


def _votes_everywhere(chosen: Labels, earlier: Labels, later: Labels) -> NDArray[np.int8]:
    """How many more of the surroundings of each position (H, W) have the later side's label than the earlier
    side's. ``chosen`` is padded."""
    height, width = earlier.shape
    votes, same = np.zeros((height, width), np.int8), np.empty((height, width), np.bool_)
    for top, left in np.ndindex(2 * _REACH_PX + 1, 2 * _REACH_PX + 1):
        there = chosen[top : top + height, left : left + width]
        np.equal(there, later, out=same)
        np.add(votes, same.view(np.int8), out=votes)
        np.equal(there, earlier, out=same)
        np.subtract(votes, same.view(np.int8), out=votes)
    return votes
