"""One video stream being decoded: its packets, its frames, and what was lost on the way."""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from time import monotonic, perf_counter, sleep
from typing import Any

import av
import av.error
from av.codec.context import Flags

from edge_vss.errors import SourceError
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.sources import SourceOptions
from edge_vss.runtimes.sources import _continuity as continuity
from edge_vss.runtimes.sources._breaks import Breaks, Marks
from edge_vss.runtimes.sources._captures import Captures
from edge_vss.runtimes.sources._container import frame_rate, open_container, timed_out
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture, side_data
from edge_vss.runtimes.sources._seeking import Seek, has_steady_rate, landings, shown_times
from edge_vss.runtimes.sources._spelling import can_begin_again
from edge_vss.runtimes.sources._streams import leave_out_others, video_stream
from edge_vss.runtimes.sources._times import ShownTimes
from edge_vss.text import without_password
from edge_vss.video import Frame, Packet, Size, StartReason

_PICTURE_TYPES = {1: "I", 2: "P", 3: "B", 4: "S", 5: "I", 6: "P", 7: "B"}
_DEMUX_FAILURES = 100
_RETRY_SECONDS = (0.1, 0.5)
"""The first and the longest pause between two tries to open a stream again."""
_FAR_SECONDS = 1e9
"""Longer than any video. More would not fit into the numbers of a demuxer."""
_KEPT_PACKETS = 64
"""Packets read while opening that a listener still gets. No decoder needs more for its first frame."""


@dataclass(frozen=True)
class _Demuxed:
    packet: av.Packet[Any]
    head: continuity.PacketHead
    torn: bool
    """Whether the demuxer met damage before it."""


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
        self.untold_losses = 0
        self._breaks = Breaks()
        self._captures = Captures()
        self._packet_start = StartReason.NONE
        self._spent = 0.0
        self._listener: Listener | None = None
        self._kept: deque[tuple[av.Packet[Any], StartReason]] | None = deque(maxlen=_KEPT_PACKETS)
        self._connect()
        self._marks = Marks(self.codec, self.name)
        self.fps = options.fps or frame_rate(self.stream)
        self._index = -1
        self._pts_seconds = -1 / self.fps
        self._first: tuple[int | None, float] | None = None
        self._ahead: list[av.Packet[Any]] = []
        self._waiting: deque[_Demuxed] = deque()
        self._order: list[int] | None = None
        self._seek: Seek | None = None
        self._timed: bool | None = None
        self._counted = -1

    def _connect(self) -> None:
        self.container = container = open_container(self._uri, self._options)
        # PyAV's container and its streams refer to each other, so that a file nobody closed would wait for
        # the garbage collector. This closes it when the Decoding goes. It is not done in __del__: Python
        # swallows what is raised there, and that may be a Ctrl-C. A call into PyAV cannot be interrupted.
        self._closing = weakref.ref(self, partial(container.__exit__, None, None))
        try:
            self.stream = video_stream(container, self.name, self._options.stream)
            leave_out_others(container, self.stream)
            self.time_base = self.stream.time_base or Fraction(1, 90_000)
            context = self.stream.codec_context
            self.codec = getattr(context.codec, "canonical_name", context.name)
            self.exports = self._options.vectors and self.codec in self._vector_codecs
            if self.exports:
                context.options = {**context.options, "flags2": "+export_mvs"}
            if self.codec == "hevc":
                # Without it, nothing is shown from a lost packet to the next key frame.
                context.flags |= Flags.output_corrupt
            # With B-frames, frame threads give other vectors from run to run. They also delay a live picture.
            context.thread_type = "SLICE" if self.exports or self._options.live else "AUTO"
            self.extradata = bytes(context.extradata or b"")
            self._times = ShownTimes(container.format.name, self.codec, bool(context.has_b_frames))
            self._continuity = continuity.Continuity(self.codec, self.extradata, float(self.time_base))
            # MP4 has no durations of its own: each packet lasts until the next, a lost one or not.
            self._durations = "mp4" not in container.format.name
            self._delayed = not (self.exports or self._options.live)
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

    @property
    def guessed(self) -> bool:
        """Whether times say only in which order packets come."""
        return self._times.counted

    def begin_again(self) -> None:
        """For one who makes frames of packets: count frames from the first packet that opening has read."""
        if self._kept is not None:
            self._begin(StartReason.NONE)
            self._index, self._pts_seconds = -1, -1 / self.fps
            for packet, start in self._kept:
                self._breaks.packet(packet.pts, start)

    def forget_opening(self) -> None:
        """Nobody asked for the packets that opening has read."""
        self._kept = None

    def seek(self, seconds: float) -> None:
        """Go to where decoding has to begin; `frames` begins with the first frame not before this."""
        if not can_begin_again(self._uri):
            raise SourceError(f"cannot seek in {self.name}, which comes through a pipe: give a file")
        first_pts, first_seconds = self._first or (None, 0.0)
        seconds = min(max(seconds, first_seconds), _FAR_SECONDS)
        wanted = round(seconds / self.time_base)
        from_the_start = first_pts is None or self._times.lost_by_seeking
        places = iter(()) if from_the_start else landings(wanted, first_pts or 0, self.time_base)
        # Counted times are right only from the second key frame on: what the first needs may be cut off.
        self._seek = Seek(seconds, wanted, places, keys=2 if self._times.counted else 1)
        self._listener = self._kept = None
        self._land(self._seek)

    def land_again(self) -> bool:
        """After `frames`: go further back, where decoding has begun too late for the frame that is sought."""
        if self._seek is None or self._seek.settled:
            return False
        self._land(self._seek)
        return True

    def _land(self, seek: Seek) -> None:
        packet = seek.begin(self.container, self.stream)
        if packet is None:
            self.container.close()
            self._connect()
            seek.counted = True
            self._index, self._pts_seconds, self._counted = -1, -1 / self.fps, -1
        self._ahead = [] if packet is None else [packet]
        self._waiting.clear()
        self._times.restart()
        self._continuity.restart()
        self._begin(StartReason.SEEK)

    def missed(self, frame: Frame) -> bool:
        """Whether this frame shows that a seek has landed too late."""
        return self._seek is not None and self._seek.missed(frame.pts_seconds)

    def is_wanted(self, frame: Frame, pts: int | None, begins: bool) -> bool:
        """Whether no seek is under way, or it is this frame that is sought; then it gets its index and
        ``start``. ``begins``: decoding can begin with it, and nothing that it needs was missing."""
        seek = self._seek
        if seek is None:
            return True
        if not seek.reached(frame.pts_seconds, begins):
            return False
        if not seek.counted:
            self._index = self._index_at(frame.pts_seconds, pts)
        frame.index, frame.start, self._seek = self._index, StartReason.SEEK, None
        return True

    def _index_at(self, pts_seconds: float, pts: int | None) -> int:
        first_pts, first_seconds = self._first or (None, 0.0)
        steady = self._times.counted or has_steady_rate(self.container, self.stream)
        if pts is not None and first_pts is not None and not steady:
            if self._order is None:
                with open_container(self._uri, self._options) as again:
                    stream = video_stream(again, self.name, self.stream.index)
                    self._order = shown_times(again, stream, self._uri)
            if self._order:
                return bisect_left(self._order, pts) - bisect_left(self._order, first_pts)
        return round((pts_seconds - first_seconds) * frame_rate(self.stream))

    def close(self) -> None:
        """Close the file or device."""
        self._closed = True
        self._listener = self._kept = None
        self.container.close()

    def frames(self) -> Iterator[Frame]:
        """The frames from here on, in display order. Damaged packets are passed over and counted."""
        size: Size | None = None
        for packet in self.packets():
            if packet is not None:
                self._times.fed(packet)
            began = perf_counter()
            try:
                pictures = self.stream.codec_context.decode(packet)
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                self.damaged(packet.pts if packet else None, self._delayed or packet is None)
                pictures = []
            self._spent += perf_counter() - began
            # At its end, a decoder with threads gives many frames at once.
            spent, self._spent = self._spent / max(1, len(pictures)), 0.0 if pictures else self._spent
            for picture in pictures:
                if self.withholds(not picture.is_corrupt):
                    continue
                frame = self._frame(picture, size, spent)
                if self.missed(frame):
                    return
                # H.264 can begin at other pictures too, and its decoder knows which are whole.
                begins = picture.key_frame or (self.codec == "h264" and not self._times.counted)
                wanted = self.is_wanted(frame, picture.pts, begins and not picture.is_corrupt)
                size = frame.size if wanted else None
                if wanted:
                    yield frame
        self.finish()

    def packets(self) -> Iterator[av.Packet[Any] | None]:
        """The stream's packets, and None at the end, so that the decoder gives out what it still holds."""
        ahead = 0 if self._options.live else continuity.AHEAD_PACKETS
        # Kept here, so that another iterator goes on where one was left.
        waiting = self._waiting
        for demuxed in self._demuxed():
            if demuxed is not None:
                waiting.append(demuxed)
            while waiting and (demuxed is None or len(waiting) > ahead):
                yield self._watch(waiting.popleft(), waiting, ended=demuxed is None)
            if demuxed is None:
                yield None

    def _demuxed(self) -> Iterator[_Demuxed | None]:
        """What the demuxer gives, and None where it ends."""
        failures, torn = 0, False
        while True:
            ended = False
            try:
                began = perf_counter()
                ahead, self._ahead = self._ahead, []
                for packet in chain(ahead, self.container.demux(self.stream)):
                    if not self._options.live:
                        self._spent += perf_counter() - began
                    if packet.size:
                        self._count(packet)
                        yield _Demuxed(packet, self._head(packet), torn)
                        failures, torn = 0, False
                    began = perf_counter()
                ended, reason = True, "the stream ended"
            except av.error.InvalidDataError:
                failures, torn = failures + 1, True
                self.errors += 1
                self._log(continuity.DAMAGED, None)
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
        if self._options.live:
            self._captures.arrived(packet)

    def _head(self, packet: av.Packet[Any]) -> continuity.PacketHead:
        return self._continuity.read(
            memoryview(packet),
            packet.dts,
            (packet.duration or None) if self._durations else None,
            corrupt=packet.is_corrupt,
            key=packet.is_keyframe,
        )

    def _watch(self, demuxed: _Demuxed, ahead: Iterable[_Demuxed], ended: bool) -> av.Packet[Any]:
        packet = demuxed.packet
        reason = self._continuity.check(demuxed.head, [later.head for later in ahead], ended)
        damaged = continuity.DAMAGED if demuxed.torn else StartReason.NONE
        self._breaks.packet(packet.pts, reason or damaged)
        start, self._packet_start = self._packet_start or reason, StartReason.NONE
        if self._listener is not None:
            self._tell(packet, start)
        elif self._kept is not None:
            self._kept.append((packet, start))
        return packet

    def _tell(self, packet: av.Packet[Any], start: StartReason) -> None:
        listener = self._listener
        if listener is not None:
            pts = self._times.told(packet.pts)
            listener(Packet(bytes(packet), pts, packet.is_keyframe, start))

    def damaged(self, pts: int | None, delayed: bool) -> None:
        """The packet of this pts, or with ``delayed`` one of those before, makes no frame."""
        self.errors += 1
        self._log(continuity.DAMAGED, pts)
        self._breaks.damaged(continuity.DAMAGED, delayed)

    def _log(self, reason: StartReason | str, pts: int | None) -> None:
        where = "" if pts is None or not self._timed else f" at {float(pts * self.time_base):.3f} s"
        LOG.warning("%s: %s%s", self.name, reason, where)

    def _begin(self, reason: StartReason) -> None:
        """The next frame has nothing to follow on from."""
        self._breaks.begin(reason)
        self._packet_start = reason
        self._marks = Marks(self.codec, self.name)

    def finish(self) -> None:
        """No frame comes any more: tell of what none could tell, if decoding began where it should."""
        if self._seek is None or self._seek.settled:
            self._finish()

    def withholds(self, whole: bool) -> bool:
        """Whether the next frame is not to be shown, because no whole one came yet."""
        return self._marks.withhold(not whole)

    def _finish(self) -> None:
        if losses := self._breaks.losses:
            self.untold_losses += losses
            self._log(f"{continuity.LOST.value} at the end", None)
        self._breaks.begin(StartReason.NONE)

    def _reconnect(self, reason: str) -> None:
        LOG.warning("%s: %s, so it is opened again", self.name, reason)
        self.container.close()
        deadline = monotonic() + self._options.reconnect_seconds
        pause, longest = _RETRY_SECONDS
        while not self._closed and not self._connected():
            if monotonic() > deadline:
                raise SourceError(
                    f"{self.name} did not come back within {self._options.reconnect_seconds:g} s ({reason}): "
                    "check the camera and the network"
                )
            sleep(pause)
            pause = min(2 * pause, longest)
        # Another camera may answer now, with another rate.
        self.fps = self._options.fps or frame_rate(self.stream)
        if not self._closed:
            LOG.warning("%s: is back", self.name)
        self._finish()
        self._begin(StartReason.RECONNECTED)

    def _connected(self) -> bool:
        try:
            self._connect()
        except SourceError:
            return False
        return True

    def _frame(self, picture: av.VideoFrame, size: Size | None, spent: float) -> Frame:
        orientation, vectors = side_data(picture, self.exports)
        shown = orientation.size((picture.height, picture.width))
        frame = Frame(
            index=0,
            pts_seconds=0.0,
            picture_type=_PICTURE_TYPES.get(int(picture.pict_type), "?"),
            size=shown,
            picture=DecodedPicture(picture, orientation, self._converters),
            vectors=vectors,
            seconds={"decode": spent},
        )
        return self.placed(frame, self._times.shown(picture), picture.pts, not picture.is_corrupt, size)

    def placed(
        self, frame: Frame, pts: int | None, packet_pts: int | None, whole: bool, size: Size | None
    ) -> Frame:
        """The frame that is shown next, with its index, its time, and why it begins anew.

        ``whole``: nothing that it needs was missing. ``size`` of the frame before, if there was one.
        """
        self._index += 1
        self._pts_seconds += 1 / self.fps
        if pts is not None and self._timed:
            self._pts_seconds = float(pts * self.time_base)
        self._first = self._first or (pts if self._timed else None, self._pts_seconds)
        frame.index, frame.pts_seconds, frame.pts = self._index, self._pts_seconds, self._times.told(pts)
        frame.start = self._start(frame, packet_pts, whole, size)
        frame.arrived_seconds, frame.captured_seconds = self._captures.of(packet_pts)
        return frame

    def _start(self, frame: Frame, packet_pts: int | None, whole: bool, size: Size | None) -> StartReason:
        intra = frame.picture_type == "I"
        reason = self._marks.reason(self._breaks.frame(packet_pts), whole, intra)
        if self._index == 0:
            if reason == continuity.LOST and not intra:
                # What was lost comes before this frame, but it is the first that is shown.
                self._breaks.again(reason)
            return StartReason.FIRST_FRAME
        if reason in (continuity.LOST, continuity.JOINED):
            self._log(reason, packet_pts)
        if size is not None and size != frame.size:
            return StartReason.SIZE_CHANGED
        return reason
