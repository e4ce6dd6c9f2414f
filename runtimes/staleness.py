"""How far carried labels may be out of date, as one number and for every cell of the frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.decisions import Staleness, Track
from edge_vss.runtimes.tracing.root_map import Bytes, Trace

Floats = NDArray[np.float32]

CUT = 10.0
"""Grey levels of difference above which what was carried shows something else."""


def staleness(track: Track) -> float:
    """How far the carried result may be stale, in grey levels: the number that Adaptive compares with
    its limit.

    It adds up three parts. The brightness error of the anchor carried to this frame: it grows where things
    come into view and where tracking fails. Three times what that error has above 10 grey levels: so much is
    a cut. And the frames since the key frame, because results also decay in ways that brightness does not
    show; they count for less where the picture stands still.

    The weights were measured against a fixed interval with the same number of key frames: six intervals (4 to
    12), nine clips made from CamVid's 0016E5, three first frames each. This won nine times in ten: by 0.2 to
    0.4 mIoU on a steady drive, by 7 where there are cuts. The distance travelled, the share of motion that is
    not known and other norms of the error won less often.
    """
    return staleness_of(track.error, track.frames_since_key)


def staleness_of(error: float, frames_since_key: float) -> float:
    """`staleness` of its two numbers."""
    cut = 3 * max(0.0, error - CUT)
    return error + cut + 1.2 * frames_since_key * min(1.0, error / 2)


def measured(trace: Trace, thumb: Bytes | None) -> Staleness:
    """Of labels that were carried to a frame along its trace. ``thumb`` is the frame's brightness, one sample
    a cell.

    Where the frame has no picture to compare with, the number of frames since the key frame alone counts.
    """
    decay = 1.2 * trace.frames_since_key
    if thumb is None:
        error = np.zeros(trace.cells, np.float32)
        return Staleness(decay, error + np.float32(decay))
    error = trace.unlike(thumb).astype(np.float32)
    number = staleness_of(float(error.mean()), trace.frames_since_key)
    # One cell's brightness says little: it is averaged with its neighbours.
    error = np.asarray(cv2.blur(error, (3, 3)), np.float32)
    cut = np.float32(3) * np.maximum(error - np.float32(CUT), 0)
    return Staleness(number, error + cut + np.float32(decay) * np.minimum(error / 2, 1))


class Staling:
    """Measures when it is asked, once, and then lets go of the trace."""

    def __init__(self, trace: Trace, thumb: Bytes | None) -> None:
        self._lock = threading.Lock()
        self._source: tuple[Trace, Bytes | None] | None = (trace, thumb)
        self._found: Staleness | None = None

    def __call__(self) -> Staleness:
        with self._lock:
            if self._source is not None:
                self._found, self._source = measured(*self._source), None
            assert self._found is not None
            return self._found

    def __reduce__(self) -> tuple[Callable[[Staleness], Callable[[], Staleness]], tuple[Any, ...]]:
        # A prediction can be sent to another process, and a trace cannot.
        return _Known, (self(),)


class _Known:
    def __init__(self, found: Staleness) -> None:
        self._found = found

    def __call__(self) -> Staleness:
        return self._found
