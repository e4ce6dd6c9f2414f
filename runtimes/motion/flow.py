"""Motion by dense optical flow, for sources without motion vectors: cameras, images, HEVC, VP9, AV1."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.motion_field import MotionField
from edge_vss.runtimes.motion import Feed, MotionDescription
from edge_vss.runtimes.tracing.cells import CELL_PX, at_centres, grid_of
from edge_vss.video import Frame

DESCRIPTION = MotionDescription("optical flow between shown pictures", vectors=False)
LONGEST_PX = 640
"""The longer side of the reduced frame that flow is computed on. For 720p this is a quarter of the work."""

_FINER = 1
"""The search ends on the reduced frame halved so many times. The quick one ends on it halved twice."""

_NARROW, _TOO_NARROW = 32, 16
"""Shorter sides, in pixels. Below the first, OpenCV's quick search can crash where the other side is 80 or
more, and the finer one does not. Below the second, both do."""

MATCHED = 12.0
"""A cell is ``known`` where its mean brightness differs by less than this (grey levels, 0 to 255) from the
place that the flow points to."""


def measure(feed: Feed) -> Iterator[Frame]:
    """The same frames, with dense inverse search flow (Kroeger et al. 2016, OpenCV's DIS) to the previous
    shown frame."""
    dense = Flow()
    for frame in feed.frames:
        began = perf_counter()
        if frame.start:
            dense.forget()
        frame.motion = dense(frame)
        frame.seconds["motion"] = perf_counter() - began
        yield frame


class Flow:
    """Optical flow from one frame of a stream to the one given before. Not thread-safe: one per stream."""

    def __init__(self) -> None:
        self._quick = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._finer = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._finer.setFinestScale(_FINER)
        self._previous: NDArray[np.uint8] | None = None

    def forget(self) -> None:
        """The next frame has no predecessor."""
        self._previous = None

    def keep(self, frame: Frame) -> None:
        """Make a frame the predecessor of the next one without measuring its motion."""
        self._previous = _reduce(frame.luma)

    def __call__(self, frame: Frame, *, finer: bool = False) -> MotionField | None:
        """Motion to the frame before, on cells of CELL_PX. None on a first frame, after a change of size, and
        where a side is shorter than 16 pixels, which is too small for the search.

        ``finer``: take 3.5 times as long, and follow smaller things.
        """
        previous = self._previous
        self.keep(frame)
        current = self._previous
        if (
            previous is None
            or current is None
            or previous.shape != current.shape
            or min(current.shape) < _TOO_NARROW
        ):
            return None
        search = self._finer if finer or min(current.shape) < _NARROW else self._quick
        # OpenCV's own types leave out that there may be no first guess.
        flow = search.calc(current, previous, None)  # type: ignore[call-overload]
        grid = grid_of(frame.size)
        scale = current.shape[1] / frame.size[1]
        x, y = at_centres(current.shape, grid, CELL_PX * scale)
        width = max(round(CELL_PX * scale), 1)
        flow_cells = cv2.remap(cv2.blur(flow, (width, width)), x, y, cv2.INTER_LINEAR)
        cell = (width, width)
        now = cv2.remap(cv2.blur(current, cell), x, y, cv2.INTER_LINEAR)
        then = cv2.remap(
            cv2.blur(previous, cell), x + flow_cells[..., 0], y + flow_cells[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        known = cv2.absdiff(now, then) < MATCHED
        displacement = np.ascontiguousarray(flow_cells.transpose(2, 0, 1), np.float32) / np.float32(scale)
        return MotionField(displacement, known, np.ones(grid, np.int8), CELL_PX, "flow")


def _reduce(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = luma.shape
    scale = min(LONGEST_PX / max(height, width), 1.0)
    if scale == 1.0:
        return luma.copy()
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
