"""Options and arguments that several verbs of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Bundle = Annotated[Path, typer.Argument(help="A bundle that convert wrote (NAME.vss).", show_default=False)]
Factory = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="FILE.py:FACTORY", help="The function that builds a state dict's network."
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        help="A video file, stream URL, camera (or its number) or image folder.", show_default=False
    ),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write the result as JSON; - is standard output."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
PolicyName = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="NAME",
        help="interval:N, gop, gop:N, adaptive or adaptive:X; without it, the bundle's own.",
    ),
]
Motion = Annotated[str, typer.Option("--motion", help="Where motion comes from: auto, codec, flow or none.")]
Engine = Annotated[
    str | None,
    typer.Option("--engine", metavar="NAME", help="Inference engine; without it, the target's own."),
]
Provider = Annotated[
    str,
    typer.Option(
        "--provider", metavar="NAME", help="What the engine computes on: cpu, cuda, tensorrt, gpu, npu, auto."
    ),
]
Hint = Annotated[str, typer.Option("--hint", metavar="NAME", help="OpenVINO: latency or throughput.")]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Threads of the engine; 0 lets it choose.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Stop after N frames.")]
Truth = Annotated[
    Path | None,
    typer.Option(
        "--ground-truth",
        "--truth",
        metavar="DIR",
        help="True label maps: one PNG of class ids per frame, in order.",
    ),
]
Ignore = Annotated[
    int | None, typer.Option("--ignore", min=0, max=255, metavar="ID", help="The id that counts for nothing.")
]

Classes = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE|N", help="A known class set, a file of names, or a number."),
]
FrameSize = Annotated[
    str | None, typer.Option(metavar="HxW", help="The model's frame size, height x width in pixels.")
]
Mean = Annotated[str | None, typer.Option(metavar="R,G,B", help="Subtracted after --scale.")]
Std = Annotated[str | None, typer.Option(metavar="R,G,B", help="Divided by, after --mean.")]
Scale = Annotated[float | None, typer.Option(help="What a pixel (0 to 255) is multiplied by first.")]
Bgr = Annotated[bool, typer.Option("--bgr", help="The model wants blue first.")]
Family = Annotated[
    str, typer.Option(metavar="NAME", help="How the model is split. With --help, its options are shown too.")
]
