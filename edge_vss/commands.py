"""What the verbs that work on video do; each imports only what it needs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge_vss.terminal import cell, emit, flat, progress, say, table

if TYPE_CHECKING:
    from edge_vss.video import Frame, Prediction


def run(
    bundle: Path,
    source: str,
    sinks: dict[str, str],
    json: str | None,
    *,
    policy: str | None,
    motion: str,
    engine: str | None,
    threads: int,
    limit: int | None,
    live: bool | None,
) -> None:
    """``edge-vss run``. ``sinks`` maps a sink's name to its place."""
    from edge_vss.runtimes.pipeline import run as segment
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sinks import Sink, SinkContext, open_sink
    from edge_vss.runtimes.sources import open_source

    segmenter = load(bundle, engine, threads)
    session = segmenter.session(policy)
    tally = _Tally()
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(_uri(source), motion=motion, live=live))
        context = SinkContext.of(segmenter.manifest, opened.info)
        outs: list[Sink] = []
        for name, place in sinks.items():
            outs.append(open_sink(name, place, context))
            stack.callback(outs[-1].close)
        total = min((n for n in (opened.info.frames, limit) if n), default=None)
        advance = stack.enter_context(progress(total))
        try:
            report = segment(opened, session, [*outs, tally], on_frame=lambda *_: advance(), limit=limit)
        except KeyboardInterrupt:
            say(f"interrupted after {tally.frames} frames; what is written is whole")
            raise typer.Exit(130) from None
        finally:
            for name, place in sinks.items():
                if place != "-":
                    say(f"{tally.frames} {'label maps' if name == 'labels' else 'frames'} in {place}")
    share = report.keyframes / report.frames if report.frames else 0.0
    counts = {"frames": report.frames, "skipped": report.skipped, "damaged_packets": opened.errors}
    emit(
        {
            **counts,
            "keyframes": report.keyframes,
            "key_share": share,
            "fps": report.fps,
            "seconds": report.seconds,
            "stages_seconds": dict(report.stages),
            "busy_seconds": report.busy,
            "outputs": sinks,
        },
        json,
    )
    notes = [
        f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number or name == "frames"
    ]
    say(f"{', '.join(notes)}; {share:.1%} key frames, {report.fps:.1f} fps")


def _uri(text: str) -> str | int:
    # Cameras have numbers; a file that happens to be called 0 goes first.
    return int(text) if text.isdecimal() and not Path(text).exists() else text


class _Tally:
    """A sink that counts what the sinks before it have written."""

    frames = 0

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.frames += 1

    def close(self) -> None:
        pass


def profile(
    bundle: Path,
    source: str,
    json: str | None,
    *,
    policy: str | None,
    motion: str,
    engine: str | None,
    threads: int,
    limit: int | None,
    sink: str,
) -> None:
    """``edge-vss profile``."""
    from edge_vss.runtimes.measure import profile as measure
    from edge_vss.runtimes.segmenter import load

    found = measure(load(bundle, engine, threads), source, policy, motion=motion, sink=sink, limit=limit)
    emit(found, json)
    sides = ((found["policy"], found), ("key graph on every frame", found["baseline"]))
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


def evaluate(
    bundle: Path,
    source: str,
    truth: Path,
    json: str | None,
    *,
    ignore: int | None,
    policy: str | None,
    motion: str,
    engine: str | None,
    threads: int,
) -> None:
    """``edge-vss evaluate``."""
    from edge_vss.runtimes.evaluate import evaluate as score
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.truth import Truth

    maps = Truth(truth)
    segmenter = load(bundle, engine, threads)
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


def motion(
    source: str, out: Path | None, truth: Path | None, interval: int, ignore: int | None, json: str | None
) -> None:
    """``edge-vss motion``."""
    from edge_vss.runtimes.survey import draw, survey

    with progress(None) as advance:
        found = survey(source, truth, interval, ignore=ignore, on_frame=advance)
    if out is not None:
        with progress(found["frames"]) as advance:
            drawn = draw(source, out, on_frame=advance)
        say(f"{drawn} frames in {out}")
    emit(found, json)
    table(("", source), [row for row in flat(found) if row[0] != "advice"])
    for line in found["advice"]:
        say(line)


def demo(out: Path, frames: int, interval: int, json: str | None) -> None:
    """``edge-vss demo``."""
    from edge_vss.demo import demo as show

    found = show(out, frames, interval, tell=say)
    emit(found, json)
    rows = [
        (name, side["fps"], side["miou"], side["mvc8"], f"{side['key_share']:.1%}", side["gmac_per_frame"])
        for name, side in (("every frame", found["every_frame"]), (found["policy"], found["scheduled"]))
    ]
    table(("", "fps", "mIoU %", "mVC8 %", "key frames", "GMAC / frame"), rows)
    say(f"{found['speedup']:.2f} times as fast; look at {found['picture']} and {found['overlay']}")
