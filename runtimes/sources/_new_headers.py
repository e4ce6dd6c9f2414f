"""Headers that a container hands out beside a packet, where others hold from there on.

FLV does so where an encoder was set anew, and MP4 where it has several sample descriptions. FFmpeg's decoders
take them from the packet. Who reads packets by himself needs them inside, as a stream with start codes has
them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, Final

import av
from av.packet import PacketSideData

from edge_vss.runtimes.sources import _hevc_numbers as hevc
from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._bytes import looked_through

_NAME: Final = "new_extradata"

_FLV_VIDEO, _FLV_TYPES = 9, 31
_FLV_ENHANCED, _FLV_LOW = 0x80, 15
_FLV_AVC, _FLV_HEVC = 7, 12
_FLV_TAG_HEAD, _FLV_TAG_SIZE = 11, 4
"""Adobe's specification, version 10.1, E.4; enhanced FLV marks its tags with the highest bit."""


def beside(packet: av.Packet[Any]) -> PacketSideData | None:
    """What a demuxer hands out with a packet from which on other headers hold; None with all others."""
    return packet.get_sidedata(_NAME) if packet.has_sidedata(_NAME) else None


class InForce:
    """Which headers hold. Packets are looked at by order of the demuxer, and again by that of decoding, which
    is some packets behind. Passive."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._demuxed: PacketSideData | None = None
        self._decoded = b""

    def demuxed(self, packet: av.Packet[Any]) -> bytes:
        """The next packet of the demuxer: what is to be read before it by who reads all of them."""
        new = beside(packet)
        self._demuxed = new or self._demuxed
        return inside(new, self._codec)

    def decoded(self, packet: av.Packet[Any]) -> bytes:
        """The next packet of the decoder: what is to be read before it by who may begin there."""
        new = inside(beside(packet), self._codec)
        self._decoded = new or self._decoded
        return self._decoded if new or packet.is_keyframe else b""

    def landed(self, packet: av.Packet[Any]) -> None:
        """After a seek, with the next packet of both. Packets were left out, and what came with them holds
        all the same: no demuxer hands it out twice."""
        if self._demuxed is not None and beside(packet) is None:
            packet.set_sidedata(self._demuxed)


def inside(headers: PacketSideData | None, codec: str) -> bytes:
    """The same as units of the stream, with lengths or start codes as the stream's packets have them; empty
    for None, and for codecs whose packets nobody else reads."""
    record = b"" if headers is None else bytes(headers)
    if codec == "h264" and (size := sps.length_bytes(record)):
        return _with_lengths(sps.parameter_sets(record), size)
    if codec == "hevc" and (size := hevc.length_bytes(record)):
        return _with_lengths(hevc.of_record(record), size)
    return record if codec in ("h264", "hevc", "mpeg4") else b""


def _with_lengths(units: Iterator[bytes] | list[bytes], size: int) -> bytes:
    return b"".join(len(unit).to_bytes(size, "big") + unit for unit in units)


def are_lost_by_seeking(container: Any, uri: str) -> bool:
    """Whether a file has several headers, and tells them only to those who read past them."""
    if container.format.name != "flv":
        return False
    found = looked_through(uri, lambda data: set(_flv_headers(data)))
    return found is not None and len(found) > 1


def _flv_headers(data: mmap.mmap) -> Iterator[bytes]:
    """The headers of all video tags that hold some."""
    place = int.from_bytes(data[5:9], "big") + _FLV_TAG_SIZE
    while place + _FLV_TAG_HEAD < len(data):
        body = place + _FLV_TAG_HEAD
        size = int.from_bytes(data[place + 1 : place + 4], "big")
        if data[place] & _FLV_TYPES == _FLV_VIDEO and size > 1:
            first, second = data[body], data[body + 1]
            enhanced = bool(first & _FLV_ENHANCED)
            plain = not enhanced and first & _FLV_LOW in (_FLV_AVC, _FLV_HEVC) and second == 0
            if plain or (enhanced and first & _FLV_LOW == 0):
                yield data[body : body + size]
        place = body + size + _FLV_TAG_SIZE
