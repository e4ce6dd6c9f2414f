"""The decoder's vectors where the codec exports them, optical flow where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import perf_counter

from edge_vss.runtimes.motion import MotionDescription, codec, flow
from edge_vss.video import Frame, StreamInfo

DESCRIPTION = MotionDescription("the decoder's vectors where there are some, else optical flow", vectors=True)
TRUSTED = 0.5
"""Coverage below which a frame's vectors give way to flow: an I-frame inside the interval, or mostly intra
blocks."""


def measure(frames: Iterable[Frame], stream: StreamInfo) -> Iterator[Frame]:
    """The same frames, with motion from their vectors, and from flow on the frames whose vectors say too
    little."""
    if not stream.exports_vectors:
        yield from flow.measure(frames, stream)
        return
    dense = flow.Flow()
    last: Frame | None = None
    for frame in codec.measure(frames, stream):
        began = perf_counter()
        if last is not None and frame.motion is not None and frame.motion.coverage < TRUSTED:
            # Flow runs on few frames, so the predecessor is reduced only now that it is needed.
            dense.keep(last)
            frame.motion = dense(frame) or frame.motion
        last = frame
        frame.seconds["motion"] += perf_counter() - began
        yield frame
