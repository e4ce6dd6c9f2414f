"""Options and arguments that several verbs of the command line share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge_vss.runtimes.opening import Opening
    from edge_vss.runtimes.segmenter import Segmenter

Bundle = Annotated[Path, typer.Argument(help="A bundle that convert wrote (NAME.vss).", show_default=False)]
Factory = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE.py:FACTORY",
        help="What builds a state dict's network, or gives a trained one: net.py:build, net.py:Net(p=2).",
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        help="A video file, stream URL, camera (or its number), image folder, or - for standard input.",
        show_default=False,
    ),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="A video file, stream URL, camera (or its number), image folder, or - for standard input. "
        "Several share the network.",
        show_default=False,
    ),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write the result as JSON; - is standard output."),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write the result as a page with plots, one file by itself."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
PolicyName = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="NAME",
        help="interval:N, gop[:N], adaptive[:LIMIT[:N]] or continuous; without it the bundle's own, and "
        "continuous for several streams or a budget.",
    ),
]
Motion = Annotated[
    str,
    typer.Option(
        "--motion", metavar="NAME", help="Where motion comes from: auto, codec, hevc, flow or none."
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="Inference engine; auto, the usual, takes the quickest.",
    ),
]
Provider = Annotated[
    str,
    typer.Option(
        "--provider", metavar="NAME", help="What the engine computes on: cpu, cuda, tensorrt, gpu, npu, auto."
    ),
]
Hint = Annotated[
    str, typer.Option("--hint", metavar="NAME", help="What the engine is tuned for: latency or throughput.")
]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Threads of the engine; 0 lets it choose.")]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", help="The longest silence of a stream that is waited for."),
]
Reconnect = Annotated[
    float,
    typer.Option(
        "--reconnect", min=0, metavar="SECONDS", help="Try a live stream that has ended again for so long."
    ),
]
Ffmpeg = Annotated[
    list[str] | None,
    typer.Option(
        "--ffmpeg",
        metavar="KEY=VALUE",
        help="An option for FFmpeg, such as rtsp_transport=tcp; may be given again.",
        show_default=False,
    ),
]
Stream = Annotated[
    int | None,
    typer.Option(
        "--stream", min=0, metavar="N", help="Read this stream of a file with several; without it, the best."
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Stop after N frames.")]
_GROUND_TRUTH = typer.Option(
    "--ground-truth",
    "--truth",
    metavar="DIR",
    help="Label maps to compare with: a folder of PNG files of class ids, a pattern, or a .mkv of `label`.",
)
Match = Annotated[
    str,
    typer.Option(
        "--match",
        metavar="HOW",
        help="How label maps and frames are matched: auto, name, number, order, or number:1 where the first "
        "frame has the number 1.",
    ),
]
GroundTruthFolder = Annotated[Path, _GROUND_TRUTH]
GroundTruthIfAny = Annotated[Path | None, _GROUND_TRUTH]
Ignore = Annotated[
    int | None, typer.Option("--ignore", min=0, max=255, metavar="ID", help="The id that counts for nothing.")
]

BothWays = Annotated[
    bool,
    typer.Option(
        "--both-ways", help="Labels from the key frames on both sides: better, and one interval late."
    ),
]

Background = Annotated[
    bool,
    typer.Option("--background", help="Compute key frames meanwhile: no frame waits for the network."),
]
KeyDelay = Annotated[
    int,
    typer.Option(
        "--key-delay", min=0, metavar="N", help="Each key frame's labels come exactly N frames late."
    ),
]

Classes = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE|N", help="A known class set, a file of names, or a number."),
]
FrameSize = Annotated[
    str | None, typer.Option(metavar="HxW", help="The model's frame size, height x width in pixels.")
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="Subtracted after --scale. In the order of the network's channels: with --bgr, blue first.",
    ),
]
Std = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Divided by, after --mean, in the same order.")
]
Scale = Annotated[float | None, typer.Option(help="What a pixel (0 to 255) is multiplied by first.")]
Bgr = Annotated[
    bool | None, typer.Option("--bgr/--rgb", help="The model wants blue first, or red.", show_default=False)
]
Family = Annotated[
    str, typer.Option(metavar="NAME", help="How the model is split. With --help, its options are shown too.")
]


@dataclass(frozen=True)
class EngineChoice:
    """What ``--engine``, ``--threads``, ``--provider`` and ``--hint`` say together."""

    engine: str | None
    threads: int
    provider: str
    hint: str

    def load(self, bundle: Path) -> Segmenter:
        """The bundle with its graphs compiled. Raises what `edge_vss.load` raises."""
        from edge_vss.runtimes.segmenter import load

        return load(bundle, self.engine, self.threads, self.provider, self.hint)

    def load_quietly(self, bundle: Path, debug: bool) -> Segmenter:
        """The same without what an engine reports, but with ``debug``. For a program whose other threads
        print nothing meanwhile."""
        from edge_vss.bundle import read
        from edge_vss.cli._hushed import without_reports

        with without_reports(read(bundle).target, debug):
            return self.load(bundle)


def opening(
    *,
    motion: str = "auto",
    timeout: float,
    reconnect: float,
    ffmpeg: Sequence[str] | None,
    live: bool | None = None,
    stream: int | None = None,
    pictures: str = "all",
    parts: bool = False,
) -> Opening:
    """What ``--motion``, ``--timeout``, ``--reconnect``, ``--ffmpeg``, ``--stream``, ``--pictures`` say."""
    pairs = dict(pair_of(text, "--ffmpeg", "rtsp_transport=tcp") for text in ffmpeg or ())
    from edge_vss.runtimes.opening import Opening

    return Opening(motion, live, timeout, reconnect, pairs, stream, pictures, parts)


def pair_of(text: str, option: str, example: str) -> tuple[str, str]:
    """The two sides of ``NAME=VALUE``. Bad usage where there are none."""
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise typer.BadParameter(f"{text!r} is not like {example}", param_hint=option)
    return name, value
