"""Motion read the other way: from where a frame's content was, to where it will be."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.motion_field import MotionField
from edge_vss.runtimes.tracing.cells import at_centres

_ROUNDS = 3
"""How often a place is looked up again. Motion is smooth: each round at least halves what is wrong."""


def reversed_motion(field: MotionField) -> MotionField:
    """The motion of the frame shown before, towards this one.

    ``field`` says where this frame's content was in the frame before. What comes back belongs to the frame
    before, and says where its content is in this one: displacement (2, h, w) float32 in pixels, on the same
    cells. A position's answer ``r`` is the one with ``r = -d(p + r)``, found by trying. Where content is
    covered in this frame there is none; what stands there then is the motion of what covers it.
    """
    h, w = field.known.shape
    motion = np.ascontiguousarray(field.displacement_px.transpose(1, 2, 0))
    x, y = at_centres((h, w), (h, w), 1.0)
    per_cell = np.float32(1 / field.cell_px)
    back: NDArray[np.float32] = -motion
    for _ in range(_ROUNDS):
        at_x, at_y = x + back[..., 0] * per_cell, y + back[..., 1] * per_cell
        there = cv2.remap(motion, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        back = -np.asarray(there, np.float32)
    at_x, at_y = x + back[..., 0] * per_cell, y + back[..., 1] * per_cell
    known = cv2.remap(
        field.known.astype(np.uint8), at_x, at_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    return MotionField(
        np.ascontiguousarray(back.transpose(2, 0, 1)),
        known.astype(np.bool_),
        -field.reference,
        field.cell_px,
        field.provider,
    )
