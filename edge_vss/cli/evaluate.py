"""``edge-vss evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_vss.cli.options import (
    Bundle,
    Debug,
    Engine,
    Hint,
    Ignore,
    Json,
    Motion,
    PolicyName,
    Provider,
    Source,
    Threads,
)
from edge_vss.cli.terminal import cell, emit, places, progress, say, table


def evaluate(
    bundle: Bundle,
    source: Source,
    ground_truth: Annotated[
        Path,
        typer.Option(
            "--ground-truth",
            "--truth",
            metavar="DIR",
            help="Label maps: one PNG of class ids per frame, in order.",
        ),
    ],
    ignore: Ignore = None,
    policy: PolicyName = None,
    motion: Motion = "auto",
    engine: Engine = None,
    provider: Provider = "",
    hint: Hint = "",
    threads: Threads = 0,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Compare with true label maps: mIoU, WIoU, mVC, per class and per distance from the key frame."""
    _evaluate(
        bundle,
        source,
        ground_truth,
        json,
        ignore=ignore,
        policy=policy,
        motion=motion,
        engine={"engine": engine, "threads": threads, "provider": provider, "hint": hint},
    )


def _evaluate(
    bundle: Path,
    source: str,
    ground_truth: Path,
    json: str | None,
    *,
    ignore: int | None,
    policy: str | None,
    motion: str,
    engine: dict[str, Any],
) -> None:
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.tools.evaluate import evaluate as score
    from edge_vss.runtimes.tools.ground_truth import GroundTruth

    check_places(places(json), source)
    maps = GroundTruth(ground_truth)
    segmenter = load(bundle, **engine)
    with progress(len(maps)) as advance:
        found = score(
            segmenter,
            source,
            maps,
            policy=policy,
            ignore=ignore,
            motion=motion,
            on_frame=lambda *_: advance(),
        )
    emit(found, json)
    table(("class", "IoU %"), list(found["iou"].items()))
    distances = [(str(gap), value) for gap, value in enumerate(found["miou_by_distance"])]
    table(("frames from the key frame", "mIoU %"), distances)
    names = ("miou", "wiou", "mvc8", "mvc16")
    say("  ".join(f"{name} {found[name]:.2f}" if found[name] is not None else f"{name} -" for name in names))
    cost, seconds = cell(found["gmac_per_frame"]), cell(found["seconds"])
    say(f"{found['frames']} frames, {found['keyframes']} key frames, {cost} GMAC per frame, {seconds} s")
