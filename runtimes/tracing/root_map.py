"""Tracing every position of the current frame back to the anchor, one shown frame at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.decisions import Measured, Track
from edge_vss.errors import OptionError
from edge_vss.runtimes.tracing._smooth import Positions, SmoothMap
from edge_vss.runtimes.tracing.cells import CELL_PX, grid_of
from edge_vss.runtimes.tracing.whole_pixels import Hops, TapTables
from edge_vss.video import Frame, FrameStamp, Size, Window

MODES = ("grid", "exact")

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Trace:
    """The way from one frame back to its anchor. A value: `and_then` gives the next frame's, and leaves this
    one as it is. So traces back to different anchors can be followed through one stream side by side, and
    several threads may read one.
    """

    anchor: FrameStamp
    """The key frame that the way leads to."""
    size: Size
    """Height and width of the frames."""
    frames_since_key: int
    """Frames since the anchor, 0 for the anchor itself."""
    _thumb: Bytes
    """The anchor's brightness on a small grid."""
    _smooth: SmoothMap
    _hops: Hops | None
    """None in mode ``grid``."""
    _positions: Positions

    def and_then(self, frame: Frame) -> Trace:
        """The way from the frame shown next. Without motion it is taken not to move, and not to be known.

        Raises OptionError when the frame has another size than the anchor: the state must begin anew there.
        """
        if frame.size != self.size:
            raise OptionError(
                f"frame {frame.index} is {frame.size}, its anchor {self.size}: anchor one of the new size"
            )
        return replace(
            self,
            frames_since_key=self.frames_since_key + 1,
            _smooth=self._smooth.and_then(frame.motion),
            _hops=None if self._hops is None else self._hops.and_then(frame.motion),
        )

    def root(
        self, grid: Size, sampling: str = "centres", window: Window | None = None
    ) -> NDArray[np.float32]:
        """Motion from the frame back to the anchor: (2, h, w) float32, x then y, in pixels of ``grid``.

        The grid spans the frame exactly, as a resized picture does: one of its pixels is W/w by H/h pixels
        of the frame. Motion is read at the ``centres`` of its cells, or with its first and last points on
        the frame's first and last pixels (``corners``). With a ``window`` it spans that instead; then no
        motion leads out of the frame, as there may be nothing.
        """
        if self._hops is not None:
            return self._scaled(self._hops.root(grid, sampling, window), grid, sampling, window)
        return self.smooth_root(grid, sampling, window)

    def smooth_root(
        self, grid: Size, sampling: str = "centres", window: Window | None = None
    ) -> NDArray[np.float32]:
        """As `root`, in sub-pixels whatever the mode: for what compares pictures."""
        return self._scaled(self._sampled(grid, sampling, window), grid, sampling, window)

    def _scaled(
        self, root: NDArray[np.float32], grid: Size, sampling: str, window: Window | None
    ) -> NDArray[np.float32]:
        height, width = self.size if window is None else (window.height, window.width)
        if window is not None and self.frames_since_key:
            x, y = self._positions.of_grid(self.size, grid, sampling, window)
            for moved, cells, extent in ((root[0], x, self.size[1]), (root[1], y, self.size[0])):
                at = (cells + np.float32(0.5)) * CELL_PX - np.float32(0.5)
                np.clip(moved, -at, np.float32(extent - 1) - at, out=moved)
        root[0] *= np.float32(grid[1] / width)
        root[1] *= np.float32(grid[0] / height)
        return root

    def carry(self, labels: Bytes) -> Bytes:
        """The anchor's label map (H, W) moved to the frame, nearest pixel."""
        height, width = labels.shape
        dx, dy = self._sampled(grid_of(labels.shape))
        across, down = self._positions.of_pixels(labels.shape)
        scale_x, scale_y = np.float32(width / self.size[1]), np.float32(height / self.size[0])
        x = across + cv2.resize(dx, (width, height), interpolation=cv2.INTER_LINEAR) * scale_x
        y = down + cv2.resize(dy, (width, height), interpolation=cv2.INTER_LINEAR) * scale_y
        moved = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)

    def track(self, frame: Frame) -> Track:
        """What a policy may know. ``frame`` is the one that the trace belongs to."""
        return Track(self.frames_since_key, _Measuring(self, frame))

    def measured(self, frame: Frame) -> Measured:
        """What there is to measure, for the frame that the trace belongs to."""
        # In this order: what is known and the root share their first step.
        known = self._smooth.known()
        dx, dy = self._sampled(self.cells)
        return Measured(
            known=float(known.mean()),
            travel_px=float(cv2.magnitude(dx, dy).mean()),
            error=float(self._unlike(dx, dy, thumb(frame)).mean()),
        )

    @property
    def cells(self) -> Size:
        """How many cells of 8 by 8 pixels cover the frame: rows and columns."""
        return grid_of(self.size)

    def unlike(self, thumb: Bytes) -> Bytes:
        """How unlike the frame its anchor is, carried here: grey levels (h, w) uint8 for every cell.
        ``thumb`` is the frame's own."""
        dx, dy = self._sampled(self.cells)
        return self._unlike(dx, dy, thumb)

    def _unlike(self, dx: NDArray[np.float32], dy: NDArray[np.float32], thumb: Bytes) -> Bytes:
        h, w = dx.shape
        x, y = self._positions.of_pixels((h, w))
        scale_x, scale_y = np.float32(w / self.size[1]), np.float32(h / self.size[0])
        carried = cv2.remap(
            self._thumb, x + dx * scale_x, y + dy * scale_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(cv2.absdiff(carried, thumb), np.uint8)

    def _sampled(
        self, grid: Size, sampling: str = "centres", window: Window | None = None
    ) -> NDArray[np.float32]:
        root = self._smooth.root()
        if not self._positions.are_cells(self.size, grid, sampling, window):
            x, y = self._positions.of_grid(self.size, grid, sampling, window)
            read = cv2.remap(root, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            root = np.asarray(read, np.float32)
        return np.array(cv2.split(root))


class Tracer:
    """Follows one stream: `trace` leads from the frame last followed back to its anchor.

    Mode ``grid`` gives graphs motion in sub-pixels. Mode ``exact`` gives them motion that was rounded to
    whole pixels at every hop, as AR-Seg was trained (edge_vss.runtimes.tracing.whole_pixels). What policies
    see is the same in both. Not thread-safe, but its traces are.
    """

    def __init__(self, mode: str = "grid") -> None:
        if mode not in MODES:
            raise OptionError(f"no trace-back mode is called {mode!r}: choose one of {', '.join(MODES)}")
        self._positions = Positions()
        self._taps = TapTables() if mode == "exact" else None
        self._trace: Trace | None = None

    @property
    def trace(self) -> Trace:
        """The way back from the frame last followed. Raises OptionError before the first anchor."""
        if self._trace is None:
            raise OptionError("nothing is traced yet: anchor a frame first")
        return self._trace

    def start(self, frame: Frame) -> Trace:
        """A trace that has the frame as its anchor, beside the one that is followed."""
        return Trace(
            anchor=FrameStamp(frame.index, frame.pts_seconds),
            size=frame.size,
            frames_since_key=0,
            _thumb=thumb(frame),
            _smooth=SmoothMap(frame.size, self._positions),
            _hops=None if self._taps is None else Hops(frame.size, self._taps),
            _positions=self._positions,
        )

    def anchor(self, frame: Frame) -> None:
        """Make a frame the anchor: every position of it is its own root."""
        self._trace = self.start(frame)

    def switch(self, trace: Trace) -> None:
        """Go on with another trace of the frame last followed."""
        self._trace = trace

    def follow(self, frame: Frame) -> Track:
        """Add the frame shown next. Raises OptionError as `Trace.and_then` does, and before any anchor."""
        self._trace = self.trace.and_then(frame)
        return self._trace.track(frame)

    def root(
        self, grid: Size, sampling: str = "centres", window: Window | None = None
    ) -> NDArray[np.float32]:
        """As `Trace.root`, from the frame last followed."""
        return self.trace.root(grid, sampling, window)

    def carry(self, labels: Bytes) -> Bytes:
        """As `Trace.carry`, to the frame last followed."""
        return self.trace.carry(labels)


class _Measuring:
    """Measures once, and then lets go of the frame and its trace: a Track may be kept for long."""

    def __init__(self, trace: Trace, frame: Frame) -> None:
        self._lock = threading.Lock()
        self._source: tuple[Trace, Frame] | None = (trace, frame)
        self._result: Measured | None = None

    def __call__(self) -> Measured:
        with self._lock:
            if self._source is not None:
                trace, frame = self._source
                self._result, self._source = trace.measured(frame), None
            assert self._result is not None
            return self._result


def thumb(frame: Frame) -> Bytes:
    """A frame's brightness, one sample a cell: (h, w) uint8."""
    # Every second row is enough for an average over 8 by 8 pixels, and half the memory to read.
    h, w = grid_of(frame.size)
    return np.asarray(cv2.resize(frame.luma[::2], (w, h), interpolation=cv2.INTER_AREA), np.uint8)
