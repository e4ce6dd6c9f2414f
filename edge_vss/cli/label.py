"""``edge-vss label``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from edge_vss.cli.options import Bundle, Debug, Engine, Json, Motion, PolicyName, Provider
from edge_vss.cli.terminal import emit, say, table, writable
from edge_vss.processor import usable_cores

if TYPE_CHECKING:
    from edge_vss.runtimes.archive.jobs import Task
    from edge_vss.runtimes.archive.processes import Runner
    from edge_vss.runtimes.archive.report import OnProgress


def label(
    bundle: Bundle,
    footage: Annotated[
        list[str],
        typer.Argument(
            metavar="FOOTAGE...", help="Videos, folders of videos, or URLs (s3://…).", show_default=False
        ),
    ],
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="DIR|URL", help="Where labels and index go.", show_default=False),
    ],
    policy: PolicyName = None,
    maps: Annotated[
        str, typer.Option(metavar="png|mkv", help="A folder of PNG files a recording, or one lossless video.")
    ] = "png",
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Write maps of how far labels are to be trusted, too.")
    ] = False,
    worst: Annotated[
        int, typer.Option(min=0, metavar="N", help="Draw the N frames of the least confidence to worst.png.")
    ] = 0,
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", help="Processes; 0 for one on each group of --threads cores.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Cores of each process.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(metavar="auto|ADDRESS", help="Work on a Ray cluster instead of this machine."),
    ] = None,
    shard_frames: Annotated[
        int, typer.Option(min=1, metavar="N", help="The fewest frames that are labelled in one go.")
    ] = 2000,
    motion: Motion = "auto",
    engine: Engine = None,
    provider: Provider = "",
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Label many recordings from both sides; stopped at any moment, the same command goes on."""
    from edge_vss.runtimes.archive import worst as least
    from edge_vss.runtimes.archive.driver import label as label_all
    from edge_vss.runtimes.archive.processes import Processes

    writable(json)

    def runner(task: Task) -> Runner:
        if ray is None:
            return Processes(workers or max(1, (usable_cores() or 1) // threads))
        from edge_vss.runtimes.archive.on_ray import OnRay

        return OnRay(ray, task.bundle, threads)

    with _shown() as on_progress:
        found = label_all(
            bundle,
            footage,
            out,
            policy=policy,
            engine=engine,
            provider=provider,
            threads=threads,
            motion=motion,
            maps=maps,
            confidence=confidence,
            shard_frames=shard_frames,
            runner=runner,
            on_progress=on_progress,
        )
    if worst and (frames := least.find(out, worst)):
        from edge_vss.bundle import read

        table(
            ("recording", "frame", "seconds", "confidence"),
            [(one.file, one.frame, one.pts_seconds, one.confidence) for one in frames],
        )
        say(f"{len(frames)} frames in {out.rstrip('/')}/{least.draw_sheet(out, read(bundle), frames)}")
    emit(found, json)
    table(("worker", "fps"), list(found.workers.items()))
    for failure in found.failed:
        say(f"not labelled: {failure.reason}")
    say(str(found))
    if found.failed:
        raise typer.Exit(1)


@contextmanager
def _shown() -> Iterator[OnProgress | None]:
    """A line that is written anew, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from time import perf_counter

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    began = perf_counter()
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:

        def on_progress(frames: int, planned: int, seconds: float, fps_by_worker: dict[str, float]) -> None:
            spent = perf_counter() - began
            left = (planned - frames) * spent / max(1, frames)
            each = ", ".join(f"{rate:.0f}" for rate in fps_by_worker.values())
            live.update(
                Text(
                    f"{frames} of {planned} frames, {frames / spent:.1f} fps (workers: {each}), "
                    f"{seconds / spent:.1f} hours of video per hour, {left / 60:.0f} minutes left"
                ),
                refresh=True,
            )

        yield on_progress
