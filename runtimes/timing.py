"""Where the time and the memory go: percentiles of durations, and the size of this process."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_vss.report import Report

STAGES = ("decode", "motion", "image", "key", "state", "nonkey", "post", "sink")
"""The stages of a frame's way through the runtime, in order.

``image`` is the conversion to RGB at the model's size, where a graph asks for it; ``key``, ``state`` and
``nonkey`` are graphs.
"""


@dataclass(frozen=True)
class Latency(Report):
    """Percentiles of durations, in milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Percentiles(Latency):
    """Percentiles of a stage's durations in milliseconds, and how often the stage ran."""

    count: int

    @property
    def latency(self) -> Latency:
        """The same without the count."""
        return Latency(self.p50, self.p95, self.p99)


def percentiles(seconds: Iterable[float]) -> Percentiles:
    """The percentiles of durations; all 0 where there are none.

    A percentile is a duration that was measured (the nearest rank, rounded up), never a mean of two.
    """
    taken = np.fromiter(seconds, np.float64)
    if not taken.size:
        return Percentiles(0.0, 0.0, 0.0, 0)
    p50, p95, p99 = (
        round(float(ms), 4) for ms in np.percentile(taken * 1e3, (50, 95, 99), method="inverted_cdf")
    )
    return Percentiles(p50, p95, p99, int(taken.size))


class Stopwatch:
    """Collects durations by name. Not thread-safe: one per thread, joined by ``merge``."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        """Name → every duration taken, in seconds, in the order they were taken."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a ``with`` block; a block that raises is not counted."""
        begun = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - begun)

    def add(self, name: str, seconds: float) -> None:
        """Count a duration that was measured elsewhere."""
        self.seconds.setdefault(name, []).append(seconds)

    def merge(self, stages: Mapping[str, float]) -> None:
        """Count one frame's seconds per stage."""
        for name, seconds in stages.items():
            self.add(name, seconds)

    def summary(self, names: Iterable[str] = STAGES) -> dict[str, Percentiles]:
        """Percentiles by name: first ``names`` in their order, timed or not, then what else was timed."""
        ordered = dict.fromkeys((*names, *self.seconds))
        return {name: percentiles(self.seconds.get(name, ())) for name in ordered}


def rss_mb() -> float:
    """Memory this process holds now, in MB (10⁶ bytes); not a number where the system does not say."""
    return _status("VmRSS")


def peak_rss_mb() -> float:
    """The most memory this process has held, in MB (10⁶ bytes); not a number where the system does not say.

    Linux's ``VmHWM``, because ``getrusage`` also counts what the parent held before it started this process.
    """
    peak = _status("VmHWM")
    if not math.isnan(peak):
        return peak
    try:
        import resource
    except ImportError:
        return float("nan")
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / 1e6 if sys.platform == "darwin" else held * 1024 / 1e6


def _status(field: str) -> float:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return float("nan")
