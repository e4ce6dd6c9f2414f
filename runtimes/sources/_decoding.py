"""One video stream being decoded: its packets, its frames, and what was lost on the way."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from time import monotonic, perf_counter, sleep
from typing import Any

import av
import av.error

from edge_vss.errors import SourceError
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.sources import SourceOptions
from edge_vss.runtimes.sources import _continuity as continuity
from edge_vss.runtimes.sources._container import frame_rate, open_container, timed_out, video_stream
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture, side_data
from edge_vss.text import without_password
from edge_vss.video import Frame, Packet, Size

_PICTURE_TYPES = {1: "I", 2: "P", 3: "B", 4: "S", 5: "I", 6: "P", 7: "B"}
_DEMUX_FAILURES = 100
_RETRY_SECONDS = 0.5
_KEPT_PACKETS = 64
"""Packets read while opening that a listener still gets. No decoder needs more for its first frame."""


class Decoding:
    """The decoder's half of a reader. Passive; one thread at a time.

    It knows nothing of the generator that runs in it. So nothing refers to itself, and the file is closed as
    soon as nobody needs it any more.
    """

    def __init__(self, uri: str, options: SourceOptions, vector_codecs: frozenset[str]) -> None:
        self.errors = 0
        self.name = without_password(uri)
        self._uri = uri
        self._options = options
        self._vector_codecs = vector_codecs
        self._closed = False
        self._converters = Converters()
        self._break = ""
        self._break_pts: int | None = None
        self._packet_start = ""
        self._spent = 0.0
        self._listener: Listener | None = None
        self._kept: deque[tuple[av.Packet[Any], str]] | None = deque(maxlen=_KEPT_PACKETS)
        self._connect()
        self.fps = options.fps or frame_rate(self.stream)
        self._index = -1
        self._pts_seconds = -1 / self.fps
        self._skip_before: float | None = None
        self._timed: bool | None = None
        self._counted = -1

    def _connect(self) -> None:
        self.container = container = open_container(self._uri, self._options)
        # PyAV's container and its streams refer to each other, so that a file nobody closed would wait for
        # the garbage collector. This closes it when the Decoding goes. It is not done in __del__: Python
        # swallows what is raised there, and that may be a Ctrl-C. A call into PyAV cannot be interrupted.
        self._closing = weakref.ref(self, partial(container.__exit__, None, None))
        try:
            self.stream = video_stream(container, self.name)
            self.time_base = self.stream.time_base or Fraction(1, 90_000)
            context = self.stream.codec_context
            self.codec = getattr(context.codec, "canonical_name", context.name)
            self.exports = self._options.vectors and self.codec in self._vector_codecs
            if self.exports:
                context.options = {**context.options, "flags2": "+export_mvs"}
            # With B-frames, frame threads give other vectors from run to run. They also delay a live picture.
            context.thread_type = "SLICE" if self.exports or self._options.live else "AUTO"
            self.extradata = bytes(context.extradata or b"")
            self._continuity = continuity.Continuity(self.codec, self.extradata)
        except BaseException:
            container.close()
            raise

    @property
    def times(self) -> Fraction | None:
        """Seconds per unit of pts; None where the packets carry no times and are counted instead."""
        return self.time_base if self._timed else None

    def listen(self, listener: Listener) -> None:
        """Hand every packet to ``listener``, beginning with those that opening has read."""
        kept, self._kept = self._kept, None
        self._listener = listener
        for packet, start in kept or ():
            self._tell(packet, start)

    @property
    def opened_with(self) -> list[bytes]:
        """The packets that opening has read, in the order of decoding; empty once they are forgotten."""
        return [bytes(packet) for packet, _ in self._kept or ()]

    def forget_opening(self) -> None:
        """Nobody asked for the packets that opening has read."""
        self._kept = None

    def seek(self, seconds: float) -> None:
        """Go to the key frame before this time; `frames` then begins at the first frame at or after it."""
        try:
            self.container.seek(round(seconds / self.time_base), stream=self.stream)
        except av.error.FFmpegError as error:
            raise SourceError(
                f"cannot seek to {seconds} s in {self.name} ({error.strerror}): read it from the start"
            ) from None
        self._continuity.restart()
        self._break, self._break_pts = "seek", None
        self._packet_start = "seek"
        self._skip_before = seconds
        self._listener = self._kept = None

    def close(self) -> None:
        """Close the file or device."""
        self._closed = True
        self._listener = self._kept = None
        self.container.close()

    def frames(self) -> Iterator[Frame]:
        """The frames from here on, in display order. Damaged packets are passed over and counted."""
        size: Size | None = None
        for packet in self.packets():
            began = perf_counter()
            try:
                pictures = self.stream.codec_context.decode(packet)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._damaged(packet)
                pictures = []
            self._spent += perf_counter() - began
            # At its end, a decoder with threads gives many frames at once.
            spent, self._spent = self._spent / max(1, len(pictures)), 0.0 if pictures else self._spent
            for picture in pictures:
                frame = self._frame(picture, size, spent)
                size = frame.size
                if self._skip_before is not None:
                    if frame.pts_seconds < self._skip_before - 1e-6:
                        self._break = self._break or frame.start
                        size = None
                        continue
                    self._skip_before = None
                    self._index = max(0, round(frame.pts_seconds * self.fps))
                    frame.index = self._index
                yield frame

    def packets(self) -> Iterator[av.Packet[Any] | None]:
        """The stream's packets, and None at the end, so that the decoder gives out what it still holds."""
        failures = 0
        while True:
            ended = False
            try:
                began = perf_counter()
                for packet in self.container.demux(self.stream):
                    if not self._options.live:
                        self._spent += perf_counter() - began
                    if packet.size:
                        failures = 0
                        self._count(packet)
                        self._watch(packet)
                        yield packet
                    began = perf_counter()
                ended, reason = True, "the stream ended"
            except av.error.InvalidDataError:
                failures += 1
                self._damaged(None)
                if failures < _DEMUX_FAILURES:
                    continue
                reason = "it holds nothing but damaged packets from here on"
            except av.error.FFmpegError as error:
                self.errors += 1
                reason = (
                    f"nothing came for {self._options.timeout_seconds:g} s"
                    if timed_out(error)
                    else str(error.strerror)
                )
            yield None
            if not self._options.live or self._closed:
                return
            if not self._options.reconnect_seconds:
                if ended:
                    return
                raise SourceError(f"{self.name} fell silent ({reason}): check the camera and the network")
            self._reconnect(reason)

    def _count(self, packet: av.Packet[Any]) -> None:
        # Where a stream has no times, its packets are counted instead. The decoder hands the number on, and
        # that tells which frame came from which packet.
        if self._timed is None:
            self._timed = packet.pts is not None or packet.dts is not None
        if not self._timed:
            self._counted += 1
            packet.pts = self._counted

    def _watch(self, packet: av.Packet[Any]) -> None:
        head = continuity.PacketHead(
            continuity.head_bytes(memoryview(packet)), packet.dts, packet.duration or None, packet.is_corrupt
        )
        reason = self._continuity.check(head)
        if reason:
            self._log(reason, packet)
            self._break, self._break_pts = self._break or reason, packet.pts
        elif self._break and self._break_pts is not None and packet.pts is not None:
            # B-frames decoded after the loss but shown before it may refer to what is missing.
            self._break_pts = min(self._break_pts, packet.pts)
        start, self._packet_start = self._packet_start or reason, ""
        if self._listener is not None:
            self._tell(packet, start)
        elif self._kept is not None:
            self._kept.append((packet, start))

    def _tell(self, packet: av.Packet[Any], start: str) -> None:
        listener = self._listener
        if listener is not None:
            listener(Packet(bytes(packet), packet.pts, packet.is_keyframe, start))

    def _damaged(self, packet: av.Packet[Any] | None) -> None:
        self.errors += 1
        self._log(continuity.DAMAGED, packet)
        self._break = self._break or continuity.DAMAGED
        self._break_pts = packet.pts if packet is not None else None

    def _log(self, reason: str, packet: av.Packet[Any] | None) -> None:
        pts = packet.pts if packet is not None else None
        where = "" if pts is None or not self._timed else f" at {float(pts * self.time_base):.3f} s"
        LOG.warning("%s: %s%s", self.name, reason, where)

    def _reconnect(self, reason: str) -> None:
        LOG.warning("%s: %s, so it is opened again", self.name, reason)
        self.container.close()
        deadline = monotonic() + self._options.reconnect_seconds
        while not self._closed and not self._connected():
            if monotonic() > deadline:
                raise SourceError(
                    f"{self.name} did not come back within {self._options.reconnect_seconds:g} s ({reason}): "
                    "check the camera and the network"
                )
            sleep(_RETRY_SECONDS)
        if not self._closed:
            LOG.warning("%s: is back", self.name)
        self._break, self._break_pts = "reconnected", None
        self._packet_start = "reconnected"

    def _connected(self) -> bool:
        try:
            self._connect()
        except SourceError:
            return False
        return True

    def _frame(self, picture: av.VideoFrame, size: Size | None, spent: float) -> Frame:
        orientation, vectors = side_data(picture, self.exports)
        shown = orientation.size((picture.height, picture.width))
        self._index += 1
        self._pts_seconds += 1 / self.fps
        if picture.pts is not None and self._timed:
            self._pts_seconds = float(picture.pts * (picture.time_base or self.time_base))
        return Frame(
            index=self._index,
            pts_seconds=self._pts_seconds,
            picture_type=_PICTURE_TYPES.get(int(picture.pict_type), "?"),
            size=shown,
            picture=DecodedPicture(picture, orientation, self._converters),
            start=self._start(picture, size, shown),
            vectors=vectors,
            pts=picture.pts,
            seconds={"decode": spent},
        )

    def _start(self, picture: av.VideoFrame, size: Size | None, shown: Size) -> str:
        reason = ""
        if self._break and (picture.pts is None or self._break_pts is None or picture.pts >= self._break_pts):
            reason, self._break = self._break, ""
        if self._index == 0:
            return "first frame"
        if size is not None and size != shown:
            return "size changed"
        return reason or (continuity.DAMAGED if picture.is_corrupt else "")
