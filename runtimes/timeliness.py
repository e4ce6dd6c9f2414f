"""How long after its packet a frame has labels, and how old these are, in the same memory for ever."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from edge_vss.decisions import Prediction
from edge_vss.report import Report
from edge_vss.runtimes.timing import Latency

_SHORTEST_SECONDS, _LONGEST_SECONDS, _STEP = 1e-6, 1e4, 1.01


@dataclass(frozen=True)
class Timeliness(Report):
    """What a person can feel of a run."""

    frames: int
    """Frames with labels."""

    missed: int
    """Frames without."""

    start_ms: float
    """From the first frame's packet to its labels, which are the first: the network has to run once."""

    packet_to_label_ms: Latency
    """From a frame's packet to its labels: decoding, motion, waiting and graphs. Without the frames that came
    before there were any labels, if others came after."""

    age_ms: Latency
    """How much earlier than its frame the key frame was shown that the labels come from."""

    jitter_ms: float
    """How much the time from packet to labels changes from one frame to the next, on average."""


class Durations:
    """Counts durations on a fine scale, each step 1 % longer than the last: memory stays the same."""

    def __init__(self) -> None:
        steps = math.ceil(math.log(_LONGEST_SECONDS / _SHORTEST_SECONDS, _STEP))
        self._counts = np.zeros(steps + 1, np.int64)

    def add(self, seconds: float) -> None:
        """Count one."""
        place = 0
        if seconds > _SHORTEST_SECONDS:
            place = min(round(math.log(seconds / _SHORTEST_SECONDS, _STEP)), len(self._counts) - 1)
        self._counts[place] += 1

    @property
    def count(self) -> int:
        """How many there were."""
        return int(self._counts.sum())

    def percentile(self, percent: float) -> float:
        """In seconds, within 1 %; 0 where nothing was counted."""
        if not self.count:
            return 0.0
        rank = max(1, math.ceil(self.count * percent / 100))
        place = int(np.searchsorted(self._counts.cumsum(), rank))
        return _SHORTEST_SECONDS * _STEP**place if place else 0.0

    @property
    def latency(self) -> Latency:
        """In milliseconds."""
        return Latency(*(round(self.percentile(percent) * 1e3, 3) for percent in (50, 95, 99)))


class Timing:
    """Collects the figures of one stream. Not thread-safe."""

    def __init__(self) -> None:
        self.frames = self.missed = 0
        self._spent, self._ages = Durations(), Durations()
        self._began: float | None = None
        self._start = 0.0
        self._last: float | None = None
        self._changes = 0.0

    def shown(self, prediction: Prediction, seconds: float) -> None:
        """A frame has labels now, ``seconds`` after its packet."""
        self.frames += 1
        self._ages.add(prediction.age_seconds)
        now = perf_counter()
        if self._began is None:
            self._began, self._start = now, seconds
        if now - seconds <= self._began:
            return
        self._spent.add(seconds)
        if self._last is not None:
            self._changes += abs(seconds - self._last)
        self._last = seconds

    def miss(self) -> None:
        """A frame has none."""
        self.missed += 1

    def figures(self) -> Timeliness:
        """Those up to now."""
        jitter = 1e3 * self._changes / max(self._spent.count - 1, 1)
        start = round(1e3 * self._start, 3)
        return Timeliness(
            frames=self.frames,
            missed=self.missed,
            start_ms=start,
            packet_to_label_ms=self._spent.latency if self._spent.count else Latency(start, start, start),
            age_ms=self._ages.latency,
            jitter_ms=round(jitter, 3),
        )

    def __str__(self) -> str:
        spent, age = self._spent.latency, self._ages.latency
        return f"p95 {spent.p95:.0f} ms after the packet, {age.p50 / 1e3:.2f} s old"
