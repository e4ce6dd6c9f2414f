"""``edge-vss motion``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_vss.cli.options import (
    Debug,
    Ffmpeg,
    GroundTruthIfAny,
    Html,
    Ignore,
    Json,
    Limit,
    Match,
    Reconnect,
    Source,
    Stream,
    Timeout,
    opening,
)
from edge_vss.cli.terminal import emit, flat, places, progress, save_page, say, table
from edge_vss.text import without_password


def motion(
    source: Source,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the vectors into a video.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Write the vectors as arrays for NumPy.")
    ] = None,
    ground_truth: GroundTruthIfAny = None,
    match: Match = "auto",
    interval: Annotated[int, typer.Option(min=1, help="Frames from one label map used to the next.")] = 5,
    ignore: Ignore = None,
    limit: Limit = None,
    timeout: Timeout = 10.0,
    reconnect: Reconnect = 0.0,
    ffmpeg: Ffmpeg = None,
    stream: Stream = None,
    html: Html = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """What a stream's motion vectors are worth, and how to encode better."""
    from edge_vss.runtimes.opening import check_repeatable
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.tools.ground_truth import GroundTruth
    from edge_vss.runtimes.tools.html_reports import motion_page
    from edge_vss.runtimes.tools.motion_video import draw
    from edge_vss.runtimes.tools.stream_report import Findings, report
    from edge_vss.runtimes.tools.vectors import check_name, save_vectors

    how = opening(timeout=timeout, reconnect=reconnect, ffmpeg=ffmpeg, stream=stream)
    if save is not None:
        check_name(save)
    check_places(places(json, video=out, save=save, html=html), source)
    if out is not None or save is not None:
        check_repeatable(source)
    maps = None if ground_truth is None else GroundTruth(ground_truth, match)
    findings, interrupted = Findings(), False
    try:
        with progress(limit) as advance:
            found = report(
                source,
                maps,
                interval,
                ignore=ignore,
                limit=limit,
                opening=how,
                on_frame=advance,
                findings=findings,
            )
    except KeyboardInterrupt:
        if not findings.frames:
            raise
        found, interrupted = findings.result(), True
    emit(found, json)
    if html is not None:
        save_page(motion_page(found, findings.coverage, without_password(source)), html)
    shown = {name: value for name, value in found.to_json().items() if name not in ("advice", "ground_truth")}
    table(("", without_password(source)), flat(shown))
    if found.ground_truth is not None:
        say(str(found.ground_truth))
    for line in found.advice:
        say(line)
    if interrupted:
        say(f"interrupted after {findings.frames} frames; this is what they say")
        raise typer.Exit(130)
    if out is not None:
        with progress(found.frames) as advance:
            drawn = draw(source, out, limit=limit, opening=how, on_frame=advance)
        say(f"{drawn} frames in {out}")
    if save is not None:
        written = 0

        def count() -> None:
            nonlocal written
            written += 1
            advance()

        try:
            with progress(found.frames) as advance:
                save_vectors(source, save, limit=limit, opening=how, on_frame=count)
        except KeyboardInterrupt:
            say(f"interrupted after {written} frames; {save} holds them")
            raise typer.Exit(130) from None
        say(f"{written} frames in {save}")
