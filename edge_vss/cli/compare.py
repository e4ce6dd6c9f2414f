"""``edge-vss compare``."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edge_vss.cli._family import family_options
from edge_vss.cli._hushed import hushed
from edge_vss.cli._values import size_of, three_of
from edge_vss.cli.options import (
    Bgr,
    BothWays,
    Classes,
    Debug,
    Factory,
    Family,
    Ffmpeg,
    FrameSize,
    Html,
    Json,
    Mean,
    Motion,
    PolicyName,
    Reconnect,
    Scale,
    Std,
    Stream,
    Threads,
    Timeout,
    opening,
)
from edge_vss.cli.terminal import emit, places, save_page, say, table, writable
from edge_vss.errors import OptionError


def compare(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL|BUNDLE... SOURCE]",
            help="Models or bundles, and a video last; without any, the packaged sample.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="NAMES", help="Of models: fp32, fp16, int8 (fitted to SOURCE).")
    ] = "fp32,int8",
    classes: Classes = None,
    size: FrameSize = None,
    factory: Factory = None,
    mean: Mean = None,
    std: Std = None,
    scale: Scale = None,
    bgr: Bgr = None,
    family: Family = "propagate",
    policy: PolicyName = None,
    both_ways: BothWays = False,
    motion: Motion = "auto",
    timeout: Timeout = 10.0,
    reconnect: Reconnect = 0.0,
    ffmpeg: Ffmpeg = None,
    stream: Stream = None,
    threads: Threads = 0,
    frames: Annotated[int, typer.Option("--frames", min=16, help="How many frames are measured.")] = 96,
    html: Html = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Every engine and precision on one video, side by side: which is the fastest here, and how exact.

    Without anything, the packaged sample is compared.
    """
    from edge_vss.bundle.rules import MANIFEST
    from edge_vss.converters.conversion import Conversion
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.tools import compare as work
    from edge_vss.runtimes.tools.html_reports import compare_page

    how = opening(motion=motion, timeout=timeout, reconnect=reconnect, ffmpeg=ffmpeg, stream=stream)
    writable(json)
    named = paths or []
    if len(named) == 1:
        raise OptionError(f"{named[0]} alone is nothing to compare on: give a video as the last argument")
    check_places(places(None, html=html), named[-1] if named else "")
    conversion = Conversion(
        classes=classes,
        size=size_of(size),
        factory=factory,
        mean=three_of(mean, "--mean"),
        std=three_of(std, "--std"),
        scale=scale,
        bgr=bgr,
        family=family,
        options=family_options(context),
    )
    with tempfile.TemporaryDirectory(prefix="edge-vss-compare-") as name:
        folder = Path(name)
        conversions = [replace(conversion, model=path) for path in named[:-1]]
        source = named[-1] if named else folder / "streets.mp4"
        if not named:
            from edge_vss.demo.scene.encode import write
            from edge_vss.demo.show import sample_model

            say("drawing a street, encoding it as H.264")
            write(source, frames=frames, seed=7)
            conversions = [sample_model(family)]
        chosen: list[work.Candidate] = []
        problems: list[str] = []
        for index, each in enumerate(conversions):
            if each.path is not None and (each.path / MANIFEST).is_file():
                chosen += work.candidates(each.path)
                continue
            with hushed(debug) as tell:
                from edge_vss.converters.matrix import convert_each

                made, missing = convert_each(each, folder / str(index), precision.split(","), source, tell)
            chosen += [candidate for made_bundle in made for candidate in work.candidates(made_bundle)]
            problems += missing
        found = work.compare(
            chosen,
            source,
            policy=policy,
            opening=how,
            threads=threads,
            frames=frames,
            both_ways=both_ways,
            tell=say,
        )
    found = replace(found, left_out=tuple(problems))
    emit(found, json)
    if html is not None:
        save_page(compare_page(found, Path(source).name), html)
    table(
        ("", "fps", "p95 ms", "key ms", "between ms", "memory MB", "start s", "labels equal %"),
        [
            (
                row.candidate.name,
                row.measured.fps,
                row.measured.latency_ms.p95,
                row.measured.graphs_ms["key"],
                None if row.measured.between_ms is None else row.measured.between_ms.p50,
                row.measured.memory_mb,
                row.measured.start_seconds,
                None if row.agreement is None else 100 * row.agreement,
            )
            for row in found.rows
            if row.measured is not None
        ],
    )
    if found.both_ways:
        say("frames in between had their labels from the key frames on both sides, one interval late")
    for row in found.rows:
        if row.problem:
            say(f"{row.candidate.name}: {row.problem}")
    for line in (*problems, *work.slower_than_full(found.rows)):
        say(line)
    say(found.recommendation)
