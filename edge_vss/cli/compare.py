"""``edge-vss compare``."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_vss.bundle.rules import MANIFEST
from edge_vss.cli._values import size_of, three_of
from edge_vss.cli.options import (
    Bgr,
    Classes,
    Debug,
    Factory,
    Family,
    Ffmpeg,
    FrameSize,
    HighBranch,
    Json,
    Mean,
    Motion,
    PolicyName,
    Reconnect,
    Scale,
    Std,
    Threads,
    Timeout,
    Variant,
    opening,
)
from edge_vss.cli.terminal import emit, say, table, writable
from edge_vss.errors import OptionError

if TYPE_CHECKING:
    from edge_vss.runtimes.tools.opening import Opening


def compare(
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
    bgr: Bgr = False,
    family: Family = "propagate",
    variant: Variant = None,
    hr: HighBranch = None,
    policy: PolicyName = None,
    motion: Motion = "auto",
    timeout: Timeout = 10.0,
    reconnect: Reconnect = 0.0,
    ffmpeg: Ffmpeg = None,
    threads: Threads = 0,
    frames: Annotated[int, typer.Option("--frames", min=16, help="How many frames are measured.")] = 96,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Every engine and precision on one video, side by side: which is the fastest here, and how exact.

    Without anything, the packaged sample is compared.
    """
    special = {name: value for name, value in {"variant": variant, "high": hr}.items() if value is not None}
    _compare(
        paths or [],
        json,
        precisions=precision,
        policy=policy,
        how=opening(motion=motion, timeout=timeout, reconnect=reconnect, ffmpeg=ffmpeg),
        threads=threads,
        frames=frames,
        classes=classes,
        size=size_of(size),
        factory=factory,
        mean=three_of(mean, "--mean"),
        std=three_of(std, "--std"),
        scale=scale,
        bgr=bgr or None,
        family=family,
        options=special or None,
    )


def _compare(
    paths: list[Path],
    json: str | None,
    *,
    precisions: str,
    policy: str | None,
    how: Opening,
    threads: int,
    frames: int,
    **options: Any,
) -> None:
    """The last of ``paths`` is the video; without any, the packaged sample's."""
    from edge_vss.runtimes.tools import compare as work

    writable(json)
    if len(paths) == 1:
        raise OptionError(f"{paths[0]} alone is nothing to compare on: give a video as the last argument")
    given = {name: value for name, value in options.items() if value is not None}
    with tempfile.TemporaryDirectory(prefix="edge-vss-compare-") as name:
        folder = Path(name)
        models, source = paths[:-1], paths[-1] if paths else folder / "streets.mp4"
        if not paths:
            from edge_vss.demo.scene.encode import write
            from edge_vss.demo.show import sample_model

            model, given = sample_model(given.get("family", "propagate"))
            say("drawing a street, encoding it as H.264")
            write(source, frames=frames, seed=7)
            models = [model]
        chosen: list[work.Candidate] = []
        problems: list[str] = []
        for index, path in enumerate(models):
            if (path / MANIFEST).is_file():
                chosen += work.candidates(path)
                continue
            from edge_vss.converters.matrix import every

            made, missing = every(path, folder / str(index), precisions.split(","), source, say, **given)
            chosen += [candidate for made_bundle in made for candidate in work.candidates(made_bundle)]
            problems += missing
        found = work.compare(
            chosen, source, policy=policy, opening=how, threads=threads, frames=frames, tell=say
        )
    found = replace(found, left_out=tuple(problems))
    emit(found, json)
    table(
        ("", "fps", "p95 ms", "key ms", "memory MB", "start s", "labels equal %"),
        [
            (
                row.candidate.name,
                row.measured.fps,
                row.measured.latency_ms.p95,
                row.measured.graphs_ms["key"],
                row.measured.memory_mb,
                row.measured.start_seconds,
                None if row.agreement is None else 100 * row.agreement,
            )
            for row in found.rows
            if row.measured is not None
        ],
    )
    for row in found.rows:
        if row.problem:
            say(f"{row.candidate.name}: {row.problem}")
    for line in (*problems, *work.slower_than_full(found.rows)):
        say(line)
    say(found.recommendation)
