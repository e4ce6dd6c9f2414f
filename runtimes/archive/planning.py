"""Cutting a recording into shards that can be labelled alone, by its packets: nothing is decoded."""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import asdict, dataclass, replace

from edge_vss.runtimes.motion import _parts as parts
from edge_vss.runtimes.sources import SourceOptions, plugin_of
from edge_vss.runtimes.sources._coded_stream import CodedStream
from edge_vss.video import Packet


@dataclass(frozen=True)
class Shard:
    """A run of frames between two I-frames. A frame at a joint is read by both its shards, and counts to the
    later one."""

    number: int
    of: int
    first_frame: int
    """The index of its first frame in the recording."""
    frames: int | None
    """How many there are, without the one at its end; None where that is not known."""
    start_pts: int | None
    """The time of its first frame, in the stream's units; None where the recording begins."""
    start_seconds: float
    end_pts: int | None
    """The time of the frame that the next shard begins with; None where the recording ends."""

    @property
    def place(self) -> str:
        """Its name among the shards of its recording."""
        return f"{self.number:05d}-of-{self.of:05d}"


@dataclass(frozen=True)
class Plan:
    """How a recording is cut."""

    fingerprint: str
    frames: int
    """How many frames its packets promise."""
    seconds: float
    shards: tuple[Shard, ...]

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of_bytes(cls, data: bytes) -> Plan:
        """What `to_bytes` gave."""
        fields = json.loads(data)
        return cls(**{**fields, "shards": tuple(Shard(**shard) for shard in fields["shards"])})

    def in_one_piece(self) -> Plan:
        """The same recording, not cut."""
        return Plan(self.fingerprint, self.frames, self.seconds, (_WHOLE,))


_WHOLE = Shard(0, 1, 0, None, None, 0.0, None)


def plan(path: str, fingerprint: str, shard_frames: int) -> Plan:
    """Cut a video file into shards of at least so many frames, where parts begin (`InParts`).

    A recording that lost packets, or whose packets have no times, stays in one piece: what its frames are
    is only known when they are decoded one after another. Raises SourceError for a file that is no video.
    """
    packets: list[Packet] = []
    _, target = plugin_of(path)
    coded = CodedStream(target, SourceOptions(vectors=False), frozenset())
    try:
        # A recording's bytes would be kept in memory.
        coded.listening.begin(lambda packet: packets.append(replace(packet, data=b"")))
        for _ in coded.packets():
            pass
        unit, guessed = coded.time_base, coded.guessed
        rate = coded.fps
    finally:
        coded.close()
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    whole = Plan(fingerprint, len(packets), len(packets) / rate, (_WHOLE,))
    if len(set(times)) < len(packets) or guessed or coded.errors or any(p.start for p in packets):
        return whole
    keys = sorted(packet.pts for packet in packets if packet.key and packet.pts is not None)
    joints, part, shard = [], 0, 0
    for pts in keys:
        at = bisect_left(times, pts)
        if at - part >= parts.PART_FRAMES:
            part = at
            if at - shard >= shard_frames:
                shard = at
                joints.append(at)
    starts, ends = [0, *joints], [*joints, len(times)]
    return Plan(
        fingerprint,
        len(packets),
        len(packets) / rate,
        tuple(
            Shard(
                number,
                len(starts),
                start,
                end - start,
                times[start] if number else None,
                float(times[start] * unit) if number else 0.0,
                times[end] if end < len(times) else None,
            )
            for number, (start, end) in enumerate(zip(starts, ends, strict=True))
        ),
    )
