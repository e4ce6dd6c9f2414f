"""The command line: one verb per job. Options live here, the work in ``commands`` and ``describe``.

Nothing is imported before it is needed: ``edge-vss --help`` opens neither a decoder nor a framework.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from edge_vss import __version__, commands, describe, model_verbs
from edge_vss.options import (
    Bundle,
    Debug,
    Engine,
    Factory,
    HighBranch,
    Hint,
    Ignore,
    Json,
    Limit,
    Motion,
    PolicyName,
    Provider,
    Source,
    Threads,
    Truth,
)
from edge_vss.terminal import guarded

# Typer's rich help doubles the time of --help, and draws a box around what should be one line.
app = typer.Typer(
    name="edge-vss",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The ``edge-vss`` program, once all of it is imported."""
    # A service manager stops a program with SIGTERM; a recording must be closed then as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"edge-vss {__version__}")
        raise typer.Exit


@app.callback(help="Video semantic segmentation on edge devices, led by the decoder's motion vectors.")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command(help="Split a trained model, export it, check the numbers, and write a bundle.")(
    guarded(model_verbs.convert)
)


@app.command(help="What is inside a bundle: graphs, shapes, state, sizes, cost.")
@guarded
def inspect(bundle: Bundle, policy: PolicyName = None, json: Json = None, debug: Debug = False) -> None:
    describe.inspect(bundle, policy, json)


@app.command(help="Check a bundle's hashes and contracts, and its numbers against the model it came from.")
@guarded
def verify(
    bundle: Bundle,
    model: Annotated[
        Path | None, typer.Argument(help="The trained model the bundle was made from.", show_default=False)
    ] = None,
    factory: Factory = None,
    hr: HighBranch = None,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Unpickle a whole module.")] = False,
    json: Json = None,
    debug: Debug = False,
) -> None:
    describe.verify(bundle, model, factory, hr, trust_pickle, json)


@app.command(help="Segment a video, stream or camera into label maps, an overlay video or JSON lines.")
@guarded
def run(
    bundle: Bundle,
    source: Source,
    policy: PolicyName = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an overlay video.")] = None,
    save_labels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write one palette PNG of class ids per frame.")
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Write one JSON line per frame; - is standard output."),
    ] = None,
    motion: Motion = "auto",
    engine: Engine = None,
    provider: Provider = "",
    hint: Hint = "",
    threads: Threads = 0,
    limit: Limit = None,
    live: Annotated[
        bool, typer.Option("--live", help="Never fall behind: leave frames without inference when late.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Go on from this state if it is there, and leave the last one in it."
        ),
    ] = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    # The folder first: files may go into it.
    sinks = {"labels": save_labels, "video": out, "jsonl": jsonl}
    chosen = {name: str(path) for name, path in sinks.items() if path is not None}
    if json == "-" and jsonl == "-":
        raise typer.BadParameter("--json - and --jsonl - both want standard output: give one of them a file")
    commands.run(
        bundle,
        source,
        chosen,
        json,
        policy=policy,
        motion=motion,
        engine={"engine": engine, "threads": threads, "provider": provider, "hint": hint},
        limit=limit,
        live=live or None,
        state=state,
    )


@app.command(help="Where the time goes, against the key graph on every frame, in turn in the same run.")
@guarded
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
        str, typer.Option(metavar="NAME", help="What writes the labels: labels, video, jsonl or none.")
    ] = "labels",
    json: Json = None,
    debug: Debug = False,
) -> None:
    commands.profile(
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


@app.command(
    help="Compare with true label maps: mIoU, WIoU, mVC, per class and per distance from the key frame."
)
@guarded
def evaluate(
    bundle: Bundle,
    source: Source,
    truth: Annotated[
        Path, typer.Option(metavar="DIR", help="Label maps: one PNG of class ids per frame, in order.")
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
    commands.evaluate(
        bundle,
        source,
        truth,
        json,
        ignore=ignore,
        policy=policy,
        motion=motion,
        engine={"engine": engine, "threads": threads, "provider": provider, "hint": hint},
    )


app.command(help="Every engine and precision that is here, side by side on a video, and which to take.")(
    guarded(model_verbs.compare)
)


@app.command(help="What a stream's motion vectors are worth, and how to encode better.")
@guarded
def motion(
    source: Source,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the vectors into a video.")] = None,
    truth: Truth = None,
    interval: Annotated[int, typer.Option(min=1, help="Frames from one given label map to the next.")] = 5,
    ignore: Ignore = None,
    limit: Limit = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    commands.motion(source, out, truth, interval, ignore, limit, json)


@app.command(help="Which engines, codecs, accelerators and cameras are here, and what to install.")
@guarded
def doctor(json: Json = None, debug: Debug = False) -> None:
    describe.doctor(json)


@app.command(help="The main job on a sample that needs no download: every frame against scheduled.")
@guarded
def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the clip, bundle, video and picture go.")
    ] = Path("demo"),
    frames: Annotated[int, typer.Option(min=16, help="Length of the sample clip.")] = 240,
    interval: Annotated[
        int | None,
        typer.Option(
            min=1, help="Frames from one key frame to the next: 5, or 12 for arseg.", show_default=False
        ),
    ] = None,
    family: Annotated[str, typer.Option(help="Whose sample: propagate or arseg.")] = "propagate",
    json: Json = None,
    debug: Debug = False,
) -> None:
    commands.demo(out, frames, interval, family, json)


if __name__ == "__main__":
    main()
