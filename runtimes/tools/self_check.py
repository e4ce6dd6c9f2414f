"""Is a bundle whole? What a device can tell by itself: hashes, contracts, graphs that load and run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.errors import BundleError, EngineError
from edge_vss.runtimes.engines import giving_arrays
from edge_vss.runtimes.segmenter import Segmenter, load

STEPS = ("start", "nonkey", "nonkey", "key", "nonkey")


def check(path: str | Path, engine: str | None = None) -> dict[str, Any]:
    """Read a bundle, compile its graphs, and run them over ``STEPS`` on pictures of noise.

    Gives ``hashes`` and, per role, ``graphs`` (``ok``), ``contract`` (``ok``, or why it was not looked at),
    ``labels`` (the ids seen) and the recorded ``parity``. Raises BundleError, MissingExtra or EngineError for
    the first thing that is wrong.
    """
    path = Path(path)
    segmenter = load(path, engine)
    manifest = segmenter.manifest
    return {
        "bundle": str(path),
        "hashes": "ok",
        "graphs": dict.fromkeys(segmenter.graphs, "ok"),
        "contract": _contracts(path, manifest),
        "labels": _run(segmenter),
        "parity": manifest.parity,
        "measured": False,
    }


def _run(segmenter: Segmenter) -> list[int]:
    manifest, seen = segmenter.manifest, set[int]()
    state = manifest.initial_state()
    for step, route in enumerate(STEPS):
        tensors: dict[str, NDArray[Any]] = {**_inputs(manifest, step), **state}
        for role in manifest.routes.get(route, manifest.routes["start"]):
            tensors |= giving_arrays(segmenter.graphs[role])(tensors)
        if "score_check" in tensors and not np.isfinite(tensors["score_check"]).all():
            raise EngineError(f"the {route} route gives NaN or infinite scores: convert the model again")
        seen |= {int(label) for label in np.unique(tensors["labels"])}
        state = manifest.next_state(tensors)
    known = {*range(len(manifest.classes)), manifest.ignore}
    if wrong := sorted(seen - known):
        raise EngineError(
            f"the graphs give the label {wrong[0]}, and the bundle has {len(manifest.classes)} classes"
        )
    return sorted(seen)


def _inputs(manifest: Manifest, step: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(step)
    height, width = manifest.frame_size
    coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
    given: dict[str, NDArray[Any]] = {
        "image": cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)[None]
    }
    if manifest.motion is not None:
        given["motion"] = rng.uniform(-2, 2, (1, 2, *manifest.motion.grid)).astype(np.float32)
    return given


def _contracts(path: Path, manifest: Manifest) -> str:
    if manifest.target not in _HELD:
        return f"not looked at in {manifest.target} files"
    if find_spec(manifest.target) is None:
        return f"not looked at: {manifest.target} is not installed"
    for graph in manifest.graphs:
        _contract(path / graph.file, manifest, graph, _HELD[manifest.target](path / graph.file))
    return "ok"


def _in_onnx(file: Path) -> str | None:
    import onnx

    model = onnx.load(str(file), load_external_data=False)
    held: dict[str, str] = {entry.key: entry.value for entry in model.metadata_props}
    return held.get("edge_vss")


def _in_openvino(file: Path) -> str | None:
    import openvino as ov

    model = ov.Core().read_model(str(file))
    return str(model.get_rt_info(["edge_vss"]).astype(str)) if model.has_rt_info(["edge_vss"]) else None


_HELD = {"onnx": _in_onnx, "openvino": _in_openvino}
"""Target → how the contract is read that an artifact carries."""


def _contract(file: Path, manifest: Manifest, graph: GraphSpec, held: str | None) -> None:
    try:
        contract = json.loads(held or "null")
    except (ValueError, RecursionError):
        contract = None
    if not isinstance(contract, dict) or contract.get("role") != graph.role:
        raise BundleError(f"{file} carries no contract for {graph.role}: convert the model again")
    ours = {"frame_size": manifest.frame_size, "classes": manifest.classes, "routes": manifest.routes}
    for key, value in json.loads(json.dumps(ours)).items():
        if contract.get(key) != value:
            raise BundleError(f"{file} and the manifest differ in {key}: convert the model again")
