"""One model as a bundle for every target and precision that this machine can write and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_vss.converters.convert import convert
from edge_vss.converters.sniff import sniff
from edge_vss.errors import EdgeVssError, OptionError
from edge_vss.runtimes.compare import engines_of

WRITERS = {"onnx": ("onnx",), "openvino": ("openvino",), "tflite": ("litert_torch",)}
QUANTISERS = {"onnx": ("onnxruntime",), "openvino": ("nncf",), "tflite": ("ai_edge_quantizer",)}


def every(
    model: Path | None,
    folder: Path,
    precisions: Sequence[str],
    calibrate: Path,
    tell: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> tuple[list[Path], list[str]]:
    """Convert into ``folder``: the bundles, and a line for each that could not be made.

    ``options`` are those of ``convert``; ``calibrate`` is the video that int8 is fitted to. Raises
    ModelError for a file that is no model, OptionError for options that do not fit it, and where nothing
    could be made.
    """
    if model is not None:
        sniff(model)
    made, problems = [], []
    for target, needed in WRITERS.items():
        if not engines_of(target) or not all(find_spec(name) for name in needed):
            problems.append(f"{target}: left out, because {needed[0]} or an engine for it is not installed")
            continue
        for precision in precisions:
            if precision != "fp32" and not all(find_spec(name) for name in QUANTISERS[target]):
                problems.append(f"{target} {precision}: left out, {QUANTISERS[target][0]} is not installed")
                continue
            tell(f"converting for {target}, {precision}")
            path = folder / f"{target}-{precision}.vss"
            video = calibrate if precision == "int8" else None
            try:
                convert(model, path, target=target, precision=precision, calibrate=video, **options)
            except OptionError:
                raise  # what is wrong for one is wrong for all
            except EdgeVssError as error:
                problems.append(f"{target} {precision}: {error}")
                continue
            made.append(path)
    if not made:
        raise OptionError(f"nothing could be converted; {problems[0]}")
    return made, problems
