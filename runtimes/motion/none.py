"""No motion: what was seen on the key frame stays where it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge_vss.runtimes.motion import MotionDescription
from edge_vss.video import Frame, StreamInfo

DESCRIPTION = MotionDescription("no motion", vectors=False)


def measure(frames: Iterable[Frame], stream: StreamInfo) -> Iterator[Frame]:
    """The same frames, without motion."""
    for frame in frames:
        frame.seconds["motion"] = 0.0
        yield frame
