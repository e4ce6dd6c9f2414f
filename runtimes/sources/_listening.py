"""Who hears a stream's packets, and those that opening has read before anybody could ask for them."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import av

from edge_vss.runtimes.motion import Listener
from edge_vss.video import Packet, StartReason

_KEPT_PACKETS = 64
"""Packets read while opening that a listener still gets. No decoder needs more for its first frame."""


class Heard(NamedTuple):
    """A packet, the pts that others may know of it, why it begins anew, and what it is told with."""

    packet: av.Packet[Any]
    told_pts: int | None
    start: StartReason
    headers: bytes = b""
    """Units that a listener has to read before it."""


class Listening:
    """Passive; one thread at a time. Opening is kept until somebody has heard it, or nobody wants it."""

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._kept: deque[Heard] | None = None
        self.keep_opening()

    @property
    def kept(self) -> list[Heard] | None:
        """The packets that opening has read, in the order of decoding; None once they are forgotten."""
        return None if self._kept is None else list(self._kept)

    def begin(self, listener: Listener) -> None:
        """Hand every packet to ``listener``, beginning with those that opening has read."""
        kept, self._kept = self._kept, None
        self._listener = listener
        for heard in kept or ():
            self._tell(heard)

    def keep_opening(self) -> None:
        """What comes now is opened, or opened again: who listens later has to hear it too."""
        self._kept = deque(maxlen=_KEPT_PACKETS)

    def forget_opening(self) -> None:
        """Nobody asked for the packets that opening, or opening again, has read."""
        self._kept = None

    def leave(self) -> None:
        """Who has listened does so no more. Who listens next hears what has come since the reconnect."""
        self._listener = None

    def end(self) -> None:
        """Who has listened does so no more, and opening is forgotten."""
        self._listener = self._kept = None

    def take(self, heard: Heard) -> None:
        """The next packet."""
        self._tell(heard)
        if self._kept is not None:
            self._kept.append(heard)

    def _tell(self, heard: Heard) -> None:
        # Who listens may leave at any packet, those of opening too.
        if self._listener is not None:
            packet = heard.packet
            data = heard.headers + bytes(packet)
            self._listener(Packet(data, heard.told_pts, packet.is_keyframe, heard.start))
