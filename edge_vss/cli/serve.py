"""``edge-vss serve``."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_vss.cli._hushed import told
from edge_vss.cli.options import (
    Background,
    Bundle,
    Debug,
    Engine,
    EngineChoice,
    Ffmpeg,
    Hint,
    Motion,
    PolicyName,
    Provider,
    Stream,
    Threads,
    Timeout,
    opening,
)
from edge_vss.cli.terminal import say

if TYPE_CHECKING:
    from edge_vss.runtimes.sinks import Sink, SinkContext


def serve(
    bundle: Bundle,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Cameras, stream URLs or video files, side by side. A file plays again and again.",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="0 takes any that is free.")] = 8088,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Take the token from a file; else from EDGE_VSS_TOKEN, or a new one."
        ),
    ] = None,
    cert: Annotated[Path | None, typer.Option(metavar="PEM", help="Encrypt, with this certificate.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="The certificate's key.")] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A name by which browsers reach this machine; may be given again."),
    ] = None,
    connections: Annotated[
        int, typer.Option(min=2, metavar="N", help="Most connections at once. A browser has up to six.")
    ] = 64,
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Record overlay videos there, the oldest of them deleted in time."),
    ] = None,
    record_mb: Annotated[
        int, typer.Option(min=1, metavar="MB", help="The most that --record keeps, per source.")
    ] = 2000,
    hang: Annotated[
        float,
        typer.Option(
            min=1, metavar="SECONDS", help="A stage that takes so long for one frame is begun anew."
        ),
    ] = 30.0,
    silent: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="After so long without labels, /health turns bad."),
    ] = 10.0,
    seconds: Annotated[
        float | None, typer.Option(min=0, metavar="N", help="Stop after so long; without it, go on.")
    ] = None,
    background: Background = False,
    policy: PolicyName = None,
    motion: Motion = "auto",
    timeout: Timeout = 10.0,
    ffmpeg: Ffmpeg = None,
    stream: Stream = None,
    engine: Engine = None,
    provider: Provider = "",
    hint: Hint = "",
    threads: Threads = 0,
    debug: Debug = False,
) -> None:
    """Show in a browser what cameras see, and keep them going."""
    from edge_vss.runtimes._key_workers import KeyWorkers
    from edge_vss.runtimes.fleet import Scheduler
    from edge_vss.runtimes.sinks import check_places
    from edge_vss.runtimes.sinks.ring import Ring
    from edge_vss.runtimes.web.names import names_of
    from edge_vss.runtimes.web.protocol import Limits
    from edge_vss.runtimes.web.server import Place, Server, given_token
    from edge_vss.runtimes.web.stream import Keeping
    from edge_vss.runtimes.web.stream import Stream as Kept

    how = opening(motion=motion, timeout=timeout, reconnect=0.0, ffmpeg=ffmpeg, stream=stream)
    limits = Limits(connections=connections)
    server = Server(Place(host, port, tuple(name or ()), cert, key, given_token(token_file), limits))
    try:
        load = partial(EngineChoice(engine, threads, provider, hint).load, bundle)
        segmenter = load()
        segmenter.session(policy, background=background).close()
        # One network for all: the stream whose labels are most in doubt gets the next key frame.
        workers = KeyWorkers(choose=Scheduler())
        for source in sources:
            if record is not None:
                check_places({"ring": str(record)}, source)
            if not _may_come(source):
                how.open(source).close()

        def sinks(number: int, context: SinkContext) -> list[Sink]:
            if record is None:
                return []
            folder = record if len(sources) == 1 else record / str(number)
            return [Ring(folder, context, record_mb * 10**6)]

        names = names_of(sources)
        keeping = Keeping(how, policy, hang, silent)
        desk = partial(workers.desk, patient=len(sources) == 1) if background else None
        streams = [
            Kept(
                source,
                segmenter,
                keeping,
                sinks=partial(sinks, number),
                name=names[number],
                reload=load,
                desk=desk,
            )
            for number, source in enumerate(sources)
        ]
        if server.in_the_clear:
            say("warning: other machines are let in without encryption: give --cert and --key")

        def started() -> None:
            say(f"open {server.address}?token={server.lock.token}")
            if seconds is not None:
                server.stop_after(seconds)

        with told(say), closing(workers):
            server.run(streams, started)
        say("stopped" if record is None else "stopped; what was recorded is whole")
    finally:
        server.close()


def _may_come(source: str) -> bool:
    """Whether a source that is not there now may be later: a camera, not a file."""
    from edge_vss.runtimes.sources import SOURCES, is_live, plugin_of

    kind, target = plugin_of(source)
    return is_live(target, SOURCES.find(kind).description)
