"""What a source plugin gives, and what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge_vss.runtimes.motion import Listener
from edge_vss.video import Frame, StreamInfo


class Reader(Protocol):
    """What a source plugin's ``open`` gives: frames without motion, in display order.

    One that may wait for long can have a method ``stop()`` too. Any thread calls it, just before ``close``,
    and frames() then has to end without waiting for more.
    """

    info: StreamInfo

    @property
    def errors(self) -> int:
        """Damaged packets passed over so far."""

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every packet, as `Feed` says. Nothing to do where there are no packets."""

    def frames(self) -> Iterator[Frame]:
        """Every frame from the current position on. Raises SourceError where a live stream falls silent."""

    def seek(self, seconds: float) -> None:
        """Move so that the next frames() begins at the first frame at or after this presentation time."""

    def close(self) -> None:
        """Let go of the file or device."""


@dataclass(frozen=True)
class SourceOptions:
    """How a source is to be opened. Each kind of source takes what means something to it."""

    vectors: bool = True
    """Whether the decoder's motion vectors are wanted."""
    live: bool = False
    """Whether frames come by themselves (a camera, a stream), however slowly they are read."""
    fps: float | None = None
    """Frames per second of what carries no times."""
    timeout_seconds: float = 10.0
    """How long to wait for a stream."""
    reconnect_seconds: float = 0.0
    """How long to try to open a live stream again that has ended; 0 for not at all."""
    ffmpeg: Mapping[str, str] = field(default_factory=dict)
    """Options that go to FFmpeg as they are."""
    stream: int | None = None
    """Which stream of a file with several is read, by its number in the file; None for the best video."""
    pictures: str = "all"
    """Which frames need a picture: ``all``, ``key`` (I-frames), ``none``. A reader that can leave out the
    others says so in `StreamInfo.pictures`."""
    pixels: bool = True
    """Whether somebody may look at the pixels of frames that need no picture: to measure motion."""


class Open(Protocol):
    """A source's one function."""

    def __call__(self, target: Any, options: SourceOptions) -> Reader:
        """Opens ``target`` and decodes its first frame. Raises SourceError where that fails."""


@dataclass(frozen=True)
class SourceDescription:
    """What a kind of source says of itself."""

    summary: str
    """What it reads, in a few words."""
    schemes: frozenset[str] = frozenset()
    """URL schemes that it takes, besides its own name."""
    live_schemes: frozenset[str] = frozenset()
    """URL schemes of cameras and streams, whose frames come by themselves."""
    vector_codecs: frozenset[str] = frozenset()
    """Codecs (FFmpeg's names) of which it gives motion vectors."""
    live: bool = False
    """Whether all of its sources are cameras."""
