"""``edge-vss run``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_vss.cli.options import (
    BothWays,
    Bundle,
    Debug,
    Engine,
    EngineChoice,
    Ffmpeg,
    Hint,
    Json,
    Limit,
    Motion,
    PolicyName,
    Provider,
    Reconnect,
    Source,
    Stream,
    Threads,
    Timeout,
    opening,
    pair_of,
)
from edge_vss.cli.terminal import emit, places, progress, say
from edge_vss.decisions import Cause
from edge_vss.report import Report

if TYPE_CHECKING:
    from edge_vss.decisions import Prediction
    from edge_vss.runtimes.sinks import Sink, SinkDescription
    from edge_vss.runtimes.tools.opening import Opening
    from edge_vss.video import Frame


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
    _run(
        bundle,
        source,
        sinks,
        json,
        policy=policy,
        how=opening(
            motion=motion,
            timeout=timeout,
            reconnect=reconnect,
            ffmpeg=ffmpeg,
            live=True if live else None,
            stream=stream,
            pictures=pictures,
            parts=both_ways,
        ),
        engine=EngineChoice(engine, threads, provider, hint),
        audio=audio,
        both_ways=both_ways,
        limit=limit,
        state=state,
        state_every=state_every,
    )


@dataclass(frozen=True)
class RunSummary(Report):
    """What a run did. Times in seconds."""

    frames: int
    """Frames with labels."""
    skipped: int
    """Frames that passed without inference."""
    damaged_packets: int
    packet_losses: int
    keyframes: int
    key_share: float
    """Share of the frames with labels that are key frames, 0 to 1."""
    fps: float
    seconds: float
    stages_seconds: dict[str, float]
    """By stage, all frames together."""
    busy_seconds: dict[str, float]
    """How long each of the three threads worked."""
    outputs: dict[str, str]
    """Sink → place."""

    def __str__(self) -> str:
        counts = {
            "skipped": self.skipped,
            "damaged packets": self.damaged_packets,
            "packet losses": self.packet_losses,
        }
        notes = [f"{self.frames} frames", *(f"{number} {name}" for name, number in counts.items() if number)]
        return f"{', '.join(notes)}; {self.key_share:.1%} key frames, {self.fps:.1f} fps"


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
    audio: bool,
    both_ways: bool,
    limit: int | None,
    state: Path | None,
    state_every: float,
) -> None:
    """``sinks`` maps a sink's name to its place."""
    from edge_vss.runtimes._state_keeper import StateKeeper
    from edge_vss.runtimes.motion._coded import why_none
    from edge_vss.runtimes.pipeline import run as segment
    from edge_vss.runtimes.sinks import SINKS, SinkContext, check_places, open_sink
    from edge_vss.runtimes.tools.first_look import FirstLook

    check_places(places(json, **sinks, state=state), source)
    segmenter = engine.load(bundle)
    session = segmenter.session(policy)
    tally, look = _Tally(), FirstLook(segmenter.manifest)
    with ExitStack() as stack:
        keeper: StateKeeper | None = None
        if state is not None:
            keeper = stack.enter_context(StateKeeper(state, session.state, state_every, tell=say))
        opened = stack.enter_context(how.open(source, session, sinks=sinks))
        wanted = how.motion_for(session, sinks) == "auto" and opened.info.codec
        if wanted and (why := why_none(opened.info)):
            say(f"{why}; motion is optical flow, which takes more time")
        if len(opened.info.streams) > 1:
            there, taken = ", ".join(opened.info.streams), opened.info.stream
            say(f"several video streams ({there}): {taken} is read; --stream N takes another")
        context = replace(SinkContext.of(segmenter.manifest, opened.info), sound=source if audio else "")
        outs: dict[str, _Counted] = {}
        for name, place in sinks.items():
            outs[name] = _Counted(open_sink(name, place, context))
            stack.callback(outs[name].close)
        total = min((n for n in (opened.info.frames, limit) if n), default=None)
        advance = stack.enter_context(progress(total))
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
                    say(_written(SINKS.find(name).description, place, outs[name], failed))
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
    )
    emit(summary, json)
    if line := look.warning(ended=True):
        say(f"warning: {line}")
    say(str(summary))
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
        self.forced += prediction.decision.cause is Cause.NO_I_FRAME

    def close(self) -> None:
        pass
