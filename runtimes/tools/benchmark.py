"""Where the time goes: the scheduled session against the key graph on every frame, in turn in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.session import Session
from edge_vss.runtimes.sinks import SINKS, Sink, SinkContext, open_sink
from edge_vss.runtimes.sources import Source, open_source
from edge_vss.runtimes.tools.timing import Stopwatch, peak_rss_mb, percentiles
from edge_vss.video import Frame, Policy, Prediction

CHUNK_FRAMES = 60
"""Frames that one side runs before it is the other's turn: shared machines change speed within seconds."""

_WARM_UP_FRAMES = 4


def profile(
    segmenter: Segmenter,
    uri: str | Path,
    policy: str | Policy | None = None,
    *,
    motion: str = "auto",
    sink: str = "labels",
    limit: int | None = None,
    against: Segmenter | None = None,
) -> dict[str, Any]:
    """Speed, latency and stages under ``policy``, the same for a key graph on every frame, and their ratio.

    With ``against`` (a bundle of the same network in fp32, say) the other side is that bundle under the same
    policy instead.

    Both sides run the whole pipeline on the same frames, a chunk each in turn (ABBA), so that a change in the
    machine's speed meets both; the baseline decodes without motion and traces nothing. ``fps`` counts frames
    through the pipeline; ``latency_ms`` is what one frame spends in all of its stages, waiting not counted.
    ``sink`` names what writes the labels, into a folder that is removed afterwards; ``none`` writes nothing.

    Raises OptionError for a live source, which gives its frames only once; SourceError where there are none.
    """
    with tempfile.TemporaryDirectory(prefix="edge-vss-profile-") as folder:
        _warm_up(segmenter, uri, policy, motion)
        if against is not None:
            _warm_up(against, uri, policy, motion)
        with (
            open_source(uri, motion=motion) as first,
            open_source(uri, motion="none" if against is None else motion) as second,
        ):
            scheduled = _Side(
                first, segmenter.session(policy), _sinks(segmenter, first, sink, Path(folder, "a"))
            )
            sinks = _sinks(segmenter, second, sink, Path(folder, "b"))
            if against is None and segmenter.manifest.remembers:
                # Full frames, of which each remembers the ones before.
                baseline = _Side(second, segmenter.session("interval:1"), sinks)
            elif against is None:
                baseline = _Side(_starting_anew(second), segmenter.session(), sinks)
            else:
                baseline = _Side(second, against.session(policy), sinks)
            sides = [scheduled, baseline]
            try:
                while not all(side.ended for side in sides) and (limit is None or scheduled.frames < limit):
                    left = CHUNK_FRAMES if limit is None else min(CHUNK_FRAMES, limit - scheduled.frames)
                    for side in sides:
                        side.advance(left)
                    sides.reverse()
            finally:
                for side in sides:
                    side.close()
    if not scheduled.frames or not baseline.frames:
        raise SourceError(f"{uri} has no frames to measure: give a video that plays")
    result = scheduled.result()
    reference = baseline.result()
    return {
        "frames": scheduled.frames,
        **result,
        "policy": str(segmenter.manifest.policy if policy is None else policy),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "baseline": reference,
        "speedup": round(result["fps"] / reference["fps"], 3),
    }


@dataclass
class _Side:
    source: Iterable[Frame]
    session: Session
    sinks: list[_Timed]
    frames: int = 0
    keyframes: int = 0
    seconds: float = 0.0
    ended: bool = False
    watch: Stopwatch = field(default_factory=Stopwatch)
    latencies: list[float] = field(default_factory=list)

    def advance(self, frames: int) -> None:
        """The next chunk through the whole pipeline."""
        report = run(
            self.source, self.session, self.sinks, on_frame=self._count, drop_inference=False, limit=frames
        )
        self.frames += report.frames
        self.keyframes += report.keyframes
        self.seconds += report.seconds
        self.ended = report.frames < frames

    def _count(self, frame: Frame, prediction: Prediction | None) -> None:
        if prediction is not None:
            self.watch.merge(prediction.seconds)
            self.latencies.append(sum(prediction.seconds.values()))

    def close(self) -> None:
        for sink in self.sinks:
            sink.finish()

    def result(self) -> dict[str, Any]:
        for sink in self.sinks:
            for place, seconds in enumerate(sink.seconds):
                self.watch.add("sink", seconds)
                self.latencies[place] += seconds
        latency = percentiles(self.latencies)
        return {
            "fps": round(self.frames / self.seconds, 3),
            "latency_ms": {name: latency[name] for name in ("p50", "p95", "p99")},
            "stages": self.watch.summary(),
            "key_share": self.keyframes / self.frames,
        }


def _starting_anew(frames: Iterable[Frame]) -> Iterator[Frame]:
    # A start needs no way back to an anchor: no tracing is done that the key graph alone would not need.
    for frame in frames:
        frame.start = frame.start or "every frame"
        yield frame


class _Timed:
    """A sink that notes how long each write takes, and stays open from chunk to chunk."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.seconds: list[float] = []

    def write(self, frame: Frame, prediction: Prediction) -> None:
        begun = perf_counter()
        self.sink.write(frame, prediction)
        self.seconds.append(perf_counter() - begun)

    def close(self) -> None:
        # The pipeline closes its sinks at the end of every chunk.
        pass

    def finish(self) -> None:
        self.sink.close()


def _sinks(segmenter: Segmenter, source: Source, name: str, path: Path) -> list[_Timed]:
    if name == "none":
        return []
    place = SINKS.find(name).description.place_in(path.parent, path.name)
    return [_Timed(open_sink(name, place, SinkContext.of(segmenter.manifest, source.info)))]


def _warm_up(segmenter: Segmenter, uri: str | Path, policy: str | Policy | None, motion: str) -> None:
    # Engines plan their memory on the first call, and libraries load on first use.
    with open_source(uri, motion=motion) as source:
        if source.info.live:
            raise OptionError(
                f"{uri} is live and cannot be run twice: record some of it, and profile the file"
            )
        run(source, segmenter.session(policy), limit=_WARM_UP_FRAMES)
