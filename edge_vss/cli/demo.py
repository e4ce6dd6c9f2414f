"""``edge-vss demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_vss.cli.options import Debug, Json
from edge_vss.cli.terminal import emit, say, table, writable


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
    """The main job on a sample that needs no download: every frame against scheduled."""
    from edge_vss.demo.show import demo as show

    writable(json, made=out)
    found = show(out, frames, interval, tell=say, family=family)
    emit(found, json)
    rows = [
        (name, side.fps, side.miou, side.mvc8, f"{side.key_share:.1%}", side.gmac_per_frame)
        for name, side in (("every frame", found.every_frame), (found.policy, found.scheduled))
    ]
    table(("", "fps", "mIoU %", "mVC8 %", "key frames", "GMAC / frame"), rows)
    say(f"{found.speedup:.2f} times as fast; look at {found.picture} and {found.overlay}")
