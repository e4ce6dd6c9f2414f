"""How a tool opens its source: the choices that every tool hands on as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_vss.errors import OptionError
from edge_vss.runtimes.motion import Measure
from edge_vss.runtimes.pipeline import check_pictures, motion_for
from edge_vss.runtimes.session import Session
from edge_vss.runtimes.sources import Source, Uri, open_source, plugin_of
from edge_vss.runtimes.sources._spelling import can_begin_again
from edge_vss.text import without_password


@dataclass(frozen=True)
class Opening:
    """What `open_source` is to be told besides the source's name."""

    motion: str = "auto"
    """The motion provider."""

    live: bool | None = None
    """Whether the source does not wait for its reader; None leaves that to the kind of source."""

    timeout_seconds: float = 10.0
    """How long a stream may be silent."""

    reconnect_seconds: float = 0.0
    """For how long a live stream that has ended is tried again."""

    ffmpeg: Mapping[str, str] = field(default_factory=dict)
    """Options that FFmpeg gets as they are."""

    stream: int | None = None
    """Which stream of a file with several is read; None for the best video."""

    pictures: str = "all"
    """Which frames get a picture: ``all``, ``key`` (I-frames), or ``none``."""

    parts: bool = False
    """Whether the source is for labels from both sides: motion begins anew at an I-frame every few seconds,
    and is measured also where no graph reads it."""

    def open(
        self,
        uri: Uri,
        session: Session | None = None,
        motion: str | Measure | None = None,
        sinks: Iterable[str] = (),
    ) -> Source:
        """Opens a source, for a session where one is given. Motion is then measured only where the session or
        one of the kinds of ``sinks`` looks at it.

        ``motion`` is another motion provider than usual, or its name. Raises SourceError and OptionError like
        `open_source`, and OptionError where ``pictures`` are not enough for the session or the sinks.
        """
        if session is not None:
            check_pictures(session, self.pictures, sinks)
        return open_source(
            uri,
            motion=self.motion_for(session, sinks) if motion is None else motion,
            live=self.live,
            timeout_seconds=self.timeout_seconds,
            reconnect_seconds=self.reconnect_seconds,
            options=dict(self.ffmpeg),
            stream=self.stream,
            pictures=self.pictures,
            parts=self.parts,
        )

    def motion_for(self, session: Session | None, sinks: Iterable[str] = ()) -> str | Measure:
        """The motion provider that a session's source is opened with."""
        if session is None or (self.parts and session.leaves_between):
            return self.motion
        return motion_for(session, self.motion, sinks)


def check_repeatable(uri: Uri) -> None:
    """Raises OptionError for a source that comes through a pipe, where it is to be read more than once."""
    name, target = plugin_of(uri)
    if name == "av" and not can_begin_again(target):
        raise OptionError(
            f"{without_password(uri)} comes through a pipe, and would be read twice here: save it as a file"
        )
