"""One file per place motion comes from, with the function ``measure`` and a ``DESCRIPTION``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edge_vss.plugins import Kind
from edge_vss.video import Frame, Packet, StreamInfo

Listener = Callable[[Packet], None]
"""Takes packets. It is called in the thread that reads the frames, so it should be quick: a parser works in a
thread of its own, and takes the packets from a queue."""


@dataclass(frozen=True)
class Feed:
    """What a motion provider works on: the frames, and the packets for one that asks for them."""

    frames: Iterable[Frame]
    """The frames in display order, without motion."""

    stream: StreamInfo
    """What is known about their source."""

    listen: Callable[[Listener], None]
    """Hands every packet from now on to a listener, in decoding order, each before the frame that it holds.

    Call it before the first frame is taken: then no packet is missed. After a seek, the provider is called
    again with another feed. A source without packets (images, arrays) never calls the listener. The bytes are
    copied for a listener only.
    """


class Measure(Protocol):
    """A motion provider's one function."""

    def __call__(self, feed: Feed) -> Iterator[Frame]:
        """The same frames in the same order, with their ``motion`` set."""


@dataclass(frozen=True)
class MotionDescription:
    """What a motion provider says of itself."""

    summary: str
    """Where its motion comes from, in a few words."""
    vectors: bool
    """Whether it reads the decoder's vectors: the decoder gives them only where somebody wants them."""
    pictures: bool = True
    """Whether it needs every picture, whatever the stream says."""
    pixels: bool = True
    """Whether it may look at pixels even where every vector refers to the frame before."""


MOTIONS: Kind[Measure, MotionDescription] = Kind("motion", __name__, "measure", MotionDescription)
