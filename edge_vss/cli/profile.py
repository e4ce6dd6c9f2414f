"""``edge-vss profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_vss.cli.options import (
    Bundle,
    Debug,
    Engine,
    Hint,
    Json,
    Limit,
    Motion,
    PolicyName,
    Provider,
    Source,
    Threads,
)
from edge_vss.cli.terminal import emit, places, say, table


def profile(
    bundle: Bundle,
    source: Source,
    policy: PolicyName = None,
    motion: Motion = "auto",
    engine: Engine = None,
    provider: Provider = "",
    hint: Hint = "",
    threads: Threads = 0,
    limit: Limit = None,
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
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Where the time goes, against the key graph on every frame, in turn in the same run."""
    _profile(
        bundle,
        source,
        json,
        policy=policy,
        motion=motion,
        engine={"engine": engine, "threads": threads, "provider": provider, "hint": hint},
        limit=limit,
        sink=sink,
        against=against,
    )


def _profile(
    bundle: Path,
    source: str,
    json: str | None,
    *,
    policy: str | None,
    motion: str,
    engine: dict[str, Any],
    limit: int | None,
    sink: str,
    against: Path | None,
) -> None:
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.tools.benchmark import profile as measure

    check_places(places(json), source)
    segmenter = load(bundle, **engine)
    other = None if against is None else load(against, threads=engine["threads"])
    found = measure(segmenter, source, policy, motion=motion, sink=sink, limit=limit, against=other)
    emit(found, json)
    baseline = "key graph on every frame" if against is None else str(against)
    sides = ((found["policy"], found), (baseline, found["baseline"]))
    rows = [
        (
            name,
            side["fps"],
            f"{side['key_share']:.1%}",
            *(side["latency_ms"][p] for p in ("p50", "p95", "p99")),
        )
        for name, side in sides
    ]
    table(("", "fps", "key frames", "p50 ms", "p95 ms", "p99 ms"), rows)
    stages = [
        (name, *(found["stages"][name][p] for p in ("p50", "p95", "p99", "count")))
        for name in found["stages"]
    ]
    table(("stage", "p50 ms", "p95 ms", "p99 ms", "times"), stages)
    say(f"{found['speedup']:.2f} times as fast, {found['peak_rss_mb']:.0f} MB at the peak")
    if segmenter.manifest.precision["weights"] == "int8":
        if against is None:
            say("whether int8 pays here, --against and the bundle in fp32 would tell")
        elif found["speedup"] < 0.97:
            say(f"int8 is slower than {against} here: take that")
