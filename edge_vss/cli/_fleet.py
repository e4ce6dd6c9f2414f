"""``edge-vss run`` with several sources."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge_vss.cli.terminal import emit, places, progress, say
from edge_vss.report import Report
from edge_vss.text import told_apart, without_password

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_vss.runtimes._stream import StreamReport
    from edge_vss.runtimes.opening import Opening
    from edge_vss.runtimes.segmenter import Segmenter
    from edge_vss.runtimes.sinks import Sink


@dataclass(frozen=True)
class FleetSummary(Report):
    """What became of every stream."""

    streams: dict[str, StreamReport]
    outputs: dict[str, dict[str, str]]
    """Stream → sink → place."""


def run_fleet(
    segmenter: Segmenter,
    sources: Sequence[str],
    sinks: dict[str, str],
    json: str | None,
    policy: str | None,
    how: Opening,
    limit: int | None,
) -> None:
    """Every stream with sinks of its own, in places that have its name."""
    from edge_vss.runtimes.fleet import Fleet
    from edge_vss.runtimes.sinks import SinkContext, check_places, open_sink

    named = names_of(sources)
    outputs = {
        name: {sink: str(place_of(sink, place, name)) for sink, place in sinks.items()} for name in named
    }
    for name, uri in named.items():
        check_places(places(json, **outputs[name]), uri)
    for place in sinks.values():
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    opened: dict[str, list[Sink]] = {}
    try:
        # Every sink is closed, also after one that fails.
        with (
            ExitStack() as closing,
            progress(None) as advance,
            Fleet(segmenter, named, policy=policy or "continuous", opening=how, limit=limit) as fleet,
        ):
            for name, frame, prediction in fleet:
                advance()
                if name not in opened:
                    source = fleet.source(name)
                    assert source is not None, "a stream that gives frames has its source open"
                    context = replace(SinkContext.of(segmenter.manifest, source.info), sound="")
                    opened[name] = []
                    for sink, place in outputs[name].items():
                        opened[name].append(open_sink(sink, place, context))
                        closing.callback(opened[name][-1].close)
                for out in opened[name]:
                    out.write(frame, prediction)
            errors, reports = fleet.errors, fleet.reports()
    except KeyboardInterrupt:
        say("interrupted; what is written is whole")
        raise typer.Exit(130) from None
    emit(FleetSummary(reports, outputs), json)
    for name, report in reports.items():
        figures = report.timeliness
        spent = figures.packet_to_label_ms
        missed = f", {figures.missed} without labels" if figures.missed else ""
        say(
            f"{name}: {figures.frames} frames{missed}, {report.keys.taken} key frames; packet to labels "
            f"p50 {spent.p50:.0f}, p95 {spent.p95:.0f}, p99 {spent.p99:.0f} ms"
        )
    for name, error in errors.items():
        say(f"warning: {name} has ended: {error}")
    if len(errors) == len(named):
        raise next(iter(errors.values()))


def names_of(sources: Sequence[str]) -> dict[str, str]:
    """A short name for each source: that of its file or camera. Those that are the same get a number."""
    names = []
    for uri in sources:
        last = without_password(uri).rstrip("/").rpartition("/")[2].partition("?")[0]
        stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in Path(last).stem)
        names.append(stem or "stream")
    return dict(zip(told_apart(names, "-{}"), sources, strict=True))


def place_of(sink: str, place: str, name: str) -> Path:
    """Where a stream's output goes: a folder in the folder, or a file beside the file that is named."""
    from edge_vss.runtimes.sinks import SINKS

    if place == "-":
        raise typer.BadParameter("several streams cannot go to standard output: give a file")
    path = Path(place)
    if SINKS.find(sink).description.folder:
        return path / name
    return path.with_name(f"{path.stem}-{name}{path.suffix}")
