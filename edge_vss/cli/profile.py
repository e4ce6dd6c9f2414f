"""``edge-vss profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_vss.cli._contents import show_engines
from edge_vss.cli.options import (
    Background,
    BothWays,
    Bundle,
    Debug,
    Engine,
    EngineChoice,
    Ffmpeg,
    Hint,
    Html,
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
)
from edge_vss.cli.terminal import emit, places, save_page, say, table
from edge_vss.text import without_password

if TYPE_CHECKING:
    from edge_vss.runtimes._stream import StreamReport
    from edge_vss.runtimes.tools.pacing import PaceReport, PaceSide

TIMES = ("first ms", "p50 ms", "p95 ms", "p99 ms", "age p50 ms", "missed frames", "jitter ms")
"""Columns of the times from packet to labels."""

NOISE = 0.03
"""Share by which two runs of the same thing may differ."""


def profile(
    bundle: Bundle,
    source: Source,
    policy: PolicyName = None,
    limit: Limit = None,
    both_ways: BothWays = False,
    background: Background = False,
    pace: Annotated[
        float | None,
        typer.Option(
            metavar="FPS", help="Frames come at this rate, as from a camera; the video's own is usual."
        ),
    ] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Run so many of it at once, as cameras do.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="BUNDLE", help="Compare with this bundle (the same in fp32) under the policy."),
    ] = None,
    sink: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="What writes the labels: labels, video, jsonl, another package's, or none."
        ),
    ] = "labels",
    motion: Motion = "auto",
    timeout: Timeout = 10.0,
    reconnect: Reconnect = 0.0,
    ffmpeg: Ffmpeg = None,
    stream: Stream = None,
    engine: Engine = None,
    provider: Provider = "",
    hint: Hint = "",
    threads: Threads = 0,
    html: Html = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Where the time goes, against the key graph on every frame, in turn in the same run."""
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.tools.benchmark import profile as measure
    from edge_vss.runtimes.tools.html_reports import TimeLine, profile_page

    how = opening(motion=motion, timeout=timeout, reconnect=reconnect, ffmpeg=ffmpeg, stream=stream)
    check_places(places(json, html=html), source)
    segmenter = EngineChoice(engine, threads, provider, hint).load_quietly(bundle, debug)
    if background or pace is not None or streams is not None:
        if against is not None:
            raise typer.BadParameter("a pace is for one bundle: leave it out", param_hint="--against")
        if html is not None:
            raise typer.BadParameter(
                "the page is about the time of each stage, and a pace about when labels come: leave it out, "
                "or --background, --pace and --streams",
                param_hint="--html",
            )
        if both_ways:
            raise typer.BadParameter(
                "labels from both sides wait for key frames, and a pace is about labels that come in time: "
                "leave it out, or --background, --pace and --streams",
                param_hint="--both-ways",
            )
        from edge_vss.runtimes.tools.pacing import at_pace, streams_at_pace

        if streams is not None:
            several = streams_at_pace(segmenter, source, streams, policy, pace=pace, opening=how, limit=limit)
            emit(several, json)
            table(("stream", *TIMES), [_times(name, one) for name, one in several.streams.items()])
            return
        _paced(at_pace(segmenter, source, policy, pace=pace, opening=how, limit=limit), json)
        return
    # The other bundle may be for another engine: the options of this one say nothing to it.
    other = None if against is None else EngineChoice(None, threads, "", "").load_quietly(against, debug)
    line = TimeLine()
    on_frame = None if html is None else line.take
    found = measure(
        segmenter,
        source,
        policy,
        opening=how,
        sink=sink,
        limit=limit,
        against=other,
        on_frame=on_frame,
        both_ways=both_ways,
    )
    emit(found, json)
    baseline = "key graph on every frame" if against is None else str(against)
    if html is not None:
        save_page(profile_page(found, line, without_password(source), baseline), html)
    sides = [
        (
            name,
            side.fps,
            f"{side.key_share:.1%}",
            side.latency_ms.p50,
            side.latency_ms.p95,
            side.latency_ms.p99,
            None if side.between_ms is None else side.between_ms.p50,
        )
        for name, side in ((found.name, found), (baseline, found.baseline))
    ]
    table(("", "fps", "key frames", "p50 ms", "p95 ms", "p99 ms", "between p50 ms"), sides)
    show_engines(found.engines)
    stages = [(name, spent.p50, spent.p95, spent.p99, spent.count) for name, spent in found.stages.items()]
    table(("stage", "p50 ms", "p95 ms", "p99 ms", "times"), stages)
    say(f"{found.speedup:.2f} times as fast, {found.peak_rss_mb:.0f} MB at the peak")
    if segmenter.manifest.precision["weights"] == "int8":
        if against is None:
            say("to find out whether int8 is faster here, give the bundle in fp32 as --against")
        elif found.speedup < 1 - NOISE:
            say(f"int8 is slower than {against} here: take that")


def _times(name: str, side: PaceSide | StreamReport) -> tuple[str | float, ...]:
    figures = side.timeliness
    spent, age = figures.packet_to_label_ms, figures.age_ms
    times = figures.start_ms, spent.p50, spent.p95, spent.p99
    return name, *times, age.p50, figures.missed, figures.jitter_ms


def _paced(found: PaceReport, json: str | None) -> None:
    emit(found, json)
    sides = (("in the background", found.background), ("waited for", found.waiting))
    rows = [(*_times(name, side), side.key_ms) for name, side in sides]
    say(f"{found.policy}, {found.pace_fps:g} frames a second; from packet to labels, in ms:")
    table(("key frames", *TIMES, "key graph"), rows)
