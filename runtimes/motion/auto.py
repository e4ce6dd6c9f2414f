"""The decoder's vectors where the codec exports them, optical flow where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from edge_vss.errors import MissingExtra
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Feed, MotionDescription, codec, flow, hevc
from edge_vss.runtimes.motion._coded import provider_of
from edge_vss.runtimes.motion._doubt import Doubt, mixed
from edge_vss.runtimes.motion._references import keep
from edge_vss.video import Frame

DESCRIPTION = MotionDescription(
    "the decoder's vectors where there are some, else optical flow", vectors=True, pictures=False
)
TRUSTED = 0.5
"""Where a frame's vectors cover less than this share of it, flow is taken: on I-frames, and where most blocks
are intra."""


def measure(feed: Feed) -> Iterator[Frame]:
    """The same frames, with motion from their vectors, and with flow where those say too little or are in
    doubt (edge_vss.runtimes.motion._doubt).

    Pixels choose between the two, cell by cell. But where they had to find out the references already, and
    neighbours move apart, flow is taken for the whole frame: they would choose what they chose before.
    """
    measured = _from_vectors(feed)
    if measured is None:
        codec_name = feed.stream.codec or "images"
        LOG.info("%s: no motion vectors (%s), so motion is optical flow", feed.stream.uri, codec_name)
        yield from flow.measure(feed)
        return
    if feed.stream.pictures != "all":
        yield from measured
        return
    dense, doubt = flow.Flow(), Doubt()
    certain = codec.one_reference(feed.stream)
    last: Frame | None = None
    for frame in measured:
        began = perf_counter()
        certain = certain and frame.picture_type != "B"
        vectors = frame.motion
        if vectors is None or last is None:
            doubt.forget()
        else:
            told = None if frame.vectors is None else frame.vectors.reference
            doubted = doubt(frame, last, guessed=not certain and told is None)
            if doubted or vectors.coverage < TRUSTED:
                # Flow runs on few frames. So the frame before is reduced only now.
                dense.keep(last)
                LOG.debug("frame %d: vectors say too little, so optical flow is measured", frame.index)
                # An I-frame of a drive needs no more than what is quick. Things that move fast are small.
                flowing = dense(frame, finer=bool(doubted))
                plain = certain or (told is not None and bool((told == 1).all()))
                mixes = plain or (doubted.missed and not doubted.rough)
                if flowing is not None and mixes and vectors.coverage >= codec.ENOUGH:
                    now, then = keep(frame), keep(last)
                    frame.motion = mixed(vectors, flowing, now, then, elected=not certain)
                else:
                    frame.motion = flowing or vectors
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
