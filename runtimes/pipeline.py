"""From source to sinks in three stages at once: decode and motion, graphs, sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError
from edge_vss.runtimes._reader import Backlog, Reader
from edge_vss.runtimes._writer import Writer
from edge_vss.runtimes.labelling import Labelled, Labelling, is_key, labelling
from edge_vss.runtimes.late_keys import LateSession
from edge_vss.runtimes.motion import Measure
from edge_vss.runtimes.session import Session
from edge_vss.runtimes.sinks import SINKS, Sink
from edge_vss.runtimes.sources import Source
from edge_vss.runtimes.timeliness import Timing
from edge_vss.video import Frame, StartReason

_JOIN_SECONDS = 2.0


@dataclass
class RunReport:
    """What a run did, and what it spent."""

    frames: int = 0
    """Frames with labels."""

    keyframes: int = 0
    """Frames on the start or key route."""

    skipped: int = 0
    """Frames that passed without inference: a live source was ahead, or no picture was there to begin."""

    losses: int = 0
    """Times that packets were missing, as far as the source could tell: frames that begin anew for it, and
    losses after which no frame came."""

    seconds: float = 0.0
    """Wall-clock time of the whole run."""

    stages: dict[str, float] = field(default_factory=dict)
    """Seconds per stage, all frames together: those of Prediction.seconds, and ``sink``."""

    busy: dict[str, float] = field(default_factory=lambda: {"source": 0.0, "graphs": 0.0, "sinks": 0.0})
    """Seconds that each of the three threads worked; the largest is what the run cannot be faster than."""

    timing: Timing = field(default_factory=Timing)
    """How long after its packet each frame had labels, and how old they were."""

    @property
    def fps(self) -> float:
        """Frames per second, with and without labels."""
        return (self.frames + self.skipped) / self.seconds if self.seconds else 0.0


class WantsMotion(Protocol):
    """What `motion_for` asks a session."""

    @property
    def wants_motion(self) -> bool:
        """Whether a graph or the policy looks at the frames' motion."""


def motion_for(
    session: WantsMotion, motion: str | Measure = "auto", sinks: Iterable[str] = ()
) -> str | Measure:
    """Where motion has to come from (as for `open_source`) for this session and these kinds of sinks.

    That is ``motion``, or ``none`` where neither the session nor a sink looks at motion: measuring it would
    be wasted. Raises OptionError for a sink that is not known.
    """
    wanted = session.wants_motion or any(SINKS.find(name).description.motion for name in sinks)
    return motion if wanted else "none"


def check_pictures(session: Session, pictures: str, sinks: Iterable[str] = ()) -> None:
    """Raises OptionError where the session or a sink of these kinds looks at pictures that a source opened
    for ``pictures`` (as for `open_source`) does not have."""
    if pictures not in ("key", "none"):
        return
    reasons = [session.why_pictures] if pictures == "key" else ["a session needs the pictures of key frames"]
    reasons += [
        f"the sink {name} looks at every picture" for name in sinks if SINKS.find(name).description.pictures
    ]
    if why := next(filter(None, reasons), ""):
        raise OptionError(f"pictures {pictures!r} is not enough, because {why}: leave it out")


def run(
    source: Iterable[Frame],
    session: Session,
    sinks: Sequence[Sink] = (),
    *,
    on_frame: Callable[[Frame, Prediction | None], None] | None = None,
    drop_inference: bool | None = None,
    limit: int | None = None,
    both_ways: bool = False,
    pace: float | None = None,
    timing: Timing | None = None,
    by: Labelling | None = None,
) -> RunReport:
    """Segments every frame of a source into the sinks, which are closed whatever happens.

    The graphs run in the calling thread. Decoding has a thread of its own, and the sinks have another.
    ``on_frame`` is called in the calling thread after every frame, with None where the frame passed without
    inference. ``drop_inference`` (by default where the source is live) leaves a frame without labels when
    newer ones wait. Packets are never dropped, so motion stays whole. ``limit`` ends the run after so many
    frames. With ``both_ways``, frames in between take their labels from the key frames on both sides; every
    answer then comes one interval late, and no frame is left without labels. With ``pace``, frames are read
    at so many a second, as from a camera, and inference is dropped as for a live source. ``timing`` is what
    counts how late labels are, to be read meanwhile. ``by`` labels the frames in place of ``both_ways``,
    where that goes on from an earlier run. The first error of any stage ends the run and is raised here.

    Where key frames come late (``background``), frames take little time. Then inference is dropped only where
    more than a second of frames waits.

    Raises OptionError for ``both_ways`` together with ``drop_inference``, or with a bundle that cannot do it,
    for a source that is closed or gives something else than frames, and at once where the session needs
    pictures that the source was not opened for.
    """
    info = source.info if isinstance(source, Source) else None
    if both_ways and drop_inference:
        raise OptionError("both_ways waits for later frames, drop_inference does not wait: choose one")
    if drop_inference is None:
        drop_inference = (pace is not None or (info is not None and info.live)) and not both_ways
    if isinstance(source, Source) and source.closed:
        raise OptionError(f"{source.info.uri} is closed: open it again")
    if info is not None:
        check_pictures(session, info.pictures)
        if both_ways and info.pictures != "all":
            raise OptionError(
                f"both_ways compares all pictures, and pictures is {info.pictures!r}: leave it out"
            )
    report = RunReport(timing=timing or Timing())
    labels = labelling(session, both_ways) if by is None else by
    errors: list[BaseException] = []
    reader = Reader(
        source,
        fps=info.fps if info else 0.0,
        pace=pace,
        limit=limit,
        drop_inference=drop_inference,
        failed=errors.append,
    )
    backlog = Backlog(reader, quick=session.late)
    writer = Writer(sinks, reader, errors)
    books = _Books(report, session, reader, on_frame)

    def hand_on(made: Iterable[Labelled]) -> bool:
        """False where nobody takes labels any more."""
        return all(writer.put(books.labelled(*one)) for one in made)

    started = perf_counter()
    finished = False
    try:
        reader.start()
        writer.start()
        while (frame := reader.get()) is not None:
            began = perf_counter()
            passes = backlog.passes() and drop_inference
            if passes or not session.can_step(frame):
                session.skip(frame)
                books.passed(frame, perf_counter() - began)
                continue
            if isinstance(session, LateSession):
                session.spent_seconds = reader.so_far(frame)
            made = labels.push(frame)
            backlog.labelled()
            report.busy["graphs"] += perf_counter() - began
            if not hand_on(made):
                break
        else:
            began = perf_counter()
            made = labels.finish() if not errors else []
            report.busy["graphs"] += perf_counter() - began
            hand_on(made)
        finished = True
        report.losses += source.untold_losses if isinstance(source, Source) else 0
    finally:
        reader.close()
        writer.close()
        reader.thread.join(None if finished and not errors else _JOIN_SECONDS)
        report.busy |= {"source": reader.busy_seconds, "sinks": writer.busy_seconds}
        report.stages["sink"] = writer.busy_seconds
        report.seconds = perf_counter() - started
    if errors:
        raise errors[0]
    return report


class _Books:
    """Writes down what became of each frame, and tells who asked."""

    def __init__(
        self,
        report: RunReport,
        session: Session,
        reader: Reader,
        on_frame: Callable[[Frame, Prediction | None], None] | None,
    ) -> None:
        self._report = report
        self._budget = session.budget if isinstance(session, LateSession) else None
        self._reader = reader
        self._on_frame = on_frame
        self._anchor = -1

    def passed(self, frame: Frame, seconds: float) -> None:
        """A frame passed without inference, which took so long."""
        self._report.losses += frame.start == StartReason.LOST_PACKETS
        self._report.skipped += 1
        self._report.timing.miss()
        self._reader.since(frame)
        self._report.busy["graphs"] += seconds
        if self._on_frame is not None:
            self._on_frame(frame, None)

    def labelled(self, frame: Frame, prediction: Prediction) -> Labelled:
        """A frame has its labels."""
        report, spent = self._report, self._reader.since(frame)
        report.losses += frame.start == StartReason.LOST_PACKETS
        report.frames += 1
        report.timing.shown(prediction, spent)
        if self._budget is not None:
            self._budget.shown(spent, sum(prediction.seconds.values()))
        report.keyframes += is_key(prediction, self._anchor)
        self._anchor = prediction.anchor_index
        for stage, seconds in prediction.seconds.items():
            report.stages[stage] = report.stages.get(stage, 0.0) + seconds
        if self._on_frame is not None:
            self._on_frame(frame, prediction)
        return frame, prediction
