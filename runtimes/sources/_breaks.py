"""Which frames begin anew: reasons wait for the first frame they hold for, and decoders mark frames."""

from __future__ import annotations

from collections import OrderedDict, deque
from operator import itemgetter

from edge_vss.plugins import LOG
from edge_vss.runtimes.sources._continuity import DAMAGED, LOST
from edge_vss.video import StartReason

_IN_FLIGHT = 128
"""Packets whose frames may still come out of the decoder: more than any decoder with threads holds."""

_MARKED_FRAMES = 17
"""Unmarked frames that may be shown between two that refer to a lost one: more than HEVC holds back."""


class Breaks:
    """Passive. Packets are added in decoding order; frames are asked about in the order of showing.

    A reason holds for the first shown frame that was decoded from its packet or from a later one: B-frames
    decoded after a loss but shown before it may refer to what is missing.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[int, int] = OrderedDict()
        self._packets = 0
        self._frames = 0
        self._waiting: deque[tuple[int, StartReason]] = deque()

    @property
    def losses(self) -> int:
        """How many losses no frame has told so far."""
        return sum(reason == LOST for _, reason in self._waiting)

    def packet(self, pts: int | None, reason: StartReason) -> None:
        """The next packet, with the reason why frames from it on do not follow on, or empty."""
        if reason:
            self._waiting.append((self._packets, reason))
        if pts is not None:
            self._places[pts] = self._packets
            if len(self._places) > _IN_FLIGHT:
                self._places.popitem(last=False)
        self._packets += 1

    def damaged(self, pts: int | None, reason: StartReason, delayed: bool) -> None:
        """The packet of this pts, without one the packet added last, cannot be decoded; or, where the decoder
        answers ``delayed``, some packet before."""
        place = self._packets - 1 if pts is None else self._places.get(pts, self._packets - 1)
        self._waiting.append((0 if delayed else place, reason))
        self._frames += not delayed

    def again(self, reason: StartReason) -> None:
        """The next frame has this reason too."""
        self._waiting.append((0, reason))

    def begin(self, reason: StartReason) -> None:
        """Nothing waits any more, but that the next frame begins anew for this reason, if it is not empty."""
        self._waiting.clear()
        if reason:
            self.again(reason)
        self._places.clear()
        self._frames = self._packets

    def frame(self, pts: int | None) -> StartReason:
        """Why the frame that is shown next begins anew, or empty."""
        # A stream without presentation times has few B-frames, if any: frames come about as packets do.
        place = self._frames if pts is None else self._places.pop(pts, self._frames)
        self._frames += 1
        due = sorted((waiting for waiting in self._waiting if waiting[0] <= place), key=itemgetter(0))
        for waiting in due:
            self._waiting.remove(waiting)
        return next((reason for _, reason in due), StartReason.NONE)


class Marks:
    """What the decoder says of its frames. HEVC's marks all that refer to something missing, up to the next
    key frame. Other decoders mark few, if any."""

    def __init__(self, codec: str, name: str) -> None:
        self._hevc = codec == "hevc"
        self._name = name
        self._withheld: int | None = 0
        self._marked = self._ruined = 0

    def withhold(self, marked: bool) -> bool:
        """Whether this frame is not to be shown, because no whole one came yet. Other decoders see to it."""
        if self._withheld is None:
            return False
        if self._hevc and marked:
            self._withheld += 1
            return True
        if self._withheld:
            LOG.warning("%s: %d frames before the first whole one are left out", self._name, self._withheld)
        self._withheld = None
        return False

    def reason(self, reason: StartReason, whole: bool, intra: bool) -> StartReason:
        """Why a shown frame begins anew: ``reason``, or that it is the first of those that are not whole."""
        # One start is enough: the hole in the order of the pictures, which is found later, is no news.
        if not whole and not self._ruined:
            reason = reason or (LOST if self._hevc else DAMAGED)
        elif self._marked and reason == LOST:
            reason = StartReason.NONE
        self._marked = _MARKED_FRAMES if not whole else max(0, self._marked - 1)
        self._ruined = _MARKED_FRAMES if not whole else 0 if intra else max(0, self._ruined - 1)
        return reason
