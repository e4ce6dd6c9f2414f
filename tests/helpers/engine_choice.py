"""The engines under test, their bundles, and calls of their graphs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.claim import Claim
from edge_vss.runtimes.engines import ENGINES as KINDS
from edge_vss.runtimes.engines import EngineOptions, giving_arrays
from tests.helpers.engine_bundles import make

THEIRS = dict(entry.split(":") for entry in os.environ.get("EDGE_VSS_ENGINES", "").split())
"""A third party's engines under test, as NAME:TARGET."""
ENGINES = ["numpy", "onnxruntime", "openvino", "openvino on onnx", "tflite", *THEIRS]
TARGET = {"numpy": "onnx", "onnxruntime": "onnx", "openvino on onnx": "onnx", **THEIRS}
"""Engine → the target that it runs, where that is not its own."""
NEEDS = {"numpy": ("onnx",), "tflite": ("ai_edge_litert", "tflite_runtime")}

Made = Callable[..., Path]


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Of several processes, one at a time in the block."""
    while True:
        try:
            claim = Claim(lock)
            break
        except BlockingIOError:
            time.sleep(0.2)
    try:
        yield
    finally:
        claim.release()


def finder(made_in: Path) -> Made:
    """Engine (of ENGINES) and network → its bundle, made in a folder. Skips where the engine is not
    installed. EDGE_VSS_BUNDLES names a folder with bundles that were made elsewhere."""
    given = os.environ.get("EDGE_VSS_BUNDLES")
    folder = Path(given) if given else made_in

    def find(engine: str, network: str = "labels") -> Path:
        name = engine.partition(" ")[0]
        if name not in THEIRS and not any(find_spec(module) for module in NEEDS.get(name, (name,))):
            pytest.skip(f"{name} is not installed")
        target = TARGET.get(engine, engine)
        if not given:
            pytest.importorskip("torch", reason="the converter's half is not installed")
        if target == "tflite" and not given and find_spec("litert_torch") is None:
            pytest.skip("litert-torch is not installed: nothing writes TFLite")

        with only_one(folder / f"{network}.lock"):
            return make(folder, network, target)

    return find


def compiled(engine: str, folder: Path, graph: GraphSpec, **options: Any) -> Any:
    load = KINDS.find(engine.partition(" ")[0]).call
    return giving_arrays(load(folder / graph.file, graph, EngineOptions(**options)))


def inputs(manifest: Manifest) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    assert manifest.motion is not None
    given = {"image": rng.integers(0, 256, (1, *manifest.frame_size, 3), np.uint8)}
    given["motion"] = rng.uniform(-2, 2, (1, 2, *manifest.motion.grid)).astype(np.float32)
    for state in manifest.state:
        high = 3 if state.dtype == "uint8" else 2
        given[state.name] = rng.integers(0, high, state.shape).astype(state.dtype)
    return given
