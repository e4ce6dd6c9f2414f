"""Motion from the vectors of HEVC, which no decoder hands out: an own parser reads them from the packets.

The parser works on a thread of its own, while the decoder decodes the same packet. Unlike FFmpeg's vectors,
these say which picture they refer to, and which of them cannot be trusted after a loss.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Feed, MotionDescription, codec, flow
from edge_vss.runtimes.motion._hevc.parser import (
    CELL_PX,
    INEXACT,
    MISSING_REFERENCE,
    MODE_INTER,
    MODE_SKIP,
    Parser,
    Picture,
)
from edge_vss.video import Frame, MotionVectors, Packet, StartReason, StreamInfo

DESCRIPTION = MotionDescription("HEVC's vectors, read by an own parser", vectors=False)

_MOST_WAITING = 64
"""Pictures that wait for their frame. HEVC holds 16 back at most; what is older was never shown."""
_LONGEST_WAIT_SECONDS = 5.0


def measure(feed: Feed) -> Iterator[Frame]:
    """The same frames, with ``vectors`` and the motion that they tell, towards the previous shown frame.

    The vectors, with their true distances in time, are guesses among which the pixels choose
    (edge_vss.runtimes.motion._references). A frame that refers to a lost picture has a ``start`` reason, and
    so has one that comes after pictures that the decoder kept back: here that is known exactly. Turned videos
    are left to optical flow.

    Raises OptionError for a stream that is not HEVC, MissingExtra without wasmtime.
    """
    if feed.stream.codec != "hevc":
        other = feed.stream.codec or "no compressed video"
        raise OptionError(f"motion 'hevc' reads HEVC, and {feed.stream.uri} is {other}: take 'auto'")
    if feed.stream.rotation or feed.stream.mirrored:
        # The vectors are those of the picture as it is coded; turning them belongs to the sources.
        LOG.info("%s: a turned HEVC video, so motion is optical flow", feed.stream.uri)
        return flow.measure(feed)
    return codec.measure(Feed(with_vectors(feed), feed.stream, feed.listen))


def with_vectors(feed: Feed) -> Iterator[Frame]:
    """The same frames, with ``vectors`` where their packet could be read. Raises MissingExtra at once."""
    reader = _Reader(feed.stream)
    feed.listen(reader.take)
    return _attached(feed, reader)


def _attached(feed: Feed, reader: _Reader) -> Iterator[Frame]:
    shown, told = _Shown(), False
    reader.start()
    try:
        for frame in feed.frames:
            picture, hidden = reader.picture(frame.pts)
            missing = picture is not None and picture.missing_references > 0
            # From a loss to the next I-picture, everything may refer to what is missing. Once is enough.
            told = frame.start is StartReason.LOST_PACKETS or (
                told and not (picture and picture.picture_type == "I")
            )
            if (hidden or missing) and not told:
                frame.start = frame.start or StartReason.LOST_PACKETS
                told = frame.start is StartReason.LOST_PACKETS
            if picture is not None:
                frame.vectors = shown.vectors(picture)
            else:
                shown.unknown()
            yield frame
    finally:
        reader.close()


class _Reader:
    """The parser's thread: packets go in as the decoder takes them, pictures come out by their pts."""

    def __init__(self, stream: StreamInfo) -> None:
        self._uri = stream.uri
        self._parser = Parser(stream.extradata)
        self._packets: queue.SimpleQueue[Packet | None] = queue.SimpleQueue()
        self._pictures: dict[int, Picture] = {}
        self._changed = threading.Condition()
        self._given = self._done = 0
        self._ended = self._told = False
        self._thread = threading.Thread(target=self._work, name="edge-vss hevc", daemon=True)

    def start(self) -> None:
        """Starts the thread; packets may have come before."""
        self._thread.start()

    def take(self, packet: Packet) -> None:
        """A packet, from the thread that decodes."""
        with self._changed:
            self._given += 1
        self._packets.put(packet)

    def picture(self, pts: int | None) -> tuple[Picture | None, bool]:
        """What the packet of this pts said (None where it could not be read), and whether pictures before it
        were never shown: decoders keep back what refers to a lost picture. Waits for the packets given."""
        if pts is None:
            if not self._told:
                LOG.warning("%s: frames carry no times, so HEVC motion cannot be paired with them", self._uri)
            self._told = True
            return None, False
        with self._changed:
            given = self._given
            self._changed.wait_for(
                lambda: pts in self._pictures or self._done >= given or self._ended,
                timeout=_LONGEST_WAIT_SECONDS,
            )
            hidden = [earlier for earlier in self._pictures if earlier < pts]
            for earlier in hidden:
                del self._pictures[earlier]
            return self._pictures.pop(pts, None), bool(hidden)

    def close(self) -> None:
        """Stops the thread."""
        self._packets.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            while (packet := self._packets.get()) is not None:
                self._read(packet)
                with self._changed:
                    self._done += 1
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read(self, packet: Packet) -> None:
        # After lost packets the parser goes on: it knows which references are missing.
        if packet.start and packet.start != StartReason.LOST_PACKETS:
            self._parser.restart()
        pictures = self._parser.read(packet.data)
        for reason in self._parser.new_reasons():
            LOG.warning("%s: HEVC motion could not be read everywhere: %s", self._uri, reason)
        if packet.pts is None or len(pictures) != 1 or not pictures[0].shown:
            return
        with self._changed:
            while len(self._pictures) >= _MOST_WAITING:
                del self._pictures[next(iter(self._pictures))]
            self._pictures[packet.pts] = pictures[0]


class _Shown:
    """The frames shown so far in this sequence, by picture order count."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._counts: deque[int | None] = deque(maxlen=_MOST_WAITING)
        # How far apart neighbours' picture order counts are: the encoder's choice.
        self._step = 0

    def unknown(self) -> None:
        """A frame was shown whose picture order count nobody knows."""
        self._counts.append(None)

    def vectors(self, picture: Picture) -> MotionVectors:
        """The vectors of the picture that is shown now, in pixels of the frame, with what they refer to in
        shown frames."""
        last = next((count for count in reversed(self._counts) if count is not None), None)
        if last is not None and picture.poc <= last:
            self._begin()  # picture order counts begin anew
        elif last is not None:
            self._step = math.gcd(self._step, picture.poc - last)
        spans = {
            int(difference): self._span(picture.poc, int(difference))
            for difference in np.unique(picture.cells["poc_difference"])
        }
        self._counts.append(picture.poc)
        return _vectors(picture, spans)

    def _span(self, poc: int, difference: int) -> int:
        """How many shown frames back the picture of a difference in order count is; 0: not known."""
        if difference < 0 and poc + difference in self._counts:
            return len(self._counts) - self._counts.index(poc + difference)
        if not self._step or difference % self._step:
            return 0
        return -difference // self._step


def _vectors(picture: Picture, spans: dict[int, int]) -> MotionVectors:
    height, width = picture.cells.shape
    flat = picture.cells.reshape(-1)
    good = ((flat["mode"] == MODE_INTER) | (flat["mode"] == MODE_SKIP)) & (
        (flat["flags"] & (INEXACT | MISSING_REFERENCE)) == 0
    )
    left, _, top, _ = picture.crop_px
    columns = (CELL_PX * np.arange(width, dtype=np.int16) - np.int16(left))[None, :].repeat(height, 0).ravel()
    rows = (CELL_PX * np.arange(height, dtype=np.int16) - np.int16(top))[:, None].repeat(width, 1).ravel()
    keys = np.array(sorted(spans))
    values = np.clip([spans[int(key)] for key in keys], -127, 127).astype(np.int8)
    parts: list[tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.int8], NDArray[np.int8]]] = []
    for list_number in range(2):
        chosen = np.flatnonzero(good & (flat["lists"] >> list_number & 1).astype(bool))
        difference = flat["poc_difference"][chosen, list_number]
        reference = values[np.searchsorted(keys, difference)]
        displacement = flat["mv_quarter_px"][chosen, list_number].astype(np.float32).T / np.float32(4)
        parts.append((chosen, displacement, np.where(difference < 0, -1, 1).astype(np.int8), reference))
    # Where both lists point one way, the nearer reference is told last and holds.
    where = np.concatenate([part[0] for part in parts])
    displacement = np.concatenate([part[1] for part in parts], axis=1)
    direction, reference = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
    order = np.argsort(-np.abs(reference.astype(np.int16)), kind="stable")
    where = where[order]
    side = np.full(len(where), CELL_PX, np.int16)
    return MotionVectors(
        columns[where], rows[where], side, side, displacement[:, order], direction[order], reference[order]
    )
