"""One file per place motion comes from, with the function ``measure`` and a ``DESCRIPTION``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edge_vss.plugins import Kind
from edge_vss.video import Frame, StreamInfo


class Measure(Protocol):
    """A motion provider's one function."""

    def __call__(self, frames: Iterable[Frame], stream: StreamInfo) -> Iterator[Frame]:
        """The same frames in the same order, with their ``motion`` set."""


@dataclass(frozen=True)
class MotionDescription:
    """What a motion provider says of itself."""

    summary: str
    """Where its motion comes from, in a few words."""
    vectors: bool
    """Whether it reads the decoder's vectors: the decoder gives them only where somebody wants them."""


MOTIONS: Kind[Measure, MotionDescription] = Kind("motion", __name__, "measure", MotionDescription)
