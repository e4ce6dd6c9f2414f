"""The decoder's vectors where the codec exports them, optical flow where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from edge_vss.errors import MissingExtra
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Feed, MotionDescription, codec, flow, hevc
from edge_vss.runtimes.motion._coded import provider_of
from edge_vss.video import Frame

DESCRIPTION = MotionDescription(
    "the decoder's vectors where there are some, else optical flow", vectors=True, pictures=False
)
TRUSTED = 0.5
"""Where a frame's vectors cover less than this share of it, flow is taken: on I-frames, and where most blocks
are intra."""


def measure(feed: Feed) -> Iterator[Frame]:
    """The same frames, with motion from their vectors, and from flow on the frames whose vectors say too
    little."""
    measured = _from_vectors(feed)
    if measured is None:
        codec_name = feed.stream.codec or "images"
        LOG.info("%s: no motion vectors (%s), so motion is optical flow", feed.stream.uri, codec_name)
        yield from flow.measure(feed)
        return
    if feed.stream.pictures != "all":
        yield from measured
        return
    dense = flow.Flow()
    last: Frame | None = None
    for frame in measured:
        began = perf_counter()
        if last is not None and frame.motion is not None and frame.motion.coverage < TRUSTED:
            # Flow runs on few frames. So the frame before is reduced only now.
            dense.keep(last)
            LOG.debug("frame %d: too few motion vectors, so optical flow is taken", frame.index)
            frame.motion = dense(frame) or frame.motion
        last = frame
        frame.seconds["motion"] += perf_counter() - began
        yield frame


def _from_vectors(feed: Feed) -> Iterator[Frame] | None:
    """The frames with motion from vectors, where the decoder or a parser gives some."""
    try:
        provider = provider_of(feed.stream)
    except MissingExtra as error:
        LOG.warning("%s: %s", feed.stream.uri, error)
        return None
    return {"codec": codec.measure, "hevc": hevc.measure}[provider](feed) if provider else None
