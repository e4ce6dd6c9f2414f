"""Telling a scene cut, after which nothing that was remembered is true."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.video import Frame

SMALL = (36, 64)
"""Pictures are compared at this size: what moves by a few pixels stays where it is."""
LEAST_DIFFERENCE, MOST_LIKENESS = 20.0, 0.65
"""Grey levels, and correlation. Between frames of three drives at 15 to 30 Hz the mean difference is at most
15.2; across cuts between them it is at least 27, and the correlation at most 0.62."""


class Cuts:
    """Watches the frames of one video. Not thread-safe: one per session."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def between(self, frame: Frame) -> bool:
        """Whether the frame shows another scene than the one before it."""
        # Every second row is enough for an average over many.
        small = cv2.resize(frame.luma[::2], SMALL[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, small
        if last is None or np.abs(small - last).mean() < LEAST_DIFFERENCE:
            return False
        apart = small - small.mean(), last - last.mean()
        spread = float(np.linalg.norm(apart[0]) * np.linalg.norm(apart[1]))
        return float((apart[0] * apart[1]).sum()) < MOST_LIKENESS * spread or spread == 0
