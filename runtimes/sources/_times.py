"""When pictures are shown, in streams whose container does not say it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import av

_NO_PRESENTATION_TIMES = frozenset({"avi", "asf", "mxf"})
"""Containers (FFmpeg's names) that time packets in decoding order."""
_NOT_GUESSED = frozenset({"h264", "hevc"})
"""Codecs for which FFmpeg takes that for the presentation time. For others it works out the right one."""

_STILL_PACKETS = 4
"""So many packets of one time at the start of a file: nobody has written times into it."""


class PacketTimes:
    """The times of a stream's packets, or their numbers where it has no times. Passive.

    The decoder hands a number on as it does a time. That tells which frame came from which packet.
    """

    def __init__(self) -> None:
        self.timed: bool | None = None
        """Whether packets have times; None before the first."""
        self.restart()

    def restart(self) -> None:
        """Begin with the first packet again."""
        self._counted = -1
        self._first: int | None = None
        self._still = 0

    def take(self, packet: av.Packet[Any], start_time: int | None, waiting: Iterable[av.Packet[Any]]) -> None:
        """The next packet, which gets a number where there are no times. So do those that are ``waiting``,
        taken but not used yet, where it shows only now. ``start_time`` is what the container says."""
        if self.timed is None:
            # Matroska cannot say a time below 0. Then the first packets have none, but the stream has.
            told = (packet.pts, packet.dts, start_time)
            self.timed = any(time is not None for time in told)
        if self.timed and self._stands_still(packet.pts):
            earlier = list(waiting)
            # Once one of them was used, it is too late.
            if len(earlier) == _STILL_PACKETS - 1:
                self.timed = False
                for each in earlier:
                    self._number(each)
        if not self.timed:
            self._number(packet)

    def _stands_still(self, pts: int | None) -> bool:
        """Whether this packet is the last of those that make it certain that times do not move on."""
        if self._still < 0 or pts is None or self._first not in (None, pts):
            self._still = -1
            return False
        self._first = pts
        self._still += 1
        return self._still == _STILL_PACKETS

    def _number(self, packet: av.Packet[Any]) -> None:
        self._counted += 1
        packet.pts = self._counted


class ShownTimes:
    """Times for the pictures of one stream. Passive.

    Where each packet is later than the one before although pictures are reordered, the times only count the
    packets: then the first picture shown gets the first time, and so on.
    """

    def __init__(self, container: str, codec: str, reorders: bool) -> None:
        self.counted = reorders and codec in _NOT_GUESSED and container in _NO_PRESENTATION_TIMES
        """Whether the times only count packets."""
        # After a seek, FFmpeg joins packets of ASF with the times of others.
        self.lost_by_seeking = self.counted and container == "asf"
        """Whether times are right from the start of the file only."""
        self.restart()

    def restart(self) -> None:
        """Begin anew, after a seek."""
        self._times: deque[int] = deque()
        self._decoding: set[int] = set()
        self._latest: int | None = None
        self.begins_seconds: float | None = None
        """When the first picture is shown, if its packet has no time; None before `begin`."""

    def begin(self, pts: Sequence[int | None], time_base: Fraction, fps: float) -> None:
        """The times of the first packet and of those after it that are there already, in decoding order.

        Packets without a time are shown before the others.
        """
        known = [time for time in pts if time is not None]
        self.begins_seconds = float(min(known, default=0) * time_base) - (len(pts) - len(known)) / fps

    def fed(self, packet: av.Packet[Any]) -> None:
        """The next packet for the decoder."""
        if not self.counted or packet.pts is None:
            return
        self.counted = self._latest is None or packet.pts > self._latest
        self._latest = packet.pts
        self._times.append(packet.pts)
        self._decoding.add(packet.pts)

    def shown(self, picture: av.VideoFrame) -> int | None:
        """The time of the next picture shown, in units of the stream; None where it has none."""
        pts = picture.pts
        if not self.counted or pts not in self._decoding:
            return pts
        if picture.key_frame:
            # All that was decoded before a key frame has been shown; what was not, never will be.
            for lost in [other for other in self._decoding if other < pts]:
                self._decoding.discard(lost)
                self._times.popleft()
        self._decoding.discard(pts)
        return self._times.popleft()

    def told(self, pts: int | None) -> int | None:
        """The presentation time of a packet or picture that others may know; None where it only counts."""
        return None if self.counted else pts
