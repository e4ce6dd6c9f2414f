"""Whether vectors hold, and what is done where they do not: optical flow for those frames or cells.

Vectors fail where things leave the encoder's search range, or deform. Two signs of it were found on clips
with fast objects: neighbouring cells move apart, and the brightness where vectors point is another. The first
costs next to nothing, and every frame is asked. The second changes slowly, and every eighth frame is.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.motion_field import MotionField
from edge_vss.runtimes.motion._references import Shown, keep, matching
from edge_vss.runtimes.motion.codec import ENOUGH
from edge_vss.runtimes.motion.flow import MATCHED
from edge_vss.runtimes.tracing.cells import CELL_PX
from edge_vss.video import Frame

EVERY = 8
"""In every so manieth frame, cells are looked for where their motion points."""

WEIGHT = 0.5
"""How much the last such look counts against those before."""

ROUGH_WEIGHT = 0.15
"""How much a frame's roughness counts against those before. With more, single frames of a drive would do."""

ROUGH, ROUGH_AGAIN = 2.8e-3, 1.6e-3
"""Roughness, as a share of the picture's width, above which doubt begins, and below which it ends. On drives
it is 1.0e-3 to 2.7e-3."""

ROUGH_GUESSED = 3.8e-3
"""Where doubt begins if the frames that vectors mean were guessed: on drives it is up to 3.6e-3 then."""

CHANCE_PX = 8.0
"""Where pixels elected a motion, and it is so far from its neighbours', it may fit by chance."""

CHANCE = 4.0
"""Grey levels that count against a motion for each pixel that it is further away."""

MISSED, MISSED_AGAIN = 0.075, 0.055
"""Share of the cells that are not found again, above which doubt begins, and below which it ends."""

UNEVEN = 0.25
"""Roughness, as a share of the mean motion, below which cells that are not found again mean nothing: the
whole picture moves. 0.12 to 0.22 on a drive, 0.3 to 0.5 where something deforms before a quiet camera."""


@dataclass(frozen=True)
class Verdict:
    """What is held against a stream's vectors at the moment."""

    rough: bool = False
    """Neighbours move apart: many vectors are wrong."""
    missed: bool = False
    """Many cells are not found again where their motion points."""

    def __bool__(self) -> bool:
        return self.rough or self.missed


class Doubt:
    """Watches the motion of one stream. Not thread-safe."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """What comes next has nothing to do with what was."""
        self._frames = 0
        self._rough = self._length = self._missed = 0.0
        self._verdict = Verdict()

    def __call__(self, frame: Frame, before: Frame, *, guessed: bool = False) -> Verdict:
        """On the motion of this frame and of those to come. ``before`` is the frame shown before.

        ``guessed``: nobody says which frames its vectors mean.
        """
        if frame.motion is None or frame.motion.coverage < ENOUGH:
            return self._verdict  # an I-frame says nothing of vectors
        place, self._frames = self._frames, self._frames + 1
        weight = ROUGH_WEIGHT if place else 1.0
        self._rough += weight * (roughness(frame.motion) / frame.size[1] - self._rough)
        length = cv2.norm(frame.motion.displacement_px, cv2.NORM_L1) / frame.motion.known.size
        self._length += weight * (length / frame.size[1] - self._length)
        if place % EVERY == 0:
            weight = WEIGHT if place else 1.0
            self._missed += weight * (missed(frame.motion, keep(frame), keep(before)) - self._missed)
        uneven = self._rough > UNEVEN * self._length
        begins = ROUGH_GUESSED if guessed else ROUGH
        self._verdict = Verdict(
            self._rough > (ROUGH_AGAIN if self._verdict.rough else begins),
            uneven and self._missed > (MISSED_AGAIN if self._verdict.missed else MISSED),
        )
        return self._verdict


def roughness(field: MotionField) -> float:
    """How far a cell's motion is from its neighbours', on average, in pixels."""
    return float(_apart(field).mean(dtype=np.float64))


def _apart(field: MotionField) -> NDArray[np.float32]:
    """How far a cell's motion is from the mean of 3×3 cells around it, both axes added, in pixels."""
    x, y = (cv2.absdiff(part, cv2.blur(part, (3, 3))) for part in field.displacement_px)
    return np.asarray(x + y, np.float32)


def missed(field: MotionField, current: Shown, previous: Shown) -> float:
    """Share of the cells, 0 to 1, that look different where their motion points."""
    return float((matching(current, previous).differences(field.displacement_px) > MATCHED).mean())


def mixed(
    vectors: MotionField, flow: MotionField, current: Shown, previous: Shown, *, elected: bool
) -> MotionField:
    """Cell by cell the motion that finds its brightness again, judged together with its neighbours.

    Vectors that were ``elected`` by that brightness always find some. So it counts against a motion there how
    far it is from its neighbours'.
    """
    match = matching(current, previous)
    better = match.differences(flow.displacement_px) - match.differences(vectors.displacement_px)
    if elected:
        better += np.float32(CHANCE) * (_by_chance(flow) - _by_chance(vectors))
    taken: NDArray[np.bool_] = cv2.blur(better, (3, 3)) > 0
    return MotionField(
        np.where(taken, vectors.displacement_px, flow.displacement_px),
        np.where(taken, vectors.known, flow.known),
        np.where(taken, vectors.reference, flow.reference),
        CELL_PX,
        "codec+flow",
    )


def _by_chance(field: MotionField) -> NDArray[np.float32]:
    """How much further than CHANCE_PX a cell's motion is from its neighbours', in pixels."""
    return np.asarray(np.maximum(_apart(field) - np.float32(CHANCE_PX), 0), np.float32)
