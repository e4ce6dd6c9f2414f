"""Motion from the vectors of HEVC, which no decoder hands out: an own parser reads them from the packets.

The parser works on a thread of its own, while the decoder decodes the same packet. Unlike FFmpeg's vectors,
these say which picture they refer to, and which of them cannot be trusted after a loss.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from edge_vss.errors import OptionError, one_line
from edge_vss.orientation import Orientation
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Feed, MotionDescription, codec
from edge_vss.runtimes.motion._hevc.parser import Parser, Picture
from edge_vss.runtimes.motion._hevc.vectors import Shown, size_of
from edge_vss.video import Frame, Packet, StartReason, StreamInfo

DESCRIPTION = MotionDescription("HEVC's vectors, read by an own parser", vectors=False, pictures=False)

_MOST_WAITING = 64
"""Pictures that wait for their frame. HEVC holds 16 back at most; what is older was never shown."""


def measure(feed: Feed) -> Iterator[Frame]:
    """The same frames, with ``vectors`` and the motion that they tell, towards the previous shown frame.

    The vectors, with their true distances in time, are guesses among which the pixels choose
    (edge_vss.runtimes.motion._references). A frame that refers to a lost picture has a ``start`` reason, and
    so has one that comes after pictures that the decoder kept back: here that is known exactly.

    Raises OptionError for a stream that is not HEVC, MissingExtra without wasmtime.
    """
    if feed.stream.codec != "hevc":
        other = feed.stream.codec or "no compressed video"
        raise OptionError(f"motion 'hevc' reads HEVC, and {feed.stream.uri} is {other}: take 'auto'")
    return codec.measure(Feed(with_vectors(feed), feed.stream, feed.listen))


def with_vectors(feed: Feed) -> Iterator[Frame]:
    """The same frames, with ``vectors`` where their packet could be read. Raises MissingExtra at once."""
    if feed.stream.exports_vectors:
        return iter(feed.frames)  # whoever reads the stream has read them already
    reader = _Reader(feed.stream)
    feed.listen(reader.take)
    return _attached(feed, reader)


def _attached(feed: Feed, reader: _Reader) -> Iterator[Frame]:
    orientation = Orientation(feed.stream.rotation // 90, feed.stream.mirrored)
    shown, told = Shown(orientation), False
    reader.start()
    try:
        for frame in feed.frames:
            picture, hidden, passed_over = reader.picture(frame.pts, begins=bool(frame.start))
            if frame.start is StartReason.SEEK:
                for passed in passed_over:
                    shown.passed(passed)
            missing = picture is not None and picture.missing_references > 0
            # From a loss to the next I-picture, everything may refer to what is missing. Once is enough.
            told = frame.start is StartReason.LOST_PACKETS or (
                told and not (picture and picture.picture_type == "I")
            )
            if (hidden or missing) and not told:
                frame.start = frame.start or StartReason.LOST_PACKETS
                told = frame.start is StartReason.LOST_PACKETS
            # A frame of another size than its packet's picture is another picture.
            if picture is not None and orientation.size(size_of(picture)) == frame.size:
                frame.vectors = shown.vectors(picture)
            else:
                shown.unknown()
            yield frame
    finally:
        reader.close()


@dataclass(frozen=True)
class _Waiting:
    """A picture that was read and whose frame has not come."""

    sequence: int
    """Which sequence it belongs to: picture order counts are compared within one."""
    picture: Picture

    def before(self, other: _Waiting) -> bool:
        """Whether it is shown before another."""
        return (self.sequence, self.picture.poc) < (other.sequence, other.picture.poc)


class _Reader:
    """The parser's thread: packets go in as the decoder takes them, pictures come out by their pts."""

    def __init__(self, stream: StreamInfo) -> None:
        self._uri = stream.uri
        self._parser = Parser(stream.extradata)
        self._packets: queue.SimpleQueue[Packet | None] = queue.SimpleQueue()
        self._pictures: dict[int, _Waiting] = {}
        self._changed = threading.Condition()
        self._sequence = 0
        self._unread: deque[int | None] = deque()
        self._begun: int | None = None
        self._recent: deque[int | None] = deque(maxlen=_MOST_WAITING)
        self._ended = self._told = False
        self._thread = threading.Thread(target=self._work, name="edge-vss hevc", daemon=True)

    def start(self) -> None:
        """Starts the thread; packets may have come before."""
        self._thread.start()

    def take(self, packet: Packet) -> None:
        """A packet, from the thread that decodes."""
        with self._changed:
            # Nobody reads the queue any more: each packet would stay in memory.
            if self._ended:
                return
            self._unread.append(packet.pts)
            self._packets.put(packet)
            if packet.start:
                self._recent.clear()
            self._recent.append(packet.pts)

    def picture(self, pts: int | None, *, begins: bool) -> tuple[Picture | None, bool, list[Picture]]:
        """What the packet of this pts said (None where it could not be read), whether pictures before it were
        never shown (decoders keep back what refers to a lost picture), and the pictures before it that nobody
        has asked for, in the order of showing. ``begins``: nobody asks for what was shown before this frame,
        as after a seek.

        Waits for the packets given. The parser has a limit of steps for each of them, so that comes to an
        end. Without the wait a picture would come too late, and be taken for one that was never shown.
        """
        if pts is None:
            self._warn("frames carry no times")
            return None, False, []
        with self._changed:
            if self._is_shared(pts):
                self._warn("several frames have one time")
                self._pictures.pop(pts, None)
                return None, False, []
            self._begun = pts if begins else self._begun
            self._changed.wait_for(lambda: self._is_read_up_to(pts) or self._ended)
            found = self._pictures.pop(pts, None)
            if found is None:
                return None, False, []
            # Where the start of a sequence was lost, counts begin at zero again, but times go on.
            hidden = sorted(
                at for at, waiting in self._pictures.items() if at < pts and waiting.before(found)
            )
            passed_over = [self._pictures.pop(at).picture for at in hidden]
            begun = pts if self._begun is None else self._begun
            return found.picture, any(at > begun for at in hidden), passed_over

    def _is_read_up_to(self, pts: int) -> bool:
        """Whether all packets that were given are read, of this pts and of those shown before it."""
        return not any(each is None or each <= pts for each in self._unread)

    def _is_shared(self, pts: int) -> bool:
        """Whether several packets have this time, so that nobody can tell which is whose."""
        return self._recent.count(pts) > 1

    def _warn(self, why: str) -> None:
        if not self._told:
            LOG.warning("%s: %s, so HEVC motion cannot be paired with them", self._uri, why)
        self._told = True

    def close(self) -> None:
        """Stops the thread."""
        self._packets.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            while (packet := self._packets.get()) is not None:
                self._read(packet)
                with self._changed:
                    self._unread.popleft()
                    self._changed.notify_all()
        except Exception as broken:  # frames without vectors are better than none
            LOG.warning("%s: HEVC motion ends here (%s)", self._uri, one_line(broken, named=True))
        finally:
            with self._changed:
                self._ended = True
                self._packets = queue.SimpleQueue()
                self._changed.notify_all()

    def _read(self, packet: Packet) -> None:
        # After lost packets the parser goes on: it knows which references are missing.
        if packet.start and packet.start != StartReason.LOST_PACKETS:
            self._parser.restart()
        pictures = self._parser.read(packet.data)
        for reason in self._parser.new_reasons():
            LOG.warning("%s: HEVC motion could not be read everywhere: %s", self._uri, reason)
        self._sequence += sum(picture.starts for picture in pictures)
        if packet.pts is None or len(pictures) != 1 or not pictures[0].shown:
            return
        with self._changed:
            if self._is_shared(packet.pts):
                return
            while len(self._pictures) >= _MOST_WAITING:
                del self._pictures[next(iter(self._pictures))]
            self._pictures[packet.pts] = _Waiting(self._sequence, pictures[0])
