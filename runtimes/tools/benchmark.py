"""Where the time goes: a session under its policy against the key graph on every frame, in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter

from edge_vss.decisions import Policy, Prediction
from edge_vss.errors import OptionError, SourceError
from edge_vss.report import Report
from edge_vss.runtimes.both_ways import check_both_ways
from edge_vss.runtimes.engines._ways import Taken
from edge_vss.runtimes.labelling import Labelled, Labelling, labelling
from edge_vss.runtimes.opening import Opening, check_repeatable
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.session import Session
from edge_vss.runtimes.sinks import SINKS, Sink, SinkContext, open_sink
from edge_vss.runtimes.sources import Source
from edge_vss.runtimes.timing import Latency, Percentiles, Stopwatch, peak_rss_mb, percentiles
from edge_vss.text import without_password
from edge_vss.values import check_limit
from edge_vss.video import Frame, StartReason

CHUNK_FRAMES = 60
"""Frames that one side runs before it is the other's turn: shared machines change speed within seconds."""

_WARM_UP_FRAMES = 4


@dataclass(frozen=True)
class SpeedReport(Report):
    """How fast one side ran."""

    fps: float
    """Frames per second through the whole pipeline."""

    latency_ms: Latency
    """What one frame spends in all of its stages; waiting between the stages is not counted."""

    stages: dict[str, Percentiles]
    """By the name of the stage."""

    key_share: float
    """Share of frames that were key frames, 0 to 1."""

    between_ms: Latency | None
    """``latency_ms`` of the frames in between alone; None where there are none."""


@dataclass(frozen=True)
class ProfileReport(SpeedReport):
    """How fast a bundle ran under its policy, and beside it the baseline."""

    frames: int
    policy: str

    both_ways: bool
    """Whether frames in between had their labels from the key frames on both sides."""

    peak_rss_mb: float
    """The most memory that this process has held, in MB (10⁶ bytes)."""

    baseline: SpeedReport
    """The key graph on every frame, or the other bundle."""

    speedup: float
    """``fps`` over the baseline's."""

    engines: dict[str, Taken]
    """Role → what ran the graph."""

    @property
    def name(self) -> str:
        """What ran, in a few words."""
        return f"{self.policy}, both ways" if self.both_ways else self.policy


def profile(
    segmenter: Segmenter,
    uri: str | Path,
    policy: str | Policy | None = None,
    *,
    opening: Opening = Opening(),
    sink: str = "labels",
    limit: int | None = None,
    against: Segmenter | None = None,
    on_frame: Callable[[str, Prediction], None] | None = None,
    both_ways: bool = False,
) -> ProfileReport:
    """Speed, latency and stages under ``policy``, the same for a key graph on every frame, and their ratio.

    With ``against`` (the same network in fp32, say) the baseline is that bundle, under the same policy.

    Both sides run the whole pipeline on the same frames, a chunk each in turn (ABBA). A change in the
    machine's speed so meets both. The key graph on every frame decodes without motion and traces nothing.
    ``sink`` names what writes the labels, into a folder that is removed afterwards; ``none`` writes nothing.
    ``on_frame`` is called after every frame with the side it ran on, ``scheduled`` or ``baseline``. With
    ``both_ways``, frames in between have their labels from both sides, of ``against`` too.

    Raises OptionError for a live source or a pipe, which gives its frames only once, and for ``both_ways``
    with a bundle that cannot do it; SourceError where there are no frames.
    """
    check_limit(limit)
    check_repeatable(uri)
    bundles = [segmenter] if against is None else [segmenter, against]
    if both_ways:
        for each in bundles:
            check_both_ways(each.manifest)
        opening = replace(opening, parts=True)
    with tempfile.TemporaryDirectory(prefix="edge-vss-profile-") as folder:
        for each in bundles:
            warm_up(each, uri, policy, opening, both_ways)
        session = segmenter.session(policy)
        # A network with a memory runs its full frames one after the other, and remembers across them.
        anew = against is None and not segmenter.manifest.remembers
        other = segmenter.session("interval:1") if against is None else against.session(policy)
        names = [] if sink == "none" else [sink]
        with (
            opening.open(uri, session, sinks=names) as first,
            opening.open(uri, other, "none" if against is None else None, names) as second,
        ):
            tell = on_frame or (lambda side, prediction: None)
            sinks = _sinks(segmenter, first, sink, Path(folder, "a"))
            by = _Going(labelling(session, both_ways))
            scheduled = _Side(first, session, sinks, partial(tell, "scheduled"), by)
            frames = _starting_anew(second) if anew else second
            sinks = _sinks(segmenter, second, sink, Path(folder, "b"))
            by = _Going(labelling(other, both_ways and against is not None))
            baseline = _Side(frames, other, sinks, partial(tell, "baseline"), by)
            sides = [scheduled, baseline]
            try:
                while not all(side.ended for side in sides) and (limit is None or scheduled.by.read < limit):
                    left = CHUNK_FRAMES if limit is None else min(CHUNK_FRAMES, limit - scheduled.by.read)
                    for side in sides:
                        side.advance(left)
                    sides.reverse()
                for side in sides:
                    side.end()
            finally:
                for side in sides:
                    side.close()
    if not scheduled.frames or not baseline.frames:
        raise SourceError(f"{without_password(uri)} has no frames to measure: give a video that plays")
    fast, slow = scheduled.result(), baseline.result()
    return ProfileReport(
        fps=fast.fps,
        latency_ms=fast.latency_ms,
        stages=fast.stages,
        key_share=fast.key_share,
        between_ms=fast.between_ms,
        frames=scheduled.frames,
        policy=str(segmenter.manifest.policy if policy is None else policy),
        both_ways=both_ways,
        peak_rss_mb=round(peak_rss_mb(), 1),
        baseline=slow,
        speedup=round(fast.fps / slow.fps, 3),
        engines=segmenter.taken,
    )


@dataclass
class _Side:
    source: Iterable[Frame]
    session: Session
    sinks: list[_Timed]
    tell: Callable[[Prediction], None]
    by: _Going
    frames: int = 0
    keyframes: int = 0
    seconds: float = 0.0
    ended: bool = False
    watch: Stopwatch = field(default_factory=Stopwatch)
    latencies: list[float] = field(default_factory=list)
    between: list[int] = field(default_factory=list)
    """The places of frames in between, among ``latencies``."""

    def advance(self, frames: int) -> None:
        """The next chunk through the whole pipeline."""
        before = self.by.read
        self._run(self.source, self.by, frames)
        self.ended = self.by.read - before < frames

    def end(self) -> None:
        """What still waits for a later key frame."""
        self._run((), self.by.labelling, None)

    def _run(self, frames: Iterable[Frame], by: Labelling, limit: int | None) -> None:
        report = run(
            frames,
            self.session,
            self.sinks,
            on_frame=self._count,
            drop_inference=False,
            limit=limit,
            by=by,
        )
        self.frames += report.frames
        self.keyframes += report.keyframes
        self.seconds += report.seconds

    def _count(self, frame: Frame, prediction: Prediction | None) -> None:
        if prediction is not None:
            self.watch.merge(prediction.seconds)
            if prediction.decision.route == "nonkey":
                self.between.append(len(self.latencies))
            self.latencies.append(sum(prediction.seconds.values()))
            self.tell(prediction)

    def close(self) -> None:
        for sink in self.sinks:
            sink.finish()

    def result(self) -> SpeedReport:
        for sink in self.sinks:
            for place, seconds in enumerate(sink.seconds):
                self.watch.add("sink", seconds)
                self.latencies[place] += seconds
        return SpeedReport(
            fps=round(self.frames / self.seconds, 3),
            latency_ms=percentiles(self.latencies).latency,
            stages=self.watch.summary(),
            key_share=self.keyframes / self.frames,
            between_ms=percentiles(self.latencies[place] for place in self.between).latency
            if self.between
            else None,
        )


class _Going:
    """A labelling that goes on from chunk to chunk: frames that wait at the end of one do so in the next."""

    def __init__(self, labelling: Labelling) -> None:
        self.labelling = labelling
        self.read = 0
        """Frames that came in so far."""

    def push(self, frame: Frame) -> list[Labelled]:
        self.read += 1
        return self.labelling.push(frame)

    def finish(self) -> list[Labelled]:
        return []


def _starting_anew(frames: Iterable[Frame]) -> Iterator[Frame]:
    # At a start nothing is traced back to an anchor, and the key graph alone needs no tracing.
    for frame in frames:
        frame.start = frame.start or StartReason.EVERY_FRAME
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


def warm_up(
    segmenter: Segmenter,
    uri: str | Path,
    policy: str | Policy | None,
    opening: Opening,
    both_ways: bool = False,
) -> None:
    """Run a few frames: engines plan their memory on the first call, and libraries load on first use.

    Raises OptionError for a live source.
    """
    session = segmenter.session(policy)
    with opening.open(uri, session) as source:
        if source.info.live:
            raise OptionError(
                f"{without_password(uri)} is live and cannot be run twice: "
                "record some of it, and profile the file"
            )
        run(source, session, limit=_WARM_UP_FRAMES, both_ways=both_ways)
