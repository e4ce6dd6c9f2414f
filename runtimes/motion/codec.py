"""Motion from the vectors that the decoder has anyway. No pixels are touched where every vector's reference
is certain."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import numpy as np

from edge_vss.motion_field import MotionField
from edge_vss.runtimes.motion import Feed, MotionDescription
from edge_vss.runtimes.motion._references import Shown, elect, hypotheses, keep, nearest
from edge_vss.runtimes.tracing.cells import CELL_PX, cells, fill, grid_of
from edge_vss.video import Frame, StreamInfo

DESCRIPTION = MotionDescription("the decoder's vectors", vectors=True, pictures=False, pixels=False)
ENOUGH = 0.05
"""Where vectors cover less than this share of a frame (an I-frame, a cut), the motion of the frame before is
kept."""


def measure(feed: Feed) -> Iterator[Frame]:
    """The same frames, with the motion that their vectors tell, towards the previous shown frame.

    A stream with one reference and no B-frames needs the vectors alone. In others, the pixels tell which
    frame a vector refers to (edge_vss.runtimes.motion._references). Holes, such as intra blocks, are filled
    from their neighbours and are not ``known``. A frame without vectors keeps the motion of the one before.
    """
    before: MotionField | None = None
    previous: Shown | None = None
    since_anchor = 1
    certain = one_reference(feed.stream)
    for frame in feed.frames:
        began = perf_counter()
        if frame.start:
            before, previous, since_anchor = None, None, 1
        certain = certain and frame.picture_type != "B"
        current = None if certain else keep(frame)
        if not frame.start:
            if current is not None and previous is not None:
                field = _told_apart(current, previous, since_anchor)
            else:
                field = _as_they_come(frame)
            before = frame.motion = _carry_on(field, before)
        since_anchor = since_anchor + 1 if frame.picture_type == "B" else 1
        previous = current
        frame.seconds["motion"] = perf_counter() - began
        yield frame


def one_reference(stream: StreamInfo) -> bool:
    """Whether every vector refers to the frame shown before, as far as the headers say."""
    # HEVC says which frame a vector refers to, but its blocks are up to 64 pixels wide: the pixels still
    # improve on them (0.3 to 0.5 mIoU where every vector refers to the frame before).
    if stream.codec == "hevc":
        return False
    # Only H.264 has several references among the codecs that export vectors; its header says how many.
    return not stream.has_b_frames and (stream.codec != "h264" or stream.references == 1)


def _as_they_come(frame: Frame) -> MotionField:
    displacement, known = cells(frame.vectors, grid_of(frame.size))
    return MotionField(fill(displacement, known), known, np.ones(known.shape, np.int8), CELL_PX, "codec")


def _told_apart(current: Shown, previous: Shown, since_anchor: int) -> MotionField:
    found = hypotheses(current, previous, since_anchor)
    if not found:
        h, w = grid_of(current.size)
        return MotionField(
            np.zeros((2, h, w), np.float32), np.zeros((h, w), np.bool_), np.ones((h, w), np.int8), CELL_PX
        )
    if current.half is None or previous.half is None:
        displacement, known, span = nearest(found, grid_of(current.size))
    else:
        displacement, known, span = elect(current, previous, found)
    return MotionField(displacement, known, span, CELL_PX, "codec")


def _carry_on(field: MotionField, before: MotionField | None) -> MotionField:
    if field.coverage >= ENOUGH or before is None:
        return field
    return MotionField(before.displacement_px, np.zeros_like(field.known), field.reference, CELL_PX, "codec")
