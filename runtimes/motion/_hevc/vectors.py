"""What the parser says of a picture → motion vectors in pixels of the frame, and what they refer to."""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_vss.motion_field import MotionVectors
from edge_vss.orientation import UPRIGHT, Orientation
from edge_vss.runtimes.motion._hevc.parser import (
    CELL_PX,
    INEXACT,
    MISSING_REFERENCE,
    MODE_INTER,
    MODE_SKIP,
    Picture,
)
from edge_vss.runtimes.motion._occurring import occurring
from edge_vss.video import Size

_MOST_REMEMBERED = 64
"""Shown frames that are remembered. HEVC refers to pictures among the last 16 decoded."""


def size_of(picture: Picture) -> Size:
    """Height and width of the picture without what is cropped, before it is turned."""
    left, right, top, bottom = picture.crop_px
    return picture.coded_size[0] - top - bottom, picture.coded_size[1] - left - right


class Shown:
    """The frames shown so far in this sequence, by picture order count."""

    def __init__(self, orientation: Orientation = UPRIGHT) -> None:
        """``orientation``: how decoded pictures are turned to be shown."""
        self._orientation = orientation
        self._begin()

    def _begin(self) -> None:
        self._counts: deque[int | None] = deque(maxlen=_MOST_REMEMBERED)
        # How far apart neighbours' picture order counts are: the encoder's choice.
        self._step = 0

    def unknown(self) -> None:
        """A frame was shown whose picture order count nobody knows."""
        self._counts.append(None)

    def vectors(self, picture: Picture) -> MotionVectors:
        """The vectors of the picture that is shown now, in pixels of the frame as it is shown, with what they
        refer to in shown frames."""
        self.passed(picture)
        differences = occurring(picture.cells["poc_difference"])
        spans = {difference: self._span(picture.poc, difference) for difference in differences}
        return self._orientation.vectors(_vectors(picture, spans), size_of(picture))

    def passed(self, picture: Picture) -> None:
        """The picture is shown now, or would be if nobody had passed it over on the way to a later one."""
        last = next((count for count in reversed(self._counts) if count is not None), None)
        if last is not None and picture.poc <= last:
            self._begin()  # picture order counts begin anew
        elif last is not None:
            self._step = math.gcd(self._step, picture.poc - last)
        self._counts.append(picture.poc)

    def _span(self, poc: int, difference: int) -> int:
        """How many shown frames back the picture of a difference in order count is; 0: not known."""
        if difference < 0 and poc + difference in self._counts:
            return len(self._counts) - 1 - self._counts.index(poc + difference)
        if not self._step or difference % self._step:
            return 0
        return -difference // self._step


def _vectors(picture: Picture, spans: dict[int, int]) -> MotionVectors:
    height, width = picture.cells.shape
    flat = np.ascontiguousarray(picture.cells).reshape(-1)
    good = ((flat["mode"] == MODE_INTER) | (flat["mode"] == MODE_SKIP)) & (
        (flat["flags"] & (INEXACT | MISSING_REFERENCE)) == 0
    )
    parts = [np.flatnonzero(good & (flat["lists"] & bit != 0)) for bit in (1, 2)]
    where = np.concatenate(parts)
    list_number = np.repeat((0, 1), [len(part) for part in parts])
    # A cell is 16 bytes: two vectors of 4, then two differences of 2.
    difference = flat.view("<i2").take(8 * where + (4 + list_number))
    reference = _looked_up(difference, spans)
    # Where both lists point one way, the nearer reference is told last and holds.
    order = np.argsort(-np.abs(reference.astype(np.int16)), kind="stable")
    where, list_number = where.take(order), list_number.take(order)
    motion = flat.view("<i4").take(4 * where + list_number).view("<i2").reshape(-1, 2)
    left, top = _corners(height, width, picture.crop_px[0], picture.crop_px[2])
    side = np.full(len(where), CELL_PX, np.int16)
    return MotionVectors(
        left.take(where),
        top.take(where),
        side,
        side,
        motion.T.astype(np.float32) / np.float32(4),
        np.where(difference.take(order) < 0, -1, 1).astype(np.int8),
        reference.take(order),
    )


@lru_cache(maxsize=4)
def _corners(
    height: int, width: int, cropped_left: int, cropped_top: int
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The left and the upper edge of every cell, in pixels of the frame, each (height · width,)."""
    left = CELL_PX * np.arange(width, dtype=np.int16) - np.int16(cropped_left)
    top = CELL_PX * np.arange(height, dtype=np.int16) - np.int16(cropped_top)
    return np.tile(left, height), top.repeat(width)


def _looked_up(difference: NDArray[np.int16], spans: dict[int, int]) -> NDArray[np.int8]:
    """The span of every difference, cut to what fits into a byte."""
    least, most = min(spans), max(spans)
    table = np.zeros(most - least + 1, np.int8)
    for each, span in spans.items():
        table[each - least] = min(max(span, -127), 127)
    return table.take(difference.astype(np.intp) - least)
