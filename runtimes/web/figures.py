"""What a page tells of a camera in numbers, over the last seconds."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from edge_vss.decisions import Prediction
from edge_vss.report import Report
from edge_vss.runtimes.timing import Latency, percentiles
from edge_vss.video import Frame, StartReason

WINDOW_SECONDS = 10.0
"""The time that rates and percentiles are about."""
_MOST_FRAMES = 1200


@dataclass(frozen=True)
class StreamReport(Report):
    """The state of one camera."""

    name: str
    ok: bool
    """Whether labels came lately."""
    problem: str
    """Why it is not running now, or empty."""
    codec: str
    size: tuple[int, int]
    """Height and width in pixels; (0, 0) before the first frame."""
    motion: str
    """What measured the motion of the last frame, or empty."""
    clock: str
    """What the capture times come from: ``rtcp``, ``arrival``, or empty."""
    silent_seconds: float | None
    """Seconds since the last labels; None before the first."""
    labelled: int
    """Frames with labels so far."""
    skipped: int
    """Frames without, because newer ones waited."""
    keyframes: int
    losses: int
    """Times that packets were missing."""
    damaged: int
    """Packets that could not be decoded."""
    restarts: int
    """Times that the stream was begun anew."""
    fps: float
    """Frames with labels per second, over the last seconds, as all below."""
    key_share: float
    """Share of key frames, 0 to 1."""
    doubt: float | None
    """How far the labels are in doubt (as the policy ``adaptive`` reckons); None where it is not measured."""
    latency_ms: Latency
    """From the arrival of a frame's packet to its labels."""
    stages_ms: dict[str, Latency]
    """By the name of the stage."""


@dataclass
class _Sample:
    at: float
    key: bool
    doubt: float | None
    latency_seconds: float | None
    seconds: dict[str, float]


@dataclass
class Figures:
    """Collects them. One thread takes frames, any reads."""

    labelled: int = 0
    skipped: int = 0
    keyframes: int = 0
    losses: int = 0
    last_at: float | None = None
    motion: str = ""
    clock: str = ""
    _samples: deque[_Sample] = field(default_factory=lambda: deque(maxlen=_MOST_FRAMES))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(
        self, frame: Frame, prediction: Prediction | None, key: bool, doubt: float | None
    ) -> float | None:
        """The next frame, with None where it passed without labels. ``key`` says whether its labels are a new
        key frame's. Gives the seconds from packet to labels, where they are known."""
        now = time.time()
        late = None if frame.arrived_seconds is None else now - frame.arrived_seconds
        with self._lock:
            self.losses += frame.start == StartReason.LOST_PACKETS
            if prediction is None:
                self.skipped += 1
                return None
            self.labelled += 1
            self.keyframes += key
            self.last_at = time.monotonic()
            self.motion = frame.motion.provider if frame.motion is not None else self.motion
            self.clock = frame.capture_clock
            self._samples.append(_Sample(self.last_at, key, doubt, late, dict(prediction.seconds)))
        return late

    def report(
        self,
        name: str,
        problem: str,
        codec: str,
        size: tuple[int, int],
        restarts: int,
        damaged: int,
        silence: float,
    ) -> StreamReport:
        """All of it now. After ``silence`` seconds without labels, the stream is not ok."""
        now = time.monotonic()
        with self._lock:
            recent = [sample for sample in self._samples if sample.at > now - WINDOW_SECONDS]
            last = self.last_at
            silent = None if last is None else now - last
            spent = max(now - recent[0].at, 1e-3) if recent else 1.0
            doubts = [sample.doubt for sample in recent if sample.doubt is not None]
            late = [sample.latency_seconds for sample in recent if sample.latency_seconds is not None]
            stages = dict.fromkeys(stage for sample in recent for stage in sample.seconds)
            return StreamReport(
                name=name,
                ok=silent is not None and silent <= silence,
                problem=problem,
                codec=codec,
                size=size,
                motion=self.motion,
                clock=self.clock,
                silent_seconds=None if silent is None else round(silent, 3),
                labelled=self.labelled,
                skipped=self.skipped,
                keyframes=self.keyframes,
                losses=self.losses,
                damaged=damaged,
                restarts=restarts,
                fps=round(len(recent) / spent, 2) if len(recent) > 1 else 0.0,
                key_share=sum(sample.key for sample in recent) / len(recent) if recent else 0.0,
                doubt=round(sum(doubts) / len(doubts), 2) if doubts else None,
                latency_ms=percentiles(late).latency,
                stages_ms={
                    stage: percentiles(
                        sample.seconds[stage] for sample in recent if stage in sample.seconds
                    ).latency
                    for stage in stages
                },
            )


def temperatures(root: Path = Path("/")) -> dict[str, float]:
    """Degrees Celsius by the name of the place, as the kernel tells them; empty where it tells none."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        try:
            name, value = (zone / "type").read_text().strip(), int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue
        # A sensor that is switched off says nonsense.
        if -40 < value < 150:
            found[name if name not in found else f"{name} {zone.name[12:]}"] = value
    return found
