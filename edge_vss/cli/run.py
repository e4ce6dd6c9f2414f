"""``edge-vss run``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_vss.cli.options import (
    Bundle,
    Debug,
    Engine,
    Hint,
    Json,
    Limit,
    Motion,
    PolicyName,
    Provider,
    Source,
    Threads,
)
from edge_vss.cli.terminal import emit, places, progress, say

if TYPE_CHECKING:
    from edge_vss.runtimes.sinks import Sink, SinkDescription
    from edge_vss.video import Frame, Prediction


def run(
    bundle: Bundle,
    source: Source,
    policy: PolicyName = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an overlay video.")] = None,
    save_labels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write one palette PNG of class ids per frame.")
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Write one JSON line per frame; - is standard output."),
    ] = None,
    motion: Motion = "auto",
    engine: Engine = None,
    provider: Provider = "",
    hint: Hint = "",
    threads: Threads = 0,
    limit: Limit = None,
    live: Annotated[
        bool, typer.Option("--live", help="Never fall behind: leave frames without inference when late.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Go on from this state if it is there, and keep the newest one in it."
        ),
    ] = None,
    state_every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How often --state is saved meanwhile.")
    ] = 10.0,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Segment a video, stream or camera into label maps, an overlay video or JSON lines."""
    # The folder first: files may go into it.
    sinks = {"labels": save_labels, "video": out, "jsonl": jsonl}
    chosen = {name: str(path) for name, path in sinks.items() if path is not None}
    if json == "-" and jsonl == "-":
        raise typer.BadParameter("--json - and --jsonl - both want standard output: give one of them a file")
    _run(
        bundle,
        source,
        chosen,
        json,
        policy=policy,
        motion=motion,
        engine={"engine": engine, "threads": threads, "provider": provider, "hint": hint},
        limit=limit,
        live=live or None,
        state=state,
        state_every=state_every,
    )


def _run(
    bundle: Path,
    source: str,
    sinks: dict[str, str],
    json: str | None,
    *,
    policy: str | None,
    motion: str,
    engine: dict[str, Any],
    limit: int | None,
    live: bool | None,
    state: Path | None,
    state_every: float,
) -> None:
    """``sinks`` maps a sink's name to its place."""
    from edge_vss.runtimes._state_keeper import StateKeeper
    from edge_vss.runtimes.pipeline import run as segment
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sinks import SINKS, SinkContext, check_places, open_sink
    from edge_vss.runtimes.sources import open_source

    check_places(places(json, **sinks, state=state), source)
    segmenter = load(bundle, **engine)
    session = segmenter.session(policy)
    tally = _Tally()
    with ExitStack() as stack:
        keeper: StateKeeper | None = None
        if state is not None:
            keeper = stack.enter_context(StateKeeper(state, session.state, state_every, tell=say))
        opened = stack.enter_context(open_source(source, motion=motion, live=live))
        if motion == "auto" and opened.info.codec and not opened.info.exports_vectors:
            codec = opened.info.codec
            say(f"{codec} exports no motion vectors: motion is optical flow, which takes more time")
        context = SinkContext.of(segmenter.manifest, opened.info)
        outs: dict[str, _Counted] = {}
        for name, place in sinks.items():
            outs[name] = _Counted(open_sink(name, place, context))
            stack.callback(outs[name].close)
        total = min((n for n in (opened.info.frames, limit) if n), default=None)
        advance = stack.enter_context(progress(total))
        failed = False

        def on_frame(_: Frame, prediction: Prediction | None) -> None:
            advance()
            if keeper is not None and prediction is not None:
                keeper.after_step()

        try:
            report = segment(opened, session, [*outs.values(), tally], on_frame=on_frame, limit=limit)
        except KeyboardInterrupt:
            say(f"interrupted after {tally.frames} frames; what is written is whole")
            raise typer.Exit(130) from None
        except Exception:
            failed = True
            raise
        finally:
            for name, place in sinks.items():
                if place != "-":
                    say(_written(SINKS.find(name).description, place, outs[name], failed))
    share = report.keyframes / report.frames if report.frames else 0.0
    counts = {
        "frames": report.frames,
        "skipped": report.skipped,
        "damaged_packets": opened.errors,
        "packet_losses": report.losses,
    }
    emit(
        {
            **counts,
            "keyframes": report.keyframes,
            "key_share": share,
            "fps": report.fps,
            "seconds": report.seconds,
            "stages_seconds": dict(report.stages),
            "busy_seconds": report.busy,
            "outputs": sinks,
        },
        json,
    )
    notes = [
        f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number or name == "frames"
    ]
    say(f"{', '.join(notes)}; {share:.1%} key frames, {report.fps:.1f} fps")
    if tally.forced:
        say(f"{tally.forced} key frames came without an I-frame, because the policy is {session.policy}")


def _written(description: SinkDescription, place: str, out: _Counted, failed: bool) -> str:
    """What is in a sink's place now."""
    from edge_vss.runtimes.sinks import Remarks

    if not out.frames:
        return f"no {description.unit} were written to {place}"
    # Where a disk is full, the last frames that the encoder took are not in the file.
    most = "at most " if failed and description.behind else ""
    remark = out.sink.remark() if isinstance(out.sink, Remarks) else ""
    return f"{most}{out.frames} {description.unit} in {place}{'; ' if remark else ''}{remark}"


class _Counted:
    """A sink that counts what it has taken."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.frames = 0

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.sink.write(frame, prediction)
        self.frames += 1

    def close(self) -> None:
        self.sink.close()


class _Tally:
    """A sink that counts what the sinks before it have written."""

    frames = 0
    forced = 0

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.frames += 1
        self.forced += prediction.decision.reason.startswith("no I-frame")

    def close(self) -> None:
        pass
