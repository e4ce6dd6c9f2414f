"""``edge-vss evaluate``."""

from __future__ import annotations

from math import isnan

from edge_vss.cli.options import (
    Bundle,
    Debug,
    Engine,
    EngineChoice,
    Ffmpeg,
    GroundTruthFolder,
    Hint,
    Ignore,
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
from edge_vss.cli.terminal import cell, emit, places, progress, say, table


def evaluate(
    bundle: Bundle,
    source: Source,
    ground_truth: GroundTruthFolder,
    ignore: Ignore = None,
    policy: PolicyName = None,
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
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Compare with the ground truth: mIoU, WIoU, mVC, per class and per distance from the key frame."""
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.tools.evaluate import evaluate as score
    from edge_vss.runtimes.tools.ground_truth import GroundTruth

    how = opening(motion=motion, timeout=timeout, reconnect=reconnect, ffmpeg=ffmpeg, stream=stream)
    check_places(places(json), source)
    maps = GroundTruth(ground_truth)
    segmenter = EngineChoice(engine, threads, provider, hint).load(bundle)
    with progress(min(len(maps), limit or len(maps))) as advance:
        found = score(
            segmenter,
            source,
            maps,
            policy=policy,
            ignore=ignore,
            opening=how,
            on_frame=lambda *_: advance(),
            limit=limit,
        )
    emit(found, json)
    table(("class", "IoU %"), list(found.iou.items()))
    table(
        ("frames since the key frame", "mIoU %"), [(str(n), v) for n, v in enumerate(found.miou_by_distance)]
    )
    scores = {"miou": found.miou, "wiou": found.wiou, "mvc8": found.mvc8, "mvc16": found.mvc16}
    say("  ".join(f"{name} -" if isnan(score) else f"{name} {score:.2f}" for name, score in scores.items()))
    cost, seconds = cell(found.gmac_per_frame), cell(found.seconds)
    say(f"{found.frames} frames, {found.keyframes} key frames, {cost} GMAC per frame, {seconds} s")
