"""What the parser says of a picture → motion vectors in pixels of the frame, and what they refer to."""

from __future__ import annotations

import math
from collections import deque

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
        last = next((count for count in reversed(self._counts) if count is not None), None)
        if last is not None and picture.poc <= last:
            self._begin()  # picture order counts begin anew
        elif last is not None:
            self._step = math.gcd(self._step, picture.poc - last)
        spans = {
            int(difference): self._span(picture.poc, int(difference))
            for difference in np.unique(picture.cells["poc_difference"])
        }
        self._counts.append(picture.poc)
        return self._orientation.vectors(_vectors(picture, spans), size_of(picture))

    def _span(self, poc: int, difference: int) -> int:
        """How many shown frames back the picture of a difference in order count is; 0: not known."""
        if difference < 0 and poc + difference in self._counts:
            return len(self._counts) - self._counts.index(poc + difference)
        if not self._step or difference % self._step:
            return 0
        return -difference // self._step


def _vectors(picture: Picture, spans: dict[int, int]) -> MotionVectors:
    height, width = picture.cells.shape
    flat = picture.cells.reshape(-1)
    good = ((flat["mode"] == MODE_INTER) | (flat["mode"] == MODE_SKIP)) & (
        (flat["flags"] & (INEXACT | MISSING_REFERENCE)) == 0
    )
    left, _, top, _ = picture.crop_px
    columns = (CELL_PX * np.arange(width, dtype=np.int16) - np.int16(left))[None, :].repeat(height, 0).ravel()
    rows = (CELL_PX * np.arange(height, dtype=np.int16) - np.int16(top))[:, None].repeat(width, 1).ravel()
    keys = np.array(sorted(spans))
    values = np.clip([spans[int(key)] for key in keys], -127, 127).astype(np.int8)
    parts: list[tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.int8], NDArray[np.int8]]] = []
    for list_number in range(2):
        chosen = np.flatnonzero(good & (flat["lists"] >> list_number & 1).astype(bool))
        difference = flat["poc_difference"][chosen, list_number]
        reference = values[np.searchsorted(keys, difference)]
        displacement = flat["mv_quarter_px"][chosen, list_number].astype(np.float32).T / np.float32(4)
        parts.append((chosen, displacement, np.where(difference < 0, -1, 1).astype(np.int8), reference))
    # Where both lists point one way, the nearer reference is told last and holds.
    where = np.concatenate([part[0] for part in parts])
    displacement = np.concatenate([part[1] for part in parts], axis=1)
    direction, reference = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
    order = np.argsort(-np.abs(reference.astype(np.int16)), kind="stable")
    where = where[order]
    side = np.full(len(where), CELL_PX, np.int16)
    return MotionVectors(
        columns[where], rows[where], side, side, displacement[:, order], direction[order], reference[order]
    )
