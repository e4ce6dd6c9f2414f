"""``edge-vss motion``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_vss.cli.options import (
    Debug,
    Ffmpeg,
    GroundTruthIfAny,
    Ignore,
    Json,
    Limit,
    Reconnect,
    Source,
    Timeout,
    opening,
)
from edge_vss.cli.terminal import emit, flat, places, progress, say, table
from edge_vss.text import without_password


def motion(
    source: Source,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the vectors into a video.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Write the vectors as arrays for NumPy.")
    ] = None,
    ground_truth: GroundTruthIfAny = None,
    interval: Annotated[int, typer.Option(min=1, help="Frames from one label map used to the next.")] = 5,
    ignore: Ignore = None,
    limit: Limit = None,
    timeout: Timeout = 10.0,
    reconnect: Reconnect = 0.0,
    ffmpeg: Ffmpeg = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """What a stream's motion vectors are worth, and how to encode better."""
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.tools.motion_video import draw
    from edge_vss.runtimes.tools.stream_report import Findings, report
    from edge_vss.runtimes.tools.vectors import check_name, save_vectors

    how = opening(timeout=timeout, reconnect=reconnect, ffmpeg=ffmpeg)
    if save is not None:
        check_name(save)
    check_places(places(json, video=out, save=save), source)
    findings, interrupted = Findings(), False
    try:
        with progress(limit) as advance:
            found = report(
                source,
                ground_truth,
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
    table(("", without_password(source)), [row for row in flat(found.to_json()) if row[0] != "advice"])
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
