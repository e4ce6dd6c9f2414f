"""How late labels are where frames come at a pace of their own, as from a camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_vss.decisions import Policy, Prediction
from edge_vss.errors import SourceError
from edge_vss.report import Report
from edge_vss.runtimes._reader import check_pace
from edge_vss.runtimes._stream import StreamReport
from edge_vss.runtimes.fleet import Fleet
from edge_vss.runtimes.late_keys import KeyFigures, LateSession
from edge_vss.runtimes.opening import Opening, check_repeatable
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.session import Session
from edge_vss.runtimes.timeliness import Timeliness
from edge_vss.runtimes.tools.benchmark import warm_up
from edge_vss.text import without_password
from edge_vss.values import check_limit
from edge_vss.video import Frame


@dataclass(frozen=True)
class PaceSide(Report):
    """One way to compute key frames, at a pace."""

    timeliness: Timeliness
    keyframes: int
    key_ms: float
    """What the graphs of the key route take themselves, on average."""
    p99_over_key: float
    """The p99 of the time from packet to labels over ``key_ms``."""


@dataclass(frozen=True)
class StreamsReport(Report):
    """How many streams at once went."""

    policy: str
    pace_fps: float
    streams: dict[str, StreamReport]
    missed: int
    """Frames without labels, of all streams."""
    keyframes: int
    p99_ms: float
    """From packet to labels, of the slowest stream."""


@dataclass(frozen=True)
class PaceReport(Report):
    """How late labels are with key frames computed meanwhile, and with frames that wait for them."""

    policy: str
    pace_fps: float
    background: PaceSide
    waiting: PaceSide


def at_pace(
    segmenter: Segmenter,
    uri: str | Path,
    policy: str | Policy | None = None,
    *,
    pace: float | None = None,
    opening: Opening = Opening(),
    limit: int | None = None,
) -> PaceReport:
    """Runs a video twice, at ``pace`` frames per second (by default its own): first with frames that wait for
    their key frames, and then with key frames in the background. Nothing is written.

    Raises OptionError for a live source, a pipe, and a pace that is none; SourceError where there are no
    frames.
    """
    check_pace(pace)
    check_limit(limit)
    check_repeatable(uri)
    warm_up(segmenter, uri, policy, opening)
    with segmenter.session(policy) as session:
        waiting, fps = _side(segmenter, session, uri, pace, opening, limit)
    with segmenter.session(policy, background=True) as session:
        background, _ = _side(segmenter, session, uri, pace, opening, limit)
    chosen = str(segmenter.manifest.policy if policy is None else policy)
    return PaceReport(chosen, fps, background, waiting)


def _side(
    segmenter: Segmenter,
    session: Session,
    uri: str | Path,
    pace: float | None,
    opening: Opening,
    limit: int | None,
) -> tuple[PaceSide, float]:
    taken: list[float] = []
    roles = segmenter.manifest.routes["key"]

    def on_frame(frame: Frame, prediction: Prediction | None) -> None:
        if prediction is not None and prediction.decision.route != "nonkey":
            taken.append(sum(prediction.seconds.get(role, 0.0) for role in roles))

    with opening.open(uri, session) as source:
        fps = pace or source.info.fps
        report = run(source, session, on_frame=on_frame, limit=limit, pace=fps)
    if not report.frames:
        raise SourceError(f"{without_password(uri)} has no frames to measure: give a video that plays")
    keys = session.figures if isinstance(session, LateSession) else KeyFigures(len(taken), 0, 0, sum(taken))
    figures, key_ms = report.timing.figures(), round(1e3 * keys.seconds / max(keys.taken, 1), 3)
    over = figures.packet_to_label_ms.p99 / key_ms if key_ms else 0.0
    return PaceSide(figures, report.keyframes, key_ms, round(over, 4)), fps


def streams_at_pace(
    segmenter: Segmenter,
    uri: str | Path,
    streams: int,
    policy: str | Policy | None = None,
    *,
    pace: float | None = None,
    opening: Opening = Opening(),
    limit: int | None = None,
) -> StreamsReport:
    """Runs a video so many times at once, as a `Fleet` of cameras. Nothing is written.

    Raises as `at_pace`, and what ended a stream.
    """
    check_pace(pace)
    check_limit(limit)
    check_repeatable(uri)
    warm_up(segmenter, uri, policy, opening)
    with opening.open(uri) as source:
        fps = pace or source.info.fps
    policy = policy or "continuous"
    names = {f"{number}": uri for number in range(1, streams + 1)}
    with Fleet(segmenter, names, policy=policy, opening=opening, pace=fps, limit=limit) as fleet:
        for _ in fleet:
            pass
        for error in fleet.errors.values():
            raise error
        found = fleet.reports()
    return StreamsReport(
        policy=str(policy),
        pace_fps=fps,
        streams=found,
        missed=sum(stream.timeliness.missed for stream in found.values()),
        keyframes=sum(stream.keys.taken for stream in found.values()),
        p99_ms=max(stream.timeliness.packet_to_label_ms.p99 for stream in found.values()),
    )
