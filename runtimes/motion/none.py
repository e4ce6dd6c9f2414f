"""No motion: what was seen on the key frame stays where it was."""

from __future__ import annotations

from collections.abc import Iterator

from edge_vss.runtimes.motion import Feed, MotionDescription
from edge_vss.video import Frame

DESCRIPTION = MotionDescription("no motion", vectors=False, pictures=False)


def measure(feed: Feed) -> Iterator[Frame]:
    """The same frames, without motion."""
    for frame in feed.frames:
        frame.seconds["motion"] = 0.0
        yield frame
