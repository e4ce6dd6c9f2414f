"""HEVC that is read and not decoded: frames with their vectors, and with pictures only where wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from time import perf_counter
from typing import Any

import av
import av.error
from av.codec.context import Flags, Flags2

from edge_vss.orientation import Orientation
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion._hevc.parser import Parser, Picture
from edge_vss.runtimes.motion._hevc.vectors import Shown, size_of
from edge_vss.runtimes.sources import _continuity as continuity
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture
from edge_vss.runtimes.sources._decoding import Decoding
from edge_vss.video import Frame, NoPicture, Packet, Size


@dataclass(frozen=True, order=True)
class _Coded:
    """A packet that was read, in the order of showing."""

    sequence: int
    """Which sequence it belongs to: picture order counts are compared within one."""
    poc: int
    number: int
    """Of the packet, in the order of decoding."""

    packet: Packet
    picture: Picture
    seconds: float


class Parsing:
    """The frames of an opened stream from the current position on. Passive; one thread at a time.

    They are put into the order of showing as the standard does it (ITU-T H.265, C.5.2), without their pixels.
    """

    def __init__(
        self, decoding: Decoding, orientation: Orientation, pictures: str, begin_seconds: float | None = None
    ) -> None:
        """``pictures`` as for `open_source`. Frames before ``begin_seconds`` are read and not given out."""
        self._decoding = decoding
        self._orientation = orientation
        self._pictures = pictures
        self._begin_seconds = begin_seconds
        self._parser = Parser(decoding.extradata)
        self._shown = Shown(orientation)
        self._keys = _KeyPictures(decoding, orientation)
        self._arrived: deque[Packet] = deque()
        self._waiting: list[_Coded] = []
        self._sequence = self._number = 0
        self._break: tuple[str, int] | None = None
        """A reason to begin anew, and the packet from which on it holds."""
        self._lost = False
        self._index, self._pts_seconds = -1, -1 / decoding.fps
        self._size: Size | None = None

    def frames(self) -> Iterator[Frame]:
        """The frames, each as soon as it is certain that none is shown before it."""
        self._decoding.listen(self._arrived.append)
        for packet in self._decoding.packets():
            while self._arrived:
                for coded in self._read(self._arrived.popleft()):
                    yield from self._given(coded)
            if packet is None:
                while self._waiting:
                    yield from self._given(heappop(self._waiting))

    def _read(self, packet: Packet) -> Iterator[_Coded]:
        """What is shown next, now that this packet is read."""
        began = perf_counter()
        self._number += 1
        # After lost packets the parser goes on: it knows which references are missing.
        if packet.start and packet.start != continuity.LOST:
            self._parser.restart()
        if packet.start:
            self._break = self._break or (packet.start, self._number)
        pictures = self._parser.read(packet.data)
        for reason in self._parser.new_reasons():
            LOG.warning("%s: HEVC motion could not be read everywhere: %s", self._decoding.name, reason)
        if len(pictures) != 1:
            self._decoding.errors += 1
            self._break = self._break or (continuity.DAMAGED, self._number)
            return
        (picture,) = pictures
        self._sequence += picture.starts
        if picture.shown:
            seconds = perf_counter() - began
            heappush(
                self._waiting, _Coded(self._sequence, picture.poc, self._number, packet, picture, seconds)
            )
        while self._waiting and (
            self._waiting[0].sequence < self._sequence or len(self._waiting) > picture.reordered
        ):
            yield heappop(self._waiting)

    def _given(self, coded: _Coded) -> Iterator[Frame]:
        """The frame, unless it comes before the one that was asked for."""
        began = perf_counter()
        picture, packet = coded.picture, coded.packet
        times = self._decoding.times
        self._pts_seconds += 1 / self._decoding.fps
        if packet.pts is not None and times is not None:
            self._pts_seconds = float(packet.pts * times)
        vectors = self._shown.vectors(picture)
        if self._begin_seconds is not None:
            if self._pts_seconds < self._begin_seconds - 1e-6:
                return
            self._begin_seconds = None
            self._index = max(0, round(self._pts_seconds * self._decoding.fps)) - 1
        self._index += 1
        size = self._orientation.size(size_of(picture))
        frame = Frame(
            index=self._index,
            pts_seconds=self._pts_seconds,
            picture_type=picture.picture_type,
            size=size,
            picture=NoPicture(self._index, self._pictures),
            start=self._start(coded, size),
            vectors=vectors,
            pts=packet.pts,
        )
        if self._pictures == "key" and picture.picture_type == "I" and picture.complete:
            frame.picture = self._keys.decoded(packet) or frame.picture
        frame.seconds["decode"] = coded.seconds + perf_counter() - began
        yield frame

    def _start(self, coded: _Coded, size: Size) -> str:
        reason = ""
        if self._break is not None and coded.number >= self._break[1]:
            reason, self._break = self._break[0], None
        missing = coded.picture.missing_references > 0
        if missing and not self._lost:
            reason = reason or continuity.LOST
        self._lost = missing
        before, self._size = self._size, size
        if self._index == 0:
            return "first frame"
        return "size changed" if before is not None and before != size else reason


class _KeyPictures:
    """Decodes pictures that need no other."""

    def __init__(self, decoding: Decoding, orientation: Orientation) -> None:
        self._decoding = decoding
        self._orientation = orientation
        self._converters = Converters()

    def decoded(self, packet: Packet) -> DecodedPicture | None:
        """The picture of a packet; None where it cannot be decoded by itself."""
        # A new decoder for each: what waits in one that is at its end cannot come out late, or as another.
        decoder: Any = av.CodecContext.create(self._decoding.stream.codec_context.codec.name, "r")
        if self._decoding.extradata:
            decoder.extradata = self._decoding.extradata
        # An I-frame where decoding does not begin counts as damaged, because pictures are missing before it.
        decoder.flags |= Flags.output_corrupt
        decoder.flags2 |= Flags2.show_all
        try:
            found = [*decoder.decode(av.Packet(packet.data)), *decoder.decode(None)]
        except av.error.FFmpegError:
            found = []
        if len(found) != 1:
            LOG.warning("%s: an I-frame could not be decoded by itself", self._decoding.name)
            return None
        return DecodedPicture(found[0], self._orientation, self._converters)


def what_hinders(decoding: Decoding) -> str:
    """Why a stream that was just opened cannot be read without decoding it, in a clause; empty where it can.

    Raises MissingExtra without the parser.
    """
    parser = Parser(decoding.extradata)
    if any(picture.shown for packet in decoding.opened_with for picture in parser.read(packet)):
        return ""
    return ", ".join(parser.new_reasons()) or "its first picture could not be read"
