"""One file per inference engine, each with one function, ``load``; here is what they share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.errors import EngineError

HINTS = ("latency", "throughput")
CACHE_VARIABLE = "EDGE_VSS_CACHE"
"""Environment variable that names the folder for compiled graphs; empty keeps none."""


def cache_folder(engine: str) -> Path | None:
    """Where an engine may keep what it has compiled; None where it may not, or nothing can be written."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "edge-vss"
    named = os.environ.get(CACHE_VARIABLE)
    if named == "":
        return None
    folder = (Path(named) if named else usual) / engine
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a read-only system starts slowly, and runs
        return None
    return folder if os.access(folder, os.W_OK) else None


def check_given(graph: GraphSpec, tensors: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """The graph's inputs in order, each as one block of memory. EngineError for one that is missing or of
    another shape or dtype, for engines that would not notice."""
    given = []
    for spec in graph.inputs:
        if spec.name not in tensors:
            raise EngineError(f"{graph.role}: the tensor {spec.name!r} is not given")
        array = tensors[spec.name]
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise EngineError(
                f"{graph.role}: {spec.name} is {array.dtype} {array.shape}, "
                f"and has to be {spec.dtype} {spec.shape}"
            )
        given.append(np.ascontiguousarray(array))
    return given


def one_line(error: BaseException) -> str:
    """What a library says, short enough for one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:140]} ... {text[-150:]}"
