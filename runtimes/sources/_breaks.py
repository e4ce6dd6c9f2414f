"""Reasons to begin anew that wait for the first frame they hold for."""

from __future__ import annotations

from collections import OrderedDict, deque

from edge_vss.runtimes.sources._continuity import LOST

_IN_FLIGHT = 128
"""Packets whose frames may still come out of the decoder: more than any decoder with threads holds."""


class Breaks:
    """Passive. Packets are added in decoding order; frames are asked about in the order of showing.

    A reason holds for the first shown frame that was decoded from its packet or from a later one: B-frames
    decoded after a loss but shown before it may refer to what is missing.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[int, int] = OrderedDict()
        self._packets = 0
        self._frames = 0
        self._waiting: deque[tuple[int, str]] = deque()

    @property
    def losses(self) -> int:
        """How many losses no frame has told so far."""
        return sum(reason == LOST for _, reason in self._waiting)

    def packet(self, pts: int | None, reason: str) -> None:
        """The next packet, with the reason why frames from it on do not follow on, or empty."""
        if reason:
            self._waiting.append((self._packets, reason))
        if pts is not None:
            self._places[pts] = self._packets
            if len(self._places) > _IN_FLIGHT:
                self._places.popitem(last=False)
        self._packets += 1

    def damaged(self, reason: str, delayed: bool) -> None:
        """The packet added last cannot be decoded, or, where the decoder answers ``delayed``, some before."""
        self._waiting.append((0 if delayed else self._packets - 1, reason))
        self._frames += not delayed

    def again(self, reason: str) -> None:
        """The next frame has this reason too."""
        self._waiting.append((0, reason))

    def begin(self, reason: str) -> None:
        """Nothing waits any more, but that the next frame begins anew for this reason, if it is not empty."""
        self._waiting.clear()
        if reason:
            self.again(reason)
        self._places.clear()
        self._frames = self._packets

    def frame(self, pts: int | None) -> str:
        """Why the frame that is shown next begins anew, or empty."""
        # A stream without presentation times has few B-frames, if any: frames come about as packets do.
        place = self._frames if pts is None else self._places.pop(pts, self._frames)
        self._frames += 1
        due = [waiting for waiting in self._waiting if waiting[0] <= place]
        for waiting in due:
            self._waiting.remove(waiting)
        return next((reason for _, reason in due), "")
