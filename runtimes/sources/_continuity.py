"""Finding out that packets were lost. The decoder does not say so: it fills in what is missing, and its
vectors look like any others."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edge_vss.runtimes.sources._hevc_numbers import Hevc
from edge_vss.runtimes.sources._picture_numbers import H264, NO_STEP, Mpeg4, Mpeg12, Numbering, PictureNumber
from edge_vss.runtimes.sources._sps import Cropping
from edge_vss.video import StartReason

LOST, DAMAGED = StartReason.LOST_PACKETS, StartReason.DAMAGED_PACKET
JOINED = StartReason.CLOCK_JUMPED

AHEAD_PACKETS = 16
"""How many packets are looked at beyond the next one, where a source can be read ahead of its time."""

_STEADY_PACKETS = 8
"""A rate counts as constant after so many equal steps. After fewer, a change of it would look like a loss."""
_KEPT_STEPS = 32
_ODD_STEPS = 1 / 8
"""So many steps of a constant rate may be others: where other packets were lost. With more, a rate varies."""
_JOINED_SECONDS = 10.0
"""A longer gap before a key frame is another recording, as in FFmpeg's dts_delta_threshold."""
_BACK_SECONDS = 1.0
"""Guessed decoding times (of B-frames in Matroska and AVI) go back after a loss, but not so far."""
_JOINT_PACKETS = 2
"""At a joint in MPEG-TS the counter jumps, which marks one of the last packets before it."""
_MOST_REORDERED = 17
"""Packets after which no picture comes that is shown before a lost one."""

_SCAN_BYTES = 4096
"""How much of a packet is looked at. What comes before the first slice (parameter sets, SEI) fits into it."""


@dataclass(frozen=True)
class PacketHead:
    """What is looked at in a packet, in decoding order. Times are in any one unit."""

    dts: int | None
    duration: int | None
    corrupt: bool = False
    key: bool = False
    number: PictureNumber | None = None
    references: int = 0
    """How many frames a picture may refer to, by the headers so far; 0 where headers do not say."""
    cropping: Cropping | None = None
    """What is shown of a coded picture, by the headers so far; None where all is."""


class Continuity:
    """Watches the packets of one stream. Passive; one per stream, in decoding order.

    There are three signs of a loss, the surest first:

    - the demuxer marked the packet (the continuity counter of MPEG-TS jumped);
    - the codec's own numbers jumped (edge_vss.runtimes.sources._picture_numbers);
    - the decoding time jumped in a stream of constant rate.

    The last sign does not count where the numbers show that nothing is missing: a frame rate may vary.
    """

    def __init__(self, codec: str, extradata: bytes, tick_seconds: float = 0.001) -> None:
        self._numbering = _numbering(codec, extradata)
        self._joined_ticks = _JOINED_SECONDS / tick_seconds
        self._back_ticks = _BACK_SECONDS / tick_seconds
        # HEVC's decoder marks the pictures whose references are missing. A jump of the clock tells no more.
        self._marked = codec == "hevc"
        self._order = _Order(self._numbering.step if self._numbering else NO_STEP, codec, self._marked)
        self.restart()

    def restart(self) -> None:
        """Forget what came before: after a seek, the next packet has nothing to follow on from."""
        if self._numbering is not None:
            self._numbering.restart()
        self._order.restart()
        self._previous: PacketHead | None = None
        # For so many packets, the clock may only repeat what the numbers have told.
        self._told = 0
        self._steps: deque[int] = deque(maxlen=_KEPT_STEPS)

    def read(
        self,
        packet: memoryview,
        dts: int | None,
        duration: int | None,
        *,
        corrupt: bool = False,
        key: bool = False,
    ) -> PacketHead:
        """What is to be known of the next packet; `check` takes it, now or later."""
        if self._numbering is None:
            return PacketHead(dts, duration, corrupt, key)
        number = self._numbering.read(bytes(packet[:_SCAN_BYTES]))
        numbering = self._numbering
        return PacketHead(dts, duration, corrupt, key, number, numbering.references, numbering.cropping)

    def check(self, packet: PacketHead, ahead: Sequence[PacketHead] = (), ended: bool = False) -> StartReason:
        """Why the frames from this packet on do not follow on from those before: a start reason, or empty.

        ``ahead`` are packets that come next, as far as they are known; after them the stream has ``ended``.
        """
        previous, self._previous = self._previous, packet
        number = packet.number
        missing, proved = self._order.check(number, ahead, ended)
        step = _between(previous, packet)
        if previous is not None and self._is_joint([previous, packet]):
            self._steps.clear()
            return JOINED
        corrupt = packet.corrupt and not self._is_joint([packet, *ahead[:_JOINT_PACKETS]])
        late = step is not None and self._is_late(step, previous, packet, ahead)
        trusted = not proved and not (self._marked and number is not None and not number.begins)
        self._told = _MOST_REORDERED if missing else max(0, self._told - 1)
        return LOST if corrupt or missing or (late and trusted and not self._told) else StartReason.NONE

    def _is_joint(self, packets: Sequence[PacketHead]) -> bool:
        """Whether one recording ends and another begins somewhere among these."""
        steps = zip(map(_between, packets, packets[1:]), packets[1:], strict=True)
        return any(
            step is not None and packet.key and not -self._back_ticks <= step <= self._joined_ticks
            for step, packet in steps
        )

    def _is_late(
        self,
        step: int,
        previous: PacketHead | None,
        packet: PacketHead,
        ahead: Sequence[PacketHead],
    ) -> bool:
        """Whether the decoding time jumped."""
        heads = [packet, *ahead]
        after = [s for s in map(_between, heads, heads[1:]) if s is not None]
        steps = [*self._steps, *after]
        usual = median(steps) if len(steps) >= _STEADY_PACKETS else 0
        # One tick of rounding is normal: Matroska counts milliseconds.
        # Where FFmpeg guesses, the numbers know better.
        if step < 0:
            self._steps.clear()
            return packet.number is None
        foretold = previous is not None and previous.duration is not None and step <= 1.5 * previous.duration
        longer = usual > 0 and step > 1.5 * usual + 1 and not foretold
        late = longer and _mostly(steps, usual, max(2, usual / 10))
        if late and not after:
            self._steps.clear()
        elif not late:
            self._steps.append(step)
        return late


class _Order:
    """Finds holes in the order of showing. A picture that is shown after all before it (a top) is one step
    further than the top before, and one more for each picture that comes after it and is shown between."""

    def __init__(self, step: int, codec: str, late: bool) -> None:
        self._step = step
        # With references among the B-pictures, the picture after a loss may be any.
        self._pyramids = codec in ("h264", "hevc")
        # Others count pictures; this counts ticks of a clock, whose rate may vary.
        self._ticks = codec == "mpeg4"
        self._late = late
        self.restart()

    def restart(self) -> None:
        """Forget what came before."""
        self._top: int | None = None
        self._proved = self._hole = False
        self._straight = 0
        self._steps: deque[float] = deque(maxlen=_KEPT_STEPS)
        self._forgiven = 0

    def check(
        self, number: PictureNumber | None, ahead: Sequence[PacketHead], ended: bool
    ) -> tuple[bool, bool]:
        """Whether a picture is missing before this one, or soon after; whether it is certain that none is."""
        self._forgiven -= self._forgiven > 0
        if number is None:
            self._top, self._proved = None, False
            return False, False
        if number.missing or number.begins or self._top is None:
            hole, self._hole = self._hole, False
            self._top = None if number.between else number.count
            self._proved = False
            if number.missing and self._pyramids:
                self._forgiven = _MOST_REORDERED
            return number.missing or (number.begins and hole), number.whole
        if number.between or number.count <= self._top:
            self._straight = 0
            return False, self._proved or number.whole
        steps = _steps(self._top, [number, *(head.number for head in ahead)], ended)
        self._straight += 1
        if not steps and not ahead and not self._pyramids and self._straight > _MOST_REORDERED:
            # A live stream is not read ahead. So long without a B-frame, it will not begin with them now.
            steps = [number.count - self._top]
        self._top = number.count
        self._proved = False
        following = ahead[0].number if ahead else None
        if self._ticks and following is not None and (following.between or following.count <= self._top):
            # Between B-frames, uneven times are no evidence. Without them, the clock says as much.
            steps = []
        hole = bool(steps) and self._is_hole(steps[0], steps[1:])
        if self._late:
            hole, self._hole = self._hole, hole
        return hole, self._proved or number.whole

    def _is_hole(self, step: float, after: list[float]) -> bool:
        steps = [*self._steps, *after]
        usual = float(self._step)
        if not usual and len(steps) >= (_STEADY_PACKETS if self._ticks else 2):
            usual = median(steps)
            usual = usual if _mostly(steps, usual, usual / 10) else 0.0
        longest = (1.5 if self._ticks else 1.1) * usual
        hole = 0 < longest < step and not self._forgiven
        self._proved = 0 < step <= longest
        if not hole or self._ticks:
            self._steps.append(step)
        return hole


def _steps(top: int, numbers: list[PictureNumber | None], ended: bool) -> list[float]:
    """How far each top among the pictures is from the one before, for each picture shown since: as far as
    all of those are known."""
    steps: list[float] = []
    step = shown = 0
    for position, number in enumerate(numbers):
        if number is None or (position and number.missing):
            return steps
        if position and number.begins:
            break
        if number.between or number.count <= top:
            shown += 1
            continue
        if position:
            steps.append(step / shown)
        step, shown, top = number.count - top, 1, number.count
    else:
        if not ended:
            return steps
    return [*steps, step / shown]


def _mostly(steps: Sequence[float], usual: float, tolerance: float) -> bool:
    """Whether the steps are equal, but for some."""
    return sum(abs(step - usual) > tolerance for step in steps) <= _ODD_STEPS * len(steps)


def _between(one: PacketHead | None, other: PacketHead) -> int | None:
    return None if one is None or one.dts is None or other.dts is None else other.dts - one.dts


def _numbering(codec: str, extradata: bytes) -> Numbering | None:
    if codec == "h264":
        return H264(extradata)
    if codec == "hevc":
        return Hevc(extradata)
    if codec == "mpeg4":
        return Mpeg4(extradata)
    return Mpeg12() if codec in ("mpeg1video", "mpeg2video") else None
