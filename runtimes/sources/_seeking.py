"""Finding where decoding has to begin for one frame. A demuxer's answer to a seek is only a hint.

MPEG-TS and MPEG-PS land on any packet, FLV and fragmented MP4 on a key frame that is shown too late, and what
a container marks as a key frame need not be one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error

from edge_vss.runtimes.sources._streams import packets_of

_FIRST_STEP_SECONDS = 1

_TIMES_IN_A_TABLE = ("mp4", "avi", "mxf")
"""Containers (parts of FFmpeg's names) whose mean rate is no guess."""
_STEADY = 0.001
"""Share by which the mean rate may differ from the usual one of a steady stream."""
_MOST_BYTES = 2**28
"""Larger files are not read through for a frame's number; the rate that they tell has to do."""

_CLOSE_SECONDS = 1e-6
"""What counts as the same time."""

_PACKETS_ACROSS_FRAMES = frozenset({"mpeg", "mpegts"})
"""Containers (FFmpeg's names) whose packets need not begin with a frame. After a seek into the middle of one,
the times of the next frames may be those of others."""


def landings(wanted: int, first: int, time_base: Fraction) -> Iterator[int]:
    """Where to seek, one place after another, in units of ``time_base``: each twice as far back as the one
    before, so that all attempts together read little more than the last. ``first`` comes last."""
    back, step = 0, max(1, round(_FIRST_STEP_SECONDS / time_base))
    while wanted - back > first:
        yield wanted - back
        back = 2 * back or step
    yield first


def has_steady_rate(container: Any, stream: av.VideoStream) -> bool:
    """Whether frames are surely evenly apart: then times give their numbers."""
    mean, usual = stream.average_rate, stream.base_rate
    told = any(name in container.format.name for name in _TIMES_IN_A_TABLE)
    if not told or not mean or not usual:
        return False
    return abs(mean / usual - 1) < _STEADY


def shown_times(container: Any, stream: av.VideoStream, uri: str) -> list[int]:
    """When each frame is shown, in order, by reading all packets without decoding them; empty for what is no
    file, or too large for that."""
    if "://" in uri or os.path.getsize(uri) > _MOST_BYTES:
        return []
    packets = packets_of(container, stream)
    return sorted(packet.pts for packet in packets if packet.pts is not None and not packet.is_discard)


@dataclass(frozen=True)
class _Key:
    """A key packet that was found, and how many packets were read before it."""

    packet: av.Packet[Any]
    read: int

    def confirms(self, other: _Key | None) -> bool:
        """Whether the same packet had the same time, seen from nearer."""
        return other is not None and other.packet.pts == self.packet.pts and other.read < self.read


@dataclass
class Seek:
    """A seek under way."""

    seconds: float
    """The presentation time that is wanted."""
    wanted: int
    """The same in the stream's units."""
    places: Iterator[int]
    """Where to begin next if this time decoding begins too late."""
    keys: int = 1
    """How many key frames have to come before times can be trusted."""
    counted: bool = False
    """Whether decoding began with the file, so that every frame was counted."""

    @property
    def settled(self) -> bool:
        """Whether decoding has begun early enough."""
        return self.counted or self.keys <= 0

    def begin(
        self, container: Any, stream: av.VideoStream, read_one: Callable[[av.Packet[Any]], object]
    ) -> av.Packet[Any] | None:
        """Moves to the next place that may do, and gives the key packet there; None where only the start of
        the file is left. The demuxer goes on with the packet after it. ``read_one`` hears of every packet
        that is read on the way."""
        before: _Key | None = None
        for at in self.places:
            found = self._key(container, stream, at, before, read_one)
            if found is not None and (
                container.format.name not in _PACKETS_ACROSS_FRAMES or found.confirms(before)
            ):
                return found.packet
            before = found
        return None

    def _key(
        self,
        container: Any,
        stream: av.VideoStream,
        at: int,
        known: _Key | None,
        read_one: Callable[[av.Packet[Any]], object],
    ) -> _Key | None:
        """The first key packet after ``at`` that is shown in time, or the one that is ``known`` already."""
        same, read = None if known is None else bytes(known.packet), 0
        try:
            container.seek(at, stream=stream)
            for packet in packets_of(container, stream):
                read_one(packet)
                time = packet.dts if packet.pts is None else packet.pts
                if packet.size and packet.is_keyframe and time is not None:
                    if time > self.wanted:
                        return None
                    if same is None or same == bytes(packet):
                        return _Key(packet, read)
                read += 1
                # Nothing is shown before it is decoded.
                if packet.dts is not None and packet.dts > self.wanted:
                    return None
        except av.error.FFmpegError:
            pass
        return None

    def missed(self, pts_seconds: float) -> bool:
        """Whether decoding began too late, as a picture of this time shows."""
        return not self.settled and pts_seconds > self.seconds + _CLOSE_SECONDS

    def reached(self, pts_seconds: float, whole: bool) -> bool:
        """Whether a picture is the one that was wanted. ``whole``: decoding can begin with it, and nothing
        that it needs was missing."""
        self.keys -= whole
        return self.settled and pts_seconds >= self.seconds - _CLOSE_SECONDS
