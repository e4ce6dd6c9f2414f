"""``edge-vss convert``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from edge_vss.cli._contents import contents, show_graphs, show_outputs, show_reading
from edge_vss.cli._family import family_options
from edge_vss.cli._hushed import hushed
from edge_vss.cli._precision import show_precision
from edge_vss.cli._values import classes_of, size_of, three_of
from edge_vss.cli.options import (
    Bgr,
    Debug,
    Factory,
    Family,
    FrameSize,
    Ignore,
    Json,
    Match,
    Mean,
    Scale,
    Std,
)
from edge_vss.cli.terminal import emit, say, writable
from edge_vss.text import without_password


def convert(
    context: typer.Context,
    bundle: Annotated[Path, typer.Option("-o", "--bundle", metavar="BUNDLE", help="The bundle to write.")],
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Exported program, TorchScript, checkpoint, ONNX, OpenVINO or TFLite file, or a folder.",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE|N",
            help="A known class set, a file of names, or a number; OUTPUT=... for one of several outputs.",
            show_default=False,
        ),
    ] = None,
    size: FrameSize = None,
    fit: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How frames of another shape become the network's size: stretch, letterbox or crop.",
        ),
    ] = "stretch",
    factory: Factory = None,
    weights_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which weights, of a checkpoint that holds several sets."),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Which output, of a model that gives several; given again, a label map of each.",
            show_default=False,
        ),
    ] = None,
    matte: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="An output that says how much of a pixel is foreground (0 to 1), kept as 0 to 255.",
            show_default=False,
        ),
    ] = None,
    mean: Mean = None,
    std: Std = None,
    scale: Scale = None,
    bgr: Bgr = None,
    logits: Annotated[bool, typer.Option("--logits", help="Every route gives its scores too.")] = False,
    policy: Annotated[str | None, typer.Option(metavar="NAME", help="The bundle's default policy.")] = None,
    family: Family = "propagate",
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Take no weights: to learn how fast a network is.")
    ] = False,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="The artifacts' format: onnx, openvino or tflite.")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32, fp16 or int8.")] = "fp32",
    calibrate: Annotated[
        Path | None, typer.Option(metavar="VIDEO", help="What int8 is fitted to: a video like your own.")
    ] = None,
    keep_float: Annotated[
        str | None,
        typer.Option(
            "--keep-float",
            metavar="auto|NAME,...",
            help="Layers that int8 leaves alone; auto finds those that cost most.",
        ),
    ] = None,
    ground_truth: Annotated[
        Path | None,
        typer.Option(
            "--ground-truth",
            "--truth",
            metavar="DIR",
            help="Label maps of that video, to record what int8 loses.",
        ),
    ] = None,
    match: Match = "auto",
    ignore: Ignore = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Unpickle a whole module: runs code that the file brings.")
    ] = False,
    preview: Annotated[
        str | None,
        typer.Option(metavar="VIDEO", help="Draw what the bundle makes of a video, into a PNG beside it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that exists.")] = False,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Split a trained model into graphs, check them against it, and write a bundle."""
    if (model is not None and untrained) or (model is None and not untrained and factory is None):
        raise typer.BadParameter(
            "give a model file, --model FILE.py:FACTORY for a network with weights, or --untrained",
            param_hint="MODEL",
        )
    writable(json, made=bundle)
    picture = None if preview is None else _checked_preview(bundle, preview, force)
    from edge_vss.converters.conversion import Conversion

    conversion = Conversion(
        model,
        classes=classes_of(classes or [], output or []),
        size=size_of(size),
        fit=fit,
        factory=factory,
        own_weights=model is None and not untrained,
        weights_key=weights_key,
        output_name=output or None,
        matte=matte or None,
        mean=three_of(mean, "--mean"),
        std=three_of(std, "--std"),
        scale=scale,
        bgr=bgr,
        trust_pickle=trust_pickle,
        family=family,
        options=family_options(context),
        logits=logits,
        policy=policy,
        target=target,
        precision=precision,
        calibrate=calibrate,
        keep_float=tuple(filter(None, (keep_float or "").split(","))),
        ground_truth=ground_truth,
        match=match,
        ignore=ignore,
    )
    with hushed(debug):
        from edge_vss.converters.convert import convert as build

        manifest = build(conversion, bundle, force=force)
    warning = "" if picture is None or preview is None else _drawn_preview(bundle, preview, picture)
    emit(contents(bundle, manifest, preview=picture), json)
    show_reading(manifest)
    show_graphs(bundle, manifest)
    show_outputs(manifest)
    show_precision(manifest)
    if picture is not None:
        say(f"{picture}: what it makes of {without_password(preview)}")
    if warning:
        say(f"warning: {warning}")
    say(f"{bundle}: runs with `edge-vss run {quote(str(bundle))} VIDEO`")


def _checked_preview(bundle: Path, source: str, force: bool) -> Path:
    from edge_vss.runtimes.tools.preview import check, place_of

    place = place_of(bundle)
    check(place, source, force)
    return place


def _drawn_preview(bundle: Path, source: str, place: Path) -> str:
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.tools.preview import preview

    return preview(load(bundle), source, place)
