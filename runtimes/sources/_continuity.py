"""Finding out that packets were lost. The decoder does not say so: it fills in what is missing, and its
vectors look like any others."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from edge_vss.runtimes.sources import _sps as sps
from edge_vss.video import StartReason

LOST, DAMAGED = StartReason.LOST_PACKETS, StartReason.DAMAGED_PACKET

_STEADY_PACKETS = 8
"""A rate counts as constant after so many equal steps. After fewer, a change of it would look like a loss."""

_SCAN_BYTES = 4096
"""How much of a packet is looked at. What comes before the first slice (parameter sets, SEI) fits into it."""


@dataclass(frozen=True)
class PacketHead:
    """What is looked at in a packet, in decoding order. Times are in any one unit."""

    data: bytes
    dts: int | None
    duration: int | None
    corrupt: bool = False


def head_bytes(packet: memoryview) -> bytes:
    """The part of a packet's bytes that Continuity reads."""
    return bytes(packet[:_SCAN_BYTES])


class Continuity:
    """Watches the packets of one stream. Passive; one per stream, in decoding order.

    There are three signs of a loss, the surest first:

    - the demuxer marked the packet (the continuity counter of MPEG-TS jumped);
    - H.264's ``frame_num`` jumped, which counts the reference frames (ITU-T H.264, 7.4.3);
    - the decoding time jumped in a stream of constant rate.

    The last sign does not count where ``frame_num`` shows that nothing is missing: a frame rate may vary.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._h264 = codec == "h264"
        self._length_bytes = sps.length_bytes(extradata)
        self._sps = sps.read_extradata(extradata) if self._h264 else None
        self._disposable_seen = False
        self.restart()

    def restart(self) -> None:
        """Forget what came before: after a seek, the next packet has nothing to follow on from."""
        self._frame_num: int | None = None
        self._previous: PacketHead | None = None
        self._steps: deque[int] = deque(maxlen=_STEADY_PACKETS)

    def check(self, packet: PacketHead) -> StartReason:
        """Why the frames from this packet on do not follow on from those before."""
        jumped, complete = self._frame_num_jumped(packet.data) if self._h264 else (False, False)
        late = self._time_jumped(packet)
        return LOST if packet.corrupt or jumped or (late and not complete) else StartReason.NONE

    def _frame_num_jumped(self, data: bytes) -> tuple[bool, bool]:
        """Whether a reference frame is missing before this packet; whether it is certain that nothing is."""
        start = self._slice_start(data)
        if start is None or self._sps is None or self._sps.gaps_allowed:
            self._frame_num = None
            return False, False
        self._disposable_seen |= not start.reference
        previous, modulus = self._frame_num, 1 << self._sps.log2_max_frame_num
        # A frame that nothing refers to has the number of the next reference frame. So it only tells whether
        # the reference frame before it is there.
        self._frame_num = start.frame_num if start.reference else (start.frame_num - 1) % modulus
        if start.idr or previous is None:
            return False, False
        # Equal numbers are the two fields of one frame.
        jumped = (start.frame_num - previous) % modulus > 1
        return jumped, not jumped and not self._disposable_seen

    def _slice_start(self, data: bytes) -> sps.SliceStart | None:
        for unit in sps.nal_units(data, self._length_bytes):
            if unit[0] & 31 == sps.NAL_SPS:
                self._sps = sps.read_sps(unit) or self._sps
            elif self._sps is not None and (start := sps.read_slice_start(unit, self._sps)) is not None:
                return start
        return None

    def _time_jumped(self, packet: PacketHead) -> bool:
        previous, self._previous = self._previous, packet
        if previous is None or previous.dts is None or packet.dts is None:
            return False
        step = packet.dts - previous.dts
        usual = median(self._steps) if len(self._steps) == _STEADY_PACKETS else 0
        # One tick of rounding is normal: Matroska counts milliseconds.
        steady = usual > 0 and max(self._steps) - min(self._steps) <= max(2, usual // 10)
        foretold = previous.duration is not None and step <= 1.5 * previous.duration
        jumped = step < 0 or (steady and step > 1.5 * usual + 1 and not foretold)
        if jumped:
            self._steps.clear()
        else:
            self._steps.append(step)
        return jumped
