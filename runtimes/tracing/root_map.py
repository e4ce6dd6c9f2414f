"""Tracing every position of the current frame back to the anchor, one shown frame at a time."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError
from edge_vss.runtimes.motion._vectors import CELL_PX, at_centres, grid_of
from edge_vss.runtimes.tracing.whole_pixels import Hops, points
from edge_vss.video import Frame, MotionField, Size, Track

MODES = ("grid", "exact")


class Tracer:
    """The root map of one stream: where each position of the frame last followed was on the anchor.

    Mode ``grid`` keeps one sub-pixel displacement per cell and samples it bicubically at every hop:
    bilinear sampling smears the map a little each time, which costs 1.3 mIoU over 12 frames. Mode ``exact``
    gives graphs motion that was rounded to whole pixels at every hop, as AR-Seg was trained
    (edge_vss.runtimes.tracing.whole_pixels); what policies see stays the same. Not thread-safe: one per
    session.
    """

    def __init__(self, mode: str = "grid") -> None:
        if mode not in MODES:
            raise OptionError(f"no trace-back mode is called {mode!r}: choose one of {', '.join(MODES)}")
        self._maps: dict[tuple[Size, Size, str], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self._size: Size = (0, 0)
        self._hops = Hops() if mode == "exact" else None
        self._root: NDArray[np.float32] = np.zeros((1, 1, 2), np.float32)
        self._known: NDArray[np.float32] = np.ones((1, 1), np.float32)
        self._frames_since_key = 0
        self._anchor_thumb: NDArray[np.uint8] = np.zeros((1, 1), np.uint8)

    def anchor(self, frame: Frame) -> None:
        """Make a frame the anchor: every position of it is its own root."""
        self._size, self._frames_since_key = frame.size, 0
        h, w = grid_of(frame.size)
        if self._hops is not None:
            self._hops.anchor(frame.size)
        self._root = np.zeros((h, w, 2), np.float32)
        self._known = np.ones(grid_of(frame.size), np.float32)
        self._anchor_thumb = _thumb(frame)

    def follow(self, frame: Frame, look: bool = True) -> Track:
        """Add the frame shown next. A frame without motion is taken not to move, and not to be known.

        Without ``look`` nothing but ``frames_since_key`` is found out about the frame (the rest is NaN).
        That saves half of the time, and goes for all frames up to the next anchor or for none.

        Raises OptionError when the frame has another size than the anchor: the state must begin anew there.
        """
        if frame.size != self._size:
            raise OptionError(
                f"frame {frame.index} is {frame.size}, its anchor {self._size}: anchor one of the new size"
            )
        self._frames_since_key += 1
        motion = frame.motion
        if self._hops is not None:
            self._hops.add(motion)
        if self._hops is not None and not look:
            return Track(self._frames_since_key, math.nan, math.nan, math.nan)
        if motion is None:
            self._known = np.zeros_like(self._known)
        else:
            step, known = self._on_cells(motion)
            if look:
                self._known = np.minimum(known, self._hop(self._known, step, cv2.INTER_NEAREST))
            self._root = step + self._hop(self._root, step, cv2.INTER_CUBIC)
        return self._track(frame) if look else Track(self._frames_since_key, math.nan, math.nan, math.nan)

    def root(self, grid: Size, sampling: str = "centres") -> NDArray[np.float32]:
        """Motion from the frame last followed back to the anchor: (2, h, w) float32, x then y, in pixels of
        ``grid``.

        The grid spans the frame exactly, as a resized picture does: one of its pixels is W/w by H/h pixels
        of the frame. Motion is read at the ``centres`` of its cells, or with its first and last points on
        the frame's first and last pixels (``corners``).
        """
        height, width = self._size
        if self._hops is None:
            out = self._smooth_root(grid, sampling)
        else:
            out = self._hops.root(grid, sampling)
        out[0] *= np.float32(grid[1] / width)
        out[1] *= np.float32(grid[0] / height)
        return out

    def carry(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The anchor's label map (H, W) moved to the frame last followed, nearest pixel."""
        height, width = labels.shape
        dx, dy = self._smooth_root(grid_of(labels.shape))
        across, down = self._pixels(labels.shape)
        scale_x, scale_y = np.float32(width / self._size[1]), np.float32(height / self._size[0])
        x = across + cv2.resize(dx, (width, height), interpolation=cv2.INTER_LINEAR) * scale_x
        y = down + cv2.resize(dy, (width, height), interpolation=cv2.INTER_LINEAR) * scale_y
        moved = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)

    def _track(self, frame: Frame) -> Track:
        dx, dy = self._smooth_root(grid_of(self._size))
        h, w = dx.shape
        x, y = self._pixels((h, w))
        scale_x, scale_y = np.float32(w / self._size[1]), np.float32(h / self._size[0])
        carried = cv2.remap(
            self._anchor_thumb,
            x + dx * scale_x,
            y + dy * scale_y,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        length = cv2.magnitude(dx, dy)
        return Track(
            frames_since_key=self._frames_since_key,
            known=float(self._known.mean()),
            travel_px=float(length.mean()),
            error=float(cv2.absdiff(carried, _thumb(frame)).mean()),
        )

    def _on_cells(self, motion: MotionField) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Displacement (h, w, 2) in frame pixels and known (h, w), on the root map's cells."""
        step = np.ascontiguousarray(motion.displacement_px.transpose(1, 2, 0))
        known = motion.known.astype(np.float32)
        if motion.cell_px == CELL_PX:
            return step, known
        # Finer cells are averaged, each mean kept where its first cell is; coarser ones are mixed.
        within = max(1, CELL_PX // motion.cell_px)
        means = cv2.blur(
            np.dstack([step, known]), (within, within), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE
        )
        x, y = self._pixels(grid_of(self._size))
        scale, shift = np.float32(CELL_PX / motion.cell_px), np.float32(within / 2)
        at_x, at_y = (x + np.float32(0.5)) * scale - shift, (y + np.float32(0.5)) * scale - shift
        here = cv2.remap(means, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.ascontiguousarray(here[..., :2]), np.ascontiguousarray(here[..., 2])

    def _hop(self, of: NDArray[np.float32], step: NDArray[np.float32], sampling: int) -> NDArray[np.float32]:
        x, y = self._pixels(step.shape[:2])
        scale = np.float32(1 / CELL_PX)
        there = cv2.remap(
            of, x + step[..., 0] * scale, y + step[..., 1] * scale, sampling, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(there, np.float32)

    def _smooth_root(self, grid: Size, sampling: str = "centres") -> NDArray[np.float32]:
        x, y = self._positions(grid, sampling)
        root = cv2.remap(self._root, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.ascontiguousarray(root.transpose(2, 0, 1))

    def _positions(self, grid: Size, sampling: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        key = (self._size, grid, sampling)
        if key not in self._maps:
            y, x = (
                (points(extent, count, sampling) + 0.5) / CELL_PX - 0.5
                for extent, count in zip(self._size, grid, strict=True)
            )
            across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
            self._maps[key] = (across, down)
        return self._maps[key]

    def _pixels(self, grid: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        key = (grid, grid, "")
        if key not in self._maps:
            self._maps[key] = at_centres(grid, grid, 1.0)
        return self._maps[key]


def _thumb(frame: Frame) -> NDArray[np.uint8]:
    # Every second row is enough for an average over 8 by 8 pixels, and half the memory to read.
    h, w = grid_of(frame.size)
    return np.asarray(cv2.resize(frame.luma[::2], (w, h), interpolation=cv2.INTER_AREA), np.uint8)
