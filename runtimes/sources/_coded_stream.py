"""The packets of one video stream: opened, read ahead, watched for losses, and opened again after silence."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any

import av
import av.error

from edge_vss.errors import SourceError
from edge_vss.plugins import LOG
from edge_vss.runtimes.sources import SourceOptions
from edge_vss.runtimes.sources import _continuity as continuity
from edge_vss.runtimes.sources import _new_headers as new_headers
from edge_vss.runtimes.sources._again import Patience
from edge_vss.runtimes.sources._another_video import tell_of_another_video
from edge_vss.runtimes.sources._breaks import Breaks, Marks
from edge_vss.runtimes.sources._captures import Captures
from edge_vss.runtimes.sources._container import broke_off, frame_rate, open_container, timed_out
from edge_vss.runtimes.sources._decoder import Decoder
from edge_vss.runtimes.sources._listening import Heard, Listening
from edge_vss.runtimes.sources._sps import Cropping
from edge_vss.runtimes.sources._streams import leave_out_others, packets_of, video_stream
from edge_vss.runtimes.sources._times import PacketTimes, ShownTimes
from edge_vss.text import without_password
from edge_vss.video import StartReason

_DEMUX_FAILURES = 100


@dataclass(frozen=True)
class _Demuxed:
    packet: av.Packet[Any]
    head: continuity.PacketHead
    torn: bool
    """Whether the demuxer met damage before it."""


class CodedStream:
    """Passive; one thread at a time.

    It knows nothing of the generators that run in it. So nothing refers to itself, and the file is closed as
    soon as nobody needs it any more.
    """

    def __init__(self, uri: str, options: SourceOptions, vector_codecs: frozenset[str]) -> None:
        self.errors = 0
        """Damaged packets passed over so far."""
        self.untold_losses = 0
        """Losses so far after which no frame came that could begin anew."""
        self.name = without_password(uri)
        self.breaks = Breaks()
        self.captures = Captures()
        self.patience = Patience(self.name, options.reconnect_seconds)
        self._uri = uri
        self._options = options
        self._vector_codecs = vector_codecs
        self._packet_start = StartReason.NONE
        self.references = 0
        """How many frames the picture of the packet given last may refer to; 0 where headers do not say."""
        self.cropping: Cropping | None = None
        """What is shown of that picture; None where all is."""
        self.spent = 0.0
        """Seconds that went into the packets since somebody last set it to zero."""
        self.listening = Listening()
        self._connect()
        self.marks = Marks(self.codec, self.name)
        self._ahead: list[av.Packet[Any]] = []
        self._waiting: deque[_Demuxed] = deque()
        self._packet_times = PacketTimes()
        self._last_byte = 0

    def _connect(self) -> None:
        self.container = container = open_container(self._uri, self._options)
        # PyAV's container and its streams refer to each other, so that a file nobody closed would wait for
        # the garbage collector. This closes it when the CodedStream goes. It is not done in __del__: Python
        # swallows what is raised there, and that may be a Ctrl-C. A call into PyAV cannot be interrupted.
        self._closing = weakref.ref(self, partial(container.__exit__, None, None))
        try:
            self.stream = video_stream(container, self.name, self._options.stream)
            leave_out_others(container, self.stream)
            # Another camera may answer after a silence, with another rate.
            self.fps = self._options.fps or frame_rate(self.stream)
            self.time_base = self.stream.time_base or Fraction(1, 90_000)
            context = self.stream.codec_context
            self.codec = getattr(context.codec, "canonical_name", context.name)
            self.exports = self._options.vectors and self.codec in self._vector_codecs
            self.decoder = Decoder(self._uri, self._options, self.stream, self.exports)
            self.extradata = bytes(context.extradata or b"")
            self.times = ShownTimes(container.format.name, self.codec, bool(context.has_b_frames))
            self.headers = new_headers.InForce(self.codec)
            self._continuity = continuity.Continuity(self.codec, self.extradata, float(self.time_base))
            # MP4 has no durations of its own: each packet lasts until the next, a lost one or not.
            self._durations = "mp4" not in container.format.name
        except BaseException:
            container.close()
            raise

    @property
    def unit_seconds(self) -> Fraction | None:
        """Seconds per unit of pts; None where the packets carry no times and are counted instead."""
        return self.time_base if self._packet_times.timed else None

    @property
    def guessed(self) -> bool:
        """Whether times say only in which order packets come."""
        return self.times.counted

    def begin_again(self) -> bool:
        """Count packets from the first that opening has read; False where that is forgotten."""
        if (kept := self.listening.kept) is None:
            return False
        self.begin(StartReason.NONE)
        for heard in kept:
            self.breaks.packet(heard.packet.pts, heard.start)
        return True

    def go_on_from(self, packet: av.Packet[Any] | None) -> None:
        """After a seek: this packet comes next, then the demuxer's; None: open the file again."""
        if packet is None:
            self.container.close()
            self._connect()
            self._packet_times.restart()
        else:
            self.decoder.restart()
            self.headers.landed(packet)
        self._ahead = [] if packet is None else [packet]
        self._waiting.clear()
        self.times.restart()
        self._continuity.restart()
        self.begin(StartReason.SEEK)

    def give_back(self, packet: av.Packet[Any]) -> None:
        """After a reconnect: this packet, its first, was taken by one who cannot read it. It comes again."""
        self._ahead = [packet]
        self._continuity.restart()
        self.begin(StartReason.RECONNECTED)

    def close(self) -> None:
        """Close the file or device."""
        self.patience.stop()
        self.listening.end()
        self.container.close()

    def packets(self) -> Iterator[av.Packet[Any] | None]:
        """The stream's packets, and None at the end, so that the decoder gives out what it still holds.

        Where the decoder has to begin again, packets come again whose frames were not shown."""
        ahead = 0 if self._options.live else continuity.AHEAD_PACKETS
        # Kept here, so that another iterator goes on where one was left.
        waiting = self._waiting
        for demuxed in self._demuxed():
            if demuxed is not None:
                waiting.append(demuxed)
            while waiting and (demuxed is None or len(waiting) > ahead):
                if not self.decoder.is_certain(waiting[0].packet):
                    yield from self._decoded_again(waiting[0].packet)
                yield self._watch(waiting.popleft(), waiting, ended=demuxed is None)
                if self.decoder.doubtful:
                    yield from self._decoded_again(None)
            if demuxed is None:
                yield None
                if self.decoder.doubtful:
                    yield from self._decoded_again(None)
                    yield None

    def _decoded_again(self, following: av.Packet[Any] | None) -> list[av.Packet[Any]]:
        """What was shown is decoded again. The packets before the one that follows whose frames were not."""
        packets = self.decoder.begin_again(following, lambda: self.patience.stopped)
        if self.decoder.not_found_again:
            first = packets[0] if packets else following
            self.damaged(None if first is None else first.pts, delayed=True)
        return packets

    def _demuxed(self) -> Iterator[_Demuxed | None]:
        """What the demuxer gives, and None where it ends."""
        failures, torn = 0, False
        while True:
            ended, broken = False, False
            try:
                began = perf_counter()
                ahead, self._ahead = self._ahead, []
                for packet in chain(ahead, packets_of(self.container, self.stream)):
                    if not self._options.live:
                        self.spent += perf_counter() - began
                    if packet.size:
                        self._last_byte = max(self._last_byte, packet.pos or 0)
                        self._count(packet)
                        yield _Demuxed(packet, self._head(packet), torn)
                        failures, torn = 0, False
                    if self.patience.stopped:
                        # Packets may come for ever without a frame, and nobody waits for one.
                        break
                    began = perf_counter()
                ended, reason = True, "the stream ended"
            except av.error.InvalidDataError:
                failures, torn = failures + 1, True
                self.errors += 1
                self.log(continuity.DAMAGED, None)
                if failures < _DEMUX_FAILURES:
                    continue
                reason = "it holds nothing but damaged packets from here on"
            except av.error.FFmpegError as error:
                self.errors += 1
                broken = broke_off(self._uri, error)
                reason = (
                    f"nothing came for {self._options.timeout_seconds:g} s"
                    if timed_out(error)
                    else str(error.strerror)
                )
            yield None
            if self.patience.stopped:
                return
            if not self._options.live:
                if broken:
                    raise SourceError(
                        f"{self.name} broke off ({reason}): check the network or the disk, and read it again"
                    )
                tell_of_another_video(self._uri, self._options, self.container, self._last_byte)
                return
            if not self._options.reconnect_seconds:
                if ended:
                    return
                raise SourceError(f"{self.name} fell silent ({reason}): check the camera and the network")
            if not self._reconnect(reason):
                return
            failures, torn = 0, False

    def _count(self, packet: av.Packet[Any]) -> None:
        waiting = (each.packet for each in self._waiting)
        self._packet_times.take(packet, self.stream.start_time, waiting)
        if self._options.live:
            self.captures.arrived(packet)

    def _head(self, packet: av.Packet[Any]) -> continuity.PacketHead:
        headers = self.headers.demuxed(packet)
        return self._continuity.read(
            memoryview(headers + bytes(packet)) if headers else memoryview(packet),
            packet.dts,
            (packet.duration or None) if self._durations else None,
            corrupt=packet.is_corrupt,
            key=packet.is_keyframe,
        )

    def _watch(self, demuxed: _Demuxed, ahead: Iterable[_Demuxed], ended: bool) -> av.Packet[Any]:
        packet = demuxed.packet
        self.references, self.cropping = demuxed.head.references, demuxed.head.cropping
        if self.times.begins_seconds is None:
            self.times.begin([packet.pts, *(later.packet.pts for later in ahead)], self.time_base, self.fps)
        reason = self._continuity.check(demuxed.head, [later.head for later in ahead], ended)
        damaged = continuity.DAMAGED if demuxed.torn else StartReason.NONE
        self.breaks.packet(packet.pts, reason or damaged)
        start, self._packet_start = self._packet_start or reason, StartReason.NONE
        headers = self.headers.decoded(packet)
        self.listening.take(Heard(packet, self.times.told(packet.pts), start, headers))
        return packet

    def damaged(self, pts: int | None, delayed: bool) -> None:
        """The packet of this pts, or with ``delayed`` one of those before, makes no frame."""
        self.errors += 1
        self.log(continuity.DAMAGED, pts)
        self.breaks.damaged(pts, continuity.DAMAGED, delayed)

    def log(self, reason: StartReason | str, pts: int | None) -> None:
        """Tell what happened, and when where that is known."""
        unit = self.unit_seconds
        where = "" if pts is None or unit is None else f" at {float(pts * unit):.3f} s"
        LOG.warning("%s: %s%s", self.name, reason, where)

    def begin(self, reason: StartReason) -> None:
        """The next frame has nothing to follow on from."""
        if reason is StartReason.RECONNECTED:
            # Another camera may answer, and who listens to that one has to hear its first packets too.
            self.listening.keep_opening()
        self.breaks.begin(reason)
        self._packet_start = reason
        self.marks = Marks(self.codec, self.name)

    def finish(self) -> None:
        """No frame comes any more: tell of what none could tell."""
        if losses := self.breaks.losses:
            self.untold_losses += losses
            self.log(f"{continuity.LOST.value} at the end", None)
        self.breaks.begin(StartReason.NONE)

    def _reconnect(self, reason: str) -> bool:
        self.container.close()
        if not self.patience.open_again(reason, self._connect):
            return False
        self.finish()
        self.begin(StartReason.RECONNECTED)
        return True
