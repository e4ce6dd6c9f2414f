"""One bundle on one engine, measured in a process of its own (``python -m edge_vss.runtimes.tools.worker``).

An engine that crashes, leaks or needs other libraries than its neighbour does so alone.
"""

from __future__ import annotations

from time import perf_counter

BEGUN = perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edge_vss.errors import EdgeVssError  # noqa: E402

WARM_UP_FRAMES = 4


def trial(job: dict[str, Any]) -> dict[str, Any]:
    """What a session costs here: start-up, frames per second, latency, memory; its labels go to a file.

    ``job`` has ``bundle``, ``engine``, ``provider``, ``threads``, ``source``, ``policy``, ``motion``,
    ``frames`` and ``labels`` (where to save what was shown, uint8 (N, H, W)).
    """
    import numpy as np

    from edge_vss.runtimes.pipeline import run
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sources import open_source
    from edge_vss.runtimes.tools.timing import Stopwatch, peak_rss_mb, percentiles
    from edge_vss.video import Frame, Prediction

    empty = peak_rss_mb()
    segmenter = load(job["bundle"], job["engine"], job["threads"], job["provider"])
    loaded = perf_counter()
    shown: list[Any] = []
    watch, latencies = Stopwatch(), []
    with open_source(job["source"], motion=job["motion"]) as source:
        opened = perf_counter() - loaded
        segmenter.session(job["policy"]).step(next(iter(source)))
    first = perf_counter() - opened
    with open_source(job["source"], motion=job["motion"]) as source:
        run(source, segmenter.session(job["policy"]), limit=WARM_UP_FRAMES)

    def count(frame: Frame, prediction: Prediction | None) -> None:
        if prediction is not None:
            watch.merge(prediction.seconds)
            latencies.append(sum(prediction.seconds.values()))
            shown.append(prediction.labels)

    with open_source(job["source"], motion=job["motion"]) as source:
        report = run(
            source,
            segmenter.session(job["policy"]),
            on_frame=count,
            drop_inference=False,
            limit=job["frames"],
        )
    if job["labels"]:
        np.save(job["labels"], np.stack(shown))
    stages = watch.summary()
    return {
        "start_seconds": round(first - BEGUN, 3),
        "frames": report.frames,
        "fps": round(report.fps, 3),
        "latency_ms": {name: percentiles(latencies)[name] for name in ("p50", "p95", "p99")},
        "graphs_ms": {role: stages[role]["p50"] for role in segmenter.graphs},
        "memory_mb": round(peak_rss_mb() - empty, 1),
    }


def main(job: str, result: str) -> None:
    """Write the result as JSON, or ``problem``: what went wrong, in one line."""
    try:
        found = trial(json.loads(Path(job).read_text(encoding="utf-8")))
    except EdgeVssError as error:
        found = {"problem": str(error)}
    Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
