"""What the verbs that work on video do; each imports only what it needs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edge_vss.terminal import cell, emit, flat, progress, say, table, writable

if TYPE_CHECKING:
    from edge_vss.runtimes.sinks import Sink
    from edge_vss.video import Frame, Prediction


def run(
    bundle: Path,
    source: str,
    sinks: dict[str, str],
    json: str | None,
    *,
    policy: str | None,
    motion: str,
    engine: dict[str, Any],
    limit: int | None,
    live: bool | None,
    state: Path | None,
) -> None:
    """``edge-vss run``. ``sinks`` maps a sink's name to its place."""
    from edge_vss.runtimes.pipeline import run as segment
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sinks import SinkContext, check_places, open_sink
    from edge_vss.runtimes.sources import open_source
    from edge_vss.runtimes.state import check_place

    check_places(_places(json, **sinks, state=state), source)
    segmenter = load(bundle, **engine)
    session = segmenter.session(policy)
    if state is not None:
        check_place(state)
    if state is not None and state.exists():
        session.state.restore(state)
        say(f"going on from {state}")
    tally = _Tally()
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source, motion=motion, live=live))
        if motion == "auto" and opened.info.codec and not opened.info.exports_vectors:
            codec = opened.info.codec
            say(f"{codec} exports no motion vectors: motion is optical flow, which takes more time")
        context = SinkContext.of(segmenter.manifest, opened.info)
        outs: dict[str, _Counted] = {}
        for name, place in sinks.items():
            outs[name] = _Counted(open_sink(name, place, context))
            stack.callback(outs[name].close)
        total = min((n for n in (opened.info.frames, limit) if n), default=None)
        advance = stack.enter_context(progress(total))
        failed = False
        try:
            report = segment(
                opened, session, [*outs.values(), tally], on_frame=lambda *_: advance(), limit=limit
            )
        except KeyboardInterrupt:
            say(f"interrupted after {tally.frames} frames; what is written is whole")
            raise typer.Exit(130) from None
        except Exception:
            failed = True
            raise
        finally:
            for name, place in sinks.items():
                if place != "-":
                    say(_written(name, place, outs[name], failed))
            if state is not None and len(session.state):
                session.state.save(state)
    share = report.keyframes / report.frames if report.frames else 0.0
    counts = {
        "frames": report.frames,
        "skipped": report.skipped,
        "damaged_packets": opened.errors,
        "packet_losses": report.losses,
    }
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
    if tally.forced:
        say(f"{tally.forced} key frames came without an I-frame, because the policy is {session.policy}")


def _places(json: str | None, **places: str | Path | None) -> dict[str, str | Path]:
    """What a command writes: name → place, with the JSON of ``--json`` among them."""
    return {name: place for name, place in {**places, "json": json}.items() if place is not None}


def _written(name: str, place: str, out: _Counted, failed: bool) -> str:
    """What is in a sink's place now."""
    what = "label maps" if name == "labels" else "frames"
    if not out.frames:
        return f"no {what} were written to {place}"
    # Where a disk is full, the last frames that the encoder took are not in the file.
    most = "at most " if failed and name == "video" else ""
    older = getattr(out.sink, "older", 0)
    left = f"; {older} older ones were left there" if older else ""
    return f"{most}{out.frames} {what} in {place}{left}"


class _Counted:
    """A sink that counts what it has taken."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.frames = 0

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.sink.write(frame, prediction)
        self.frames += 1

    def close(self) -> None:
        self.sink.close()


class _Tally:
    """A sink that counts what the sinks before it have written."""

    frames = 0
    forced = 0

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.frames += 1
        self.forced += prediction.decision.reason.startswith("no I-frame")

    def close(self) -> None:
        pass


def profile(
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
    """``edge-vss profile``."""
    from edge_vss.runtimes.measure import profile as measure
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sinks import check_places

    check_places(_places(json), source)
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


def evaluate(
    bundle: Path,
    source: str,
    truth: Path,
    json: str | None,
    *,
    ignore: int | None,
    policy: str | None,
    motion: str,
    engine: dict[str, Any],
) -> None:
    """``edge-vss evaluate``."""
    from edge_vss.runtimes.evaluate import evaluate as score
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.truth import Truth

    check_places(_places(json), source)
    maps = Truth(truth)
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


def motion(
    source: str,
    out: Path | None,
    truth: Path | None,
    interval: int,
    ignore: int | None,
    limit: int | None,
    json: str | None,
) -> None:
    """``edge-vss motion``."""
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.survey import Findings, draw, survey

    check_places(_places(json, video=out), source)
    findings, interrupted = Findings(), False
    try:
        with progress(limit) as advance:
            found = survey(
                source, truth, interval, ignore=ignore, limit=limit, on_frame=advance, findings=findings
            )
    except KeyboardInterrupt:
        if not findings.frames:
            raise
        found, interrupted = findings.result(), True
    emit(found, json)
    table(("", source), [row for row in flat(found) if row[0] != "advice"])
    for line in found["advice"]:
        say(line)
    if interrupted:
        say(f"interrupted after {findings.frames} frames; this is what they say")
        raise typer.Exit(130)
    if out is not None:
        with progress(found["frames"]) as advance:
            drawn = draw(source, out, limit=limit, on_frame=advance)
        say(f"{drawn} frames in {out}")


def demo(out: Path, frames: int, interval: int | None, family: str, json: str | None) -> None:
    """``edge-vss demo``."""
    from edge_vss.demo import demo as show

    writable(json, made=out)
    found = show(out, frames, interval, tell=say, family=family)
    emit(found, json)
    rows = [
        (name, side["fps"], side["miou"], side["mvc8"], f"{side['key_share']:.1%}", side["gmac_per_frame"])
        for name, side in (("every frame", found["every_frame"]), (found["policy"], found["scheduled"]))
    ]
    table(("", "fps", "mIoU %", "mVC8 %", "key frames", "GMAC / frame"), rows)
    say(f"{found['speedup']:.2f} times as fast; look at {found['picture']} and {found['overlay']}")
