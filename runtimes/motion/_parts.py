"""Motion that begins anew at some I-frames, so that what lies between two of them can be labelled alone.

A part begins where decoding can begin, at least so many frames after the last one. What is known of a part
then depends on its own frames and packets, and on nothing before: whoever begins to read there finds the
same. The frame at a joint belongs to both parts. Its own motion, back into the part before, is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from edge_vss.runtimes.motion import Feed, Listener, Measure
from edge_vss.video import Frame, Packet, StartReason

PART_FRAMES = 240
"""The fewest frames of a part: 8 seconds of a dashcam. Each part costs one more key frame at most."""


@dataclass(frozen=True)
class InParts:
    """A motion provider that measures every part of a recording by itself."""

    measure: Measure

    def __call__(self, feed: Feed) -> Iterator[Frame]:
        """The same frames, with ``begins_part`` where a part begins."""
        packets = _Packets()
        feed.listen(packets.take)
        frames = iter(feed.frames)
        first, skipped = next(frames, None), False
        while first is not None:
            part = _Part(first, frames, packets)
            packets.begin(first)
            inner = iter(self.measure(Feed(part.frames(), feed.stream, packets.listen)))
            if skipped:
                # The part before has shown it, with its motion.
                next(inner, None)
            yield from inner
            first, skipped = part.next_first, True


@dataclass
class _Part:
    """The frames of one part, and the first one of the next."""

    first: Frame
    source: Iterator[Frame]
    packets: _Packets
    next_first: Frame | None = None

    def frames(self) -> Iterator[Frame]:
        yield self.first
        for number, frame in enumerate(self.source, 1):
            frame.begins_part = number >= PART_FRAMES and self.packets.can_begin(frame)
            self.packets.shown(frame)
            if frame.begins_part:
                self.next_first = replace(
                    frame, start=StartReason.SEEK, motion=None, seconds=dict(frame.seconds), begins_part=False
                )
            yield frame
            if frame.begins_part:
                return


@dataclass
class _Packets:
    """The packets whose frames were not shown yet, for a part that may begin at one of them."""

    waiting: deque[Packet] = field(default_factory=deque)
    keys: set[int] = field(default_factory=set)
    listener: Listener | None = None
    since: int | None = None
    """Where the part begins that listens: frames that are shown earlier do not belong to it."""

    def take(self, packet: Packet) -> None:
        if packet.pts is not None and packet.key:
            self.keys.add(packet.pts)
        self.waiting.append(packet)
        self._hand_on(packet)

    def begin(self, frame: Frame) -> None:
        """A part begins with this frame."""
        self.since = frame.pts if frame.start is StartReason.SEEK else None
        self.listener = None

    def listen(self, listener: Listener) -> None:
        """The part that begins wants packets, those too that the decoder has read ahead."""
        self.listener = listener
        for packet in self.waiting:
            self._hand_on(packet)

    def can_begin(self, frame: Frame) -> bool:
        return frame.picture_type == "I" and frame.pts in self.keys and not frame.start

    def shown(self, frame: Frame) -> None:
        """What came before this frame is not needed any more."""
        if frame.pts is None:
            self.waiting.clear()
            return
        self.keys = {pts for pts in self.keys if pts > frame.pts}
        while self.waiting and (self.waiting[0].pts is None or self.waiting[0].pts < frame.pts):
            self.waiting.popleft()

    def _hand_on(self, packet: Packet) -> None:
        early = self.since is not None and packet.pts is not None and packet.pts < self.since
        if self.listener is not None and not early:
            self.listener(packet)
