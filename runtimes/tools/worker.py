"""One bundle on one engine, measured in a process of its own (``python -m edge_vss.runtimes.tools.worker``).

An engine that crashes, leaks or needs other libraries than its neighbour does so alone.
"""

from __future__ import annotations

from time import perf_counter

BEGUN = perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from edge_vss.errors import EdgeVssError  # noqa: E402
from edge_vss.report import Report  # noqa: E402

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_vss.decisions import Prediction
    from edge_vss.runtimes.timing import Latency
    from edge_vss.video import Frame

WARM_UP_FRAMES = 4


@dataclass(frozen=True)
class Job(Report):
    """What is to be measured."""

    bundle: str
    engine: str
    provider: str
    threads: int
    source: str
    policy: str | None
    opening: dict[str, Any]
    """The fields of `Opening`: how the source is to be opened."""
    frames: int
    both_ways: bool
    """Whether frames in between have their labels from both sides."""
    labels: str
    """The file for what was shown, uint8 (N, H, W), or (N, heads, H, W); empty saves nothing."""


@dataclass(frozen=True)
class Measurement(Report):
    """What a session costs here."""

    start_seconds: float
    """From the start of the process to the first frame's labels, without opening the source."""
    frames: int
    fps: float
    latency_ms: Latency
    graphs_ms: dict[str, float]
    """Median of every graph, by role."""
    memory_mb: float
    """The most memory held, in MB (10⁶ bytes), beyond what Python and NumPy held before the bundle."""
    between_ms: Latency | None = None
    """``latency_ms`` of the frames in between alone; None where there are none."""


def measure(job: Job) -> Measurement:
    """Load the bundle, run the frames, and leave their labels in ``job.labels``."""
    import numpy as np

    from edge_vss.runtimes.opening import Opening
    from edge_vss.runtimes.pipeline import run
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.timing import Stopwatch, peak_rss_mb, percentiles

    empty = peak_rss_mb()
    segmenter = load(job.bundle, job.engine, job.threads, job.provider)
    loaded = perf_counter()
    shown: list[NDArray[np.uint8]] = []
    latencies: list[float] = []
    between: list[float] = []
    watch = Stopwatch()
    opening = Opening(**job.opening)
    session = segmenter.session(job.policy)
    with opening.open(job.source, session) as source:
        opened = perf_counter() - loaded
        session.step(next(iter(source)))
    first = perf_counter() - opened
    session = segmenter.session(job.policy)
    with opening.open(job.source, session) as source:
        run(source, session, limit=WARM_UP_FRAMES, both_ways=job.both_ways)

    def count(frame: Frame, prediction: Prediction | None) -> None:
        if prediction is not None:
            watch.merge(prediction.seconds)
            latencies.append(sum(prediction.seconds.values()))
            if prediction.decision.route == "nonkey":
                between.append(latencies[-1])
            shown.append(np.stack(list(prediction.heads.values())) if prediction.heads else prediction.labels)

    session = segmenter.session(job.policy)
    with opening.open(job.source, session) as source:
        report = run(
            source,
            session,
            on_frame=count,
            drop_inference=False,
            limit=job.frames,
            both_ways=job.both_ways,
        )
    if job.labels:
        np.save(job.labels, np.stack(shown))
    stages = watch.summary()
    return Measurement(
        start_seconds=round(first - BEGUN, 3),
        frames=report.frames,
        fps=round(report.fps, 3),
        latency_ms=percentiles(latencies).latency,
        graphs_ms={role: stages[role].p50 for role in segmenter.graphs},
        memory_mb=round(peak_rss_mb() - empty, 1),
        between_ms=percentiles(between).latency if between else None,
    )


def parse(text: str) -> Measurement | str:
    """What `main` has written: a measurement, or what went wrong."""
    from edge_vss.runtimes.timing import Latency

    found = json.loads(text)
    if "problem" in found:
        return str(found["problem"])
    between = found["between_ms"] and Latency(**found["between_ms"])
    return Measurement(**{**found, "latency_ms": Latency(**found["latency_ms"]), "between_ms": between})


def main(job: str, result: str) -> None:
    """Write the measurement as JSON, or ``problem``: what went wrong, in one line."""
    try:
        found = measure(Job(**json.loads(Path(job).read_text(encoding="utf-8")))).to_json()
    except EdgeVssError as error:
        found = {"problem": str(error)}
    Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
