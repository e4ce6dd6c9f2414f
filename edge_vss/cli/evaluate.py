"""``edge-vss evaluate``."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Annotated

import typer

from edge_vss.cli.options import (
    BothWays,
    Bundle,
    Debug,
    Engine,
    EngineChoice,
    Ffmpeg,
    GroundTruthFolder,
    Hint,
    Html,
    Ignore,
    Json,
    KeyDelay,
    Limit,
    Match,
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
from edge_vss.cli.terminal import cell, emit, places, progress, save_page, say, table
from edge_vss.text import without_password

if TYPE_CHECKING:
    from edge_vss.decisions import Prediction
    from edge_vss.video import Frame


def evaluate(
    bundle: Bundle,
    source: Source,
    ground_truth: GroundTruthFolder,
    match: Match = "auto",
    ignore: Ignore = None,
    head: Annotated[
        str | None, typer.Option(metavar="NAME", help="The map that is scored, of a bundle with several.")
    ] = None,
    policy: PolicyName = None,
    both_ways: BothWays = False,
    key_delay: KeyDelay = 0,
    limit: Limit = None,
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
    """Compare with the ground truth: mIoU, WIoU, mVC, per class and per distance from the key frame."""
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.tools.evaluate import evaluate as score
    from edge_vss.runtimes.tools.first_look import FirstLook
    from edge_vss.runtimes.tools.ground_truth import GroundTruth
    from edge_vss.runtimes.tools.html_reports import WorstFrames, evaluation_page

    how = opening(
        motion=motion, timeout=timeout, reconnect=reconnect, ffmpeg=ffmpeg, stream=stream, parts=both_ways
    )
    check_places(places(json, html=html), source)
    maps = GroundTruth(ground_truth, match)
    segmenter = EngineChoice(engine, threads, provider, hint).load_quietly(bundle, debug)
    look = FirstLook(segmenter.manifest)
    scored = segmenter.manifest.head(head)
    worst = WorstFrames(scored.ignore if ignore is None else ignore)
    with progress(limit) as advance:

        def on_frame(frame: Frame, prediction: Prediction) -> None:
            advance()
            look.take(frame, prediction)

        found = score(
            segmenter,
            source,
            maps,
            policy=policy,
            ignore=ignore,
            head=head,
            opening=how,
            on_frame=on_frame,
            limit=limit,
            both_ways=both_ways,
            on_scored=None if html is None else worst.take,
            key_delay=key_delay,
        )
    emit(found, json)
    if html is not None:
        save_page(evaluation_page(found, worst, scored, without_password(source)), html)
    say(str(found.ground_truth))
    if line := look.warning(ended=True):
        say(f"warning: {line}")
    table(("class", "IoU %"), list(found.iou.items()))
    table(
        ("frames since the key frame", "mIoU %"), [(str(n), v) for n, v in enumerate(found.miou_by_distance)]
    )
    scores = {"miou": found.miou, "wiou": found.wiou, "mvc8": found.mvc8, "mvc16": found.mvc16}
    say("  ".join(f"{name} -" if isnan(score) else f"{name} {score:.2f}" for name, score in scores.items()))
    frames, cost, seconds = found.ground_truth.frames, cell(found.gmac_per_frame), cell(found.seconds)
    say(f"{frames} frames, {found.keyframes} key frames, {cost} GMAC per frame, {seconds} s")
