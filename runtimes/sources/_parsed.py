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
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture
from edge_vss.runtimes.sources._decoding import Decoding
from edge_vss.video import Frame, NoPicture, Packet, Size, StartReason


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

    They end where a camera comes back with another codec: what follows has to be decoded.

    They are put into the order of showing as the standard does it (ITU-T H.265, C.5.2), without their pixels.
    """

    def __init__(self, decoding: Decoding, orientation: Orientation, pictures: str) -> None:
        """``pictures`` as for `open_source`."""
        self._decoding = decoding
        self._orientation = orientation
        self._pictures = pictures
        self._parser = Parser(decoding.coded.extradata)
        self._keys = _KeyPictures(decoding, orientation)
        self._arrived: deque[Packet] = deque()
        self._sequence = self._number = 0
        self._not_read: av.Packet[Any] | None = None
        self.another_codec = False
        """Whether `frames` ended because the camera came back with another codec."""
        self._begin()

    def _begin(self) -> None:
        self._arrived.clear()
        self._waiting: list[_Coded] = []
        self._shown = Shown(self._orientation)
        self._size: Size | None = None
        self._ruined = False

    def frames(self) -> Iterator[Frame]:
        """The frames, each as soon as it is certain that none is shown before it."""
        self._decoding.begin_again()
        self._decoding.coded.listening.begin(self._arrived.append)
        yield from self._landed()
        while self._decoding.land_again():
            self._begin()
            yield from self._landed()
        if self._not_read is not None:
            self._decoding.coded.listening.leave()
            self._decoding.coded.give_back(self._not_read)
            self.another_codec, self._not_read = True, None

    def _landed(self) -> Iterator[Frame]:
        for coded in self._in_order():
            began = perf_counter()
            picture, packet = coded.picture, coded.packet
            # What refers to a lost picture is ruined, and so is what refers to that, up to an I-picture.
            self._ruined = picture.missing_references > 0 or (self._ruined and picture.picture_type != "I")
            if self._decoding.withholds(not self._ruined):
                continue
            frame = self._frame(coded)
            if self._decoding.missed(frame):
                return
            if not self._decoding.is_wanted(frame, packet.pts, picture.starts and not self._ruined):
                self._size = None
                continue
            self._size = frame.size
            frame.picture = NoPicture(frame.index, self._pictures)
            if self._pictures == "key" and picture.picture_type == "I" and picture.complete:
                frame.picture = self._keys.decoded(packet) or frame.picture
            frame.seconds["decode"] = coded.seconds + perf_counter() - began
            yield frame
        self._decoding.finish()

    def _in_order(self) -> Iterator[_Coded]:
        """The pictures in the order of showing."""
        for packet in self._decoding.coded.packets():
            if packet is not None and self._decoding.coded.codec != "hevc":
                self._not_read = packet
                return
            while self._arrived:
                yield from self._read(self._arrived.popleft())
            if packet is None:
                while self._waiting:
                    yield heappop(self._waiting)

    def _read(self, packet: Packet) -> Iterator[_Coded]:
        """What is shown next, now that this packet is read."""
        began = perf_counter()
        self._number += 1
        if packet.start is StartReason.RECONNECTED:
            # The parameter sets may stand nowhere but in the new stream's own description.
            self._parser = Parser(self._decoding.coded.extradata)
            self._decoding.coded.listening.forget_opening()
        # After lost packets the parser goes on: it knows which references are missing.
        elif packet.start and packet.start != StartReason.LOST_PACKETS:
            self._parser.restart()
        pictures = self._parser.read(packet.data)
        for reason in self._parser.new_reasons():
            LOG.warning("%s: HEVC motion could not be read everywhere: %s", self._decoding.coded.name, reason)
        if len(pictures) != 1:
            self._decoding.coded.damaged(packet.pts, delayed=False)
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

    def _frame(self, coded: _Coded) -> Frame:
        pts = coded.packet.pts
        frame = Frame(
            index=0,
            pts_seconds=0.0,
            picture_type=coded.picture.picture_type,
            size=self._orientation.size(size_of(coded.picture)),
            picture=NoPicture(0, self._pictures),
            vectors=self._shown.vectors(coded.picture),
        )
        return self._decoding.placed(frame, pts, pts, not self._ruined, self._size)


class _KeyPictures:
    """Decodes pictures that need no other."""

    def __init__(self, decoding: Decoding, orientation: Orientation) -> None:
        self._decoding = decoding
        self._orientation = orientation
        self._converters = Converters()

    def decoded(self, packet: Packet) -> DecodedPicture | None:
        """The picture of a packet; None where it cannot be decoded by itself."""
        # A new decoder for each: what waits in one that is at its end cannot come out late, or as another.
        decoder: Any = av.CodecContext.create(self._decoding.coded.stream.codec_context.codec.name, "r")
        if self._decoding.coded.extradata:
            decoder.extradata = self._decoding.coded.extradata
        # An I-frame where decoding does not begin counts as damaged, because pictures are missing before it.
        decoder.flags |= Flags.output_corrupt
        decoder.flags2 |= Flags2.show_all
        try:
            found = [*decoder.decode(av.Packet(packet.data)), *decoder.decode(None)]
        except av.error.FFmpegError:
            found = []
        if len(found) != 1:
            LOG.warning("%s: an I-frame could not be decoded by itself", self._decoding.coded.name)
            return None
        return DecodedPicture(found[0], self._orientation, self._converters)


def what_hinders(decoding: Decoding) -> str:
    """Why a stream that was just opened cannot be read without decoding it, in a clause; empty where it can.

    Raises MissingExtra without the parser.
    """
    parser = Parser(decoding.coded.extradata)
    if decoding.coded.guessed:
        return "its container does not say when pictures are shown"
    opened_with = decoding.coded.listening.kept or ()
    if any(picture.shown for heard in opened_with for picture in parser.read(bytes(heard.packet))):
        return ""
    return ", ".join(parser.new_reasons()) or "its first picture could not be read"
