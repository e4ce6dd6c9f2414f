"""When the pictures of a live stream were taken: as the camera says, or when their packets arrived."""

from __future__ import annotations

import struct
import time
from collections import OrderedDict
from typing import Any

import av

_KEPT = 256
"""Packets whose frames may still come: more than any decoder holds."""


class Captures:
    """Times of packets, for the frames that come out of them. Passive.

    Cameras tell their wall clock in RTCP, some seconds after they begin to send. FFmpeg hands it on with
    every packet (AVProducerReferenceTime: microseconds of Unix time as int64, then int flags).
    """

    def __init__(self) -> None:
        self._times: OrderedDict[int | None, tuple[float, float | None]] = OrderedDict()

    def arrived(self, packet: av.Packet[Any]) -> None:
        """A packet has come just now."""
        told = None
        if packet.has_sidedata("prft"):
            told = struct.unpack_from("q", bytes(packet.get_sidedata("prft")))[0] / 1e6
        self._times[packet.pts] = time.time(), told
        if len(self._times) > _KEPT:
            self._times.popitem(last=False)

    def of(self, pts: int | None) -> tuple[float | None, float | None]:
        """When the packet with this pts arrived, and when the camera says that its picture was taken, both in
        seconds of Unix time; None for what is not known."""
        return self._times.get(pts, (None, None))
