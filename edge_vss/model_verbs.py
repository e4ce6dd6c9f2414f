"""The verbs of the command line that begin with a trained model: their options, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_vss import describe
from edge_vss.options import (
    Bgr,
    Classes,
    Debug,
    Factory,
    Family,
    FrameSize,
    HighBranch,
    Ignore,
    Json,
    Mean,
    Motion,
    PolicyName,
    Scale,
    Std,
    Threads,
    Variant,
)
from edge_vss.video import Size


def _size(text: str | None) -> Size | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise typer.BadParameter(
            f"{text!r} is not HEIGHTxWIDTH in pixels, such as 360x480", param_hint="--size"
        )
    return int(height), int(width)


def _three(text: str | None, option: str) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is not three numbers with commas, such as 0.485,0.456,0.406"
        raise typer.BadParameter(message, param_hint=option) from None
    return first, second, third


def convert(
    bundle: Annotated[Path, typer.Option("-o", "--bundle", metavar="BUNDLE", help="The bundle to write.")],
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Exported program, TorchScript, state dict, ONNX, OpenVINO or TFLite file.",
            show_default=False,
        ),
    ] = None,
    classes: Classes = None,
    size: FrameSize = None,
    factory: Factory = None,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which output, of a model that gives several.")
    ] = None,
    mean: Mean = None,
    std: Std = None,
    scale: Scale = None,
    bgr: Bgr = False,
    carry: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What moves along: labels or scores; lmanet: feature or keys; tv3s: seen or feature.",
        ),
    ] = None,
    logits: Annotated[bool, typer.Option("--logits", help="Every route gives its scores too.")] = False,
    policy: Annotated[str | None, typer.Option(metavar="NAME", help="The bundle's default policy.")] = None,
    family: Family = "propagate",
    variant: Variant = None,
    hr: HighBranch = None,
    width: Annotated[
        float | None, typer.Option(help="Of an untrained arseg network: multiplies its channels.")
    ] = None,
    memory: Annotated[int | None, typer.Option(metavar="S", help="How many frames lmanet remembers.")] = None,
    window: Annotated[
        int | None, typer.Option(metavar="R", help="Side of lmanet's or tv3s's windows, in positions.")
    ] = None,
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
    truth: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Label maps of that video, to record what int8 loses."),
    ] = None,
    ignore: Ignore = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Unpickle a whole module: runs code that the file brings.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that exists.")] = False,
    json: Json = None,
    debug: Debug = False,
) -> None:
    if (model is None) != untrained:
        raise typer.BadParameter("give a model file, or --untrained without one", param_hint="MODEL")
    options = {"variant": variant, "high": hr, "width": width, "memory": memory, "window": window}
    describe.convert(
        model,
        bundle,
        json=json,
        size=_size(size),
        classes=classes,
        factory=factory,
        output_name=output,
        mean=_three(mean, "--mean"),
        std=_three(std, "--std"),
        scale=scale,
        bgr=bgr,
        carry=carry,
        logits=logits,
        policy=policy,
        family=family,
        options={name: value for name, value in options.items() if value is not None},
        target=target,
        precision=precision,
        calibrate=calibrate,
        truth=truth,
        ignore=ignore,
        trust_pickle=trust_pickle,
        force=force,
    )


def compare(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL|BUNDLE... SOURCE]",
            help="Models or bundles, and a video last; without any, the packaged sample.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="NAMES", help="Of models: fp32, fp16, int8 (fitted to SOURCE).")
    ] = "fp32,int8",
    classes: Classes = None,
    size: FrameSize = None,
    factory: Factory = None,
    mean: Mean = None,
    std: Std = None,
    scale: Scale = None,
    bgr: Bgr = False,
    family: Family = "propagate",
    variant: Variant = None,
    hr: HighBranch = None,
    policy: PolicyName = None,
    motion: Motion = "auto",
    threads: Threads = 0,
    frames: Annotated[int, typer.Option("--frames", min=16, help="How many frames are measured.")] = 96,
    json: Json = None,
    debug: Debug = False,
) -> None:
    special = {name: value for name, value in {"variant": variant, "high": hr}.items() if value is not None}
    from edge_vss.compare import compare as side_by_side

    side_by_side(
        paths or [],
        json,
        precisions=precision,
        policy=policy,
        motion=motion,
        threads=threads,
        frames=frames,
        classes=classes,
        size=_size(size),
        factory=factory,
        mean=_three(mean, "--mean"),
        std=_three(std, "--std"),
        scale=scale,
        bgr=bgr or None,
        family=family,
        options=special or None,
    )
