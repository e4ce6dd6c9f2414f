"""``edge-vss convert``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from edge_vss.cli._contents import contents, show_graphs
from edge_vss.cli._values import size_of, three_of
from edge_vss.cli.options import (
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
    Scale,
    Std,
    Variant,
)
from edge_vss.cli.terminal import emit, say, writable


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
    ground_truth: Annotated[
        Path | None,
        typer.Option(
            "--ground-truth",
            "--truth",
            metavar="DIR",
            help="Label maps of that video, to record what int8 loses.",
        ),
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
    _convert(
        model,
        bundle,
        json=json,
        size=size_of(size),
        classes=classes,
        factory=factory,
        output_name=output,
        mean=three_of(mean, "--mean"),
        std=three_of(std, "--std"),
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
        ground_truth=ground_truth,
        ignore=ignore,
        trust_pickle=trust_pickle,
        force=force,
    )


def _convert(model: Path | None, bundle: Path, json: str | None, **options: Any) -> None:
    writable(json, made=bundle)
    from edge_vss.converters.convert import convert as build

    given = {name: value for name, value in options.items() if value is not None}
    manifest = build(model, bundle, **given)
    emit(contents(bundle, manifest), json)
    show_graphs(bundle, manifest)
    say(f"{bundle}: runs with `edge-vss run {quote(str(bundle))} VIDEO`")
