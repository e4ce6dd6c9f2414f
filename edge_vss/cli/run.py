"""``edge-vss run``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from edge_vss.cli._fleet import run_fleet
from edge_vss.cli._run_summary import RunSummary
from edge_vss.cli.options import (
    Background,
    BothWays,
    Bundle,
    Debug,
    Engine,
    EngineChoice,
    Ffmpeg,
    Hint,
    Json,
    KeyDelay,
    Limit,
    Motion,
    PolicyName,
    Provider,
    Reconnect,
    Sources,
    Stream,
    Threads,
    Timeout,
    opening,
    pair_of,
)
from edge_vss.cli.terminal import emit, places, progress, say

if TYPE_CHECKING:
    from edge_vss.decisions import Prediction
    from edge_vss.runtimes.budget import BudgetReport
    from edge_vss.runtimes.opening import Opening
    from edge_vss.video import Frame


def run(
    bundle: Bundle,
    source: Sources,
    policy: PolicyName = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an overlay video.")] = None,
    save_labels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write one palette PNG of class ids per frame.")
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Write one JSON line per frame; - is standard output."),
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PLACE",
            help="Write with any sink, another package's too; may be given again.",
            show_default=False,
        ),
    ] = None,
    audio: Annotated[bool, typer.Option("--audio", help="Copy the sound into the overlay video.")] = False,
    both_ways: BothWays = False,
    background: Background = False,
    key_delay: KeyDelay = 0,
    budget_ms: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="95 % of the frames have labels X ms after their packet, as fresh as that allows.",
        ),
    ] = None,
    limit: Limit = None,
    live: Annotated[
        bool, typer.Option("--live", help="Never fall behind: leave frames without inference when late.")
    ] = False,
    pictures: Annotated[
        str,
        typer.Option(
            metavar="all|key",
            help="key: only the stream's I-frames get a picture, and HEVC is decoded for them alone.",
        ),
    ] = "all",
    motion: Motion = "auto",
    timeout: Timeout = 10.0,
    reconnect: Reconnect = 0.0,
    ffmpeg: Ffmpeg = None,
    stream: Stream = None,
    engine: Engine = None,
    provider: Provider = "",
    hint: Hint = "",
    threads: Threads = 0,
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
    short = {"labels": save_labels, "video": out, "jsonl": jsonl}
    sinks = _sinks({name: str(place) for name, place in short.items() if place is not None}, sink or [])
    if audio and "video" not in sinks:
        raise typer.BadParameter("sound goes into an overlay video: give --out too", param_hint="--audio")
    if [*sinks.values(), json].count("-") > 1:
        raise typer.BadParameter("only one of the outputs can go to standard output: give the others a file")
    how = opening(
        motion=motion,
        timeout=timeout,
        reconnect=reconnect,
        ffmpeg=ffmpeg,
        live=True if live else None,
        stream=stream,
        pictures=pictures,
        parts=both_ways,
    )
    chosen = EngineChoice(engine, threads, provider, hint)
    if len(source) > 1:
        if both_ways or key_delay or audio or state is not None or budget_ms is not None:
            raise typer.BadParameter(
                "several sources take none of --both-ways, --key-delay, --budget-ms, --audio and --state"
            )
        run_fleet(chosen.load_quietly(bundle, debug), source, sinks, json, policy, how, limit)
        return
    _run(
        bundle,
        source[0],
        sinks,
        json,
        policy=policy,
        how=how,
        engine=chosen,
        debug=debug,
        audio=audio,
        both_ways=both_ways,
        late={"background": background, "key_delay": key_delay, "budget_ms": budget_ms},
        limit=limit,
        state=state,
        state_every=state_every,
    )


class Late(TypedDict):
    """Whether key frames are computed meanwhile, as `Segmenter.session` takes it."""

    background: bool
    key_delay: int
    budget_ms: float | None


def _sinks(short: dict[str, str], pairs: list[str]) -> dict[str, str]:
    """Sink → place, of the short options and of ``--sink``. Those that write folders come first: they make
    their folder, and others may write into it."""
    chosen = dict(short)
    for text in pairs:
        name, place = pair_of(text, "--sink", "labels=seen/")
        if name in chosen:
            raise typer.BadParameter(f"the sink {name} has two places: give one", param_hint="--sink")
        chosen[name] = place
    from edge_vss.runtimes.sinks import SINKS

    return dict(sorted(chosen.items(), key=lambda pair: not SINKS.find(pair[0]).description.folder))


def _run(
    bundle: Path,
    source: str,
    sinks: dict[str, str],
    json: str | None,
    *,
    policy: str | None,
    how: Opening,
    engine: EngineChoice,
    debug: bool,
    audio: bool,
    both_ways: bool,
    late: Late,
    limit: int | None,
    state: Path | None,
    state_every: float,
) -> None:
    """``sinks`` maps a sink's name to its place."""
    from edge_vss.cli._written import Counted, Tally, written
    from edge_vss.runtimes._state_keeper import StateKeeper
    from edge_vss.runtimes.late_keys import LateSession
    from edge_vss.runtimes.motion._coded import why_none
    from edge_vss.runtimes.pipeline import run as segment
    from edge_vss.runtimes.sinks import SINKS, SinkContext, check_places, open_sink
    from edge_vss.runtimes.sources._decoded import why_other_colours
    from edge_vss.runtimes.timeliness import Timing
    from edge_vss.runtimes.tools.first_look import FirstLook

    check_places(places(json, **sinks, state=state), source)
    segmenter = engine.load_quietly(bundle, debug)
    session = segmenter.session(policy, **late)
    if both_ways and session.late:
        raise typer.BadParameter("labels from both sides wait for key frames: leave it out, or --both-ways")
    timing = Timing()
    tally, look = Tally(), FirstLook(segmenter.manifest)
    with ExitStack() as stack:
        stack.callback(session.close)
        keeper: StateKeeper | None = None
        if state is not None:
            keeper = stack.enter_context(StateKeeper(state, session.state, state_every, tell=say))
        opened = stack.enter_context(how.open(source, session, sinks=sinks))
        wanted = how.motion_for(session, sinks) == "auto" and opened.info.codec
        if wanted and (why := why_none(opened.info)):
            say(f"{why}; motion is optical flow, which takes more time")
        if why := why_other_colours(opened.info.colour.matrix):
            say(f"warning: {why}")
        if len(opened.info.streams) > 1:
            there, taken = ", ".join(opened.info.streams), opened.info.stream
            say(f"several video streams ({there}): {taken} is read; --stream N takes another")
        context = replace(SinkContext.of(segmenter.manifest, opened.info), sound=source if audio else "")
        outs: dict[str, Counted] = {}
        for name, place in sinks.items():
            outs[name] = Counted(open_sink(name, place, context))
            stack.callback(outs[name].close)
        total = min((n for n in (opened.info.frames, limit) if n), default=None)
        advance = stack.enter_context(progress(total, note=lambda: timing))
        failed = False

        def on_frame(frame: Frame, prediction: Prediction | None) -> None:
            advance()
            if prediction is None:
                return
            look.take(frame, prediction)
            if line := look.warning():
                say(f"warning: {line}")
            if keeper is not None:
                keeper.after_step()

        try:
            report = segment(
                opened,
                session,
                [*outs.values(), tally],
                on_frame=on_frame,
                drop_inference=False if both_ways else None,
                limit=limit,
                both_ways=both_ways,
                timing=timing,
                # A file is read as a camera would send it: a budget says nothing of frames that come at once.
                pace=opened.info.fps if late["budget_ms"] is not None and not opened.info.live else None,
            )
        except KeyboardInterrupt:
            say(f"interrupted after {tally.frames} frames; what is written is whole")
            raise typer.Exit(130) from None
        except Exception:
            failed = True
            raise
        finally:
            for name, place in sinks.items():
                if place != "-":
                    say(written(SINKS.find(name).description, place, outs[name], failed))
    kept: BudgetReport | None = None
    if isinstance(session, LateSession) and session.budget is not None:
        kept = session.budget.report(session.figures.seconds / max(session.figures.taken, 1))
    summary = RunSummary(
        frames=report.frames,
        skipped=report.skipped,
        damaged_packets=opened.errors,
        packet_losses=report.losses,
        keyframes=report.keyframes,
        key_share=report.keyframes / report.frames if report.frames else 0.0,
        fps=report.fps,
        seconds=report.seconds,
        stages_seconds=report.stages,
        busy_seconds=report.busy,
        outputs=sinks,
        timeliness=timing.figures(),
        budget=kept,
        late_keys=session.figures if isinstance(session, LateSession) else None,
    )
    emit(summary, json)
    if line := look.warning(ended=True):
        say(f"warning: {line}")
    say(str(summary))
    if kept is not None:
        say(str(kept))
    if tally.forced:
        say(f"{tally.forced} key frames came without an I-frame, because the policy is {session.policy}")
