"""Is a bundle whole? What a device can tell by itself: hashes, contracts, graphs that load and run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.errors import BundleError, EngineError
from edge_vss.report import Report
from edge_vss.runtimes.engines import ENGINES, giving_arrays
from edge_vss.runtimes.segmenter import Segmenter, load

STEPS = ("start", "nonkey", "nonkey", "key", "nonkey")
OK = "ok"


@dataclass(frozen=True)
class CheckReport(Report):
    """What was found good in a bundle."""

    bundle: str

    hashes: str
    """``ok``."""

    graphs: dict[str, str]
    """Role of every graph → ``ok``: it compiles and runs."""

    contract: str
    """``ok`` where the contract in every artifact is the manifest's, or why that was not looked at."""

    labels: tuple[int, ...]
    """The ids that the graphs gave; of several heads, in the first."""

    parity: Mapping[str, Any]
    """How near the graphs' numbers are to the trained model's."""

    measured: bool
    """True where ``parity`` was measured now, False where it is what the manifest records."""


def check(path: str | Path, engine: str | None = None) -> CheckReport:
    """Read a bundle, compile its graphs, and run them over ``STEPS`` on pictures of noise.

    Raises BundleError, MissingExtra or EngineError for the first thing that is wrong.
    """
    path = Path(path)
    segmenter = load(path, engine)
    manifest = segmenter.manifest
    return CheckReport(
        bundle=str(path),
        hashes=OK,
        graphs=dict.fromkeys(segmenter.graphs, OK),
        contract=_contracts(path, manifest),
        labels=tuple(_run(segmenter)),
        parity=manifest.parity,
        measured=False,
    )


def _run(segmenter: Segmenter) -> list[int]:
    manifest, seen = segmenter.manifest, dict[str, set[int]]()
    state = manifest.initial_state()
    for step, route in enumerate(STEPS):
        tensors: dict[str, NDArray[Any]] = {**_inputs(manifest, step), **state}
        for role in manifest.routes.get(route, manifest.routes["start"]):
            tensors |= giving_arrays(segmenter.graphs[role])(tensors)
        if "score_check" in tensors and not np.isfinite(tensors["score_check"]).all():
            raise EngineError(f"the {route} route gives NaN or infinite scores: convert the model again")
        for head in manifest.maps:
            seen.setdefault(head.tensor, set()).update(np.unique(tensors[head.tensor]).tolist())
        state = manifest.next_state(tensors)
    for head in manifest.maps:
        known = {*range(len(head.classes)), head.ignore}
        if not head.is_matte and (wrong := sorted(seen[head.tensor] - known)):
            raise EngineError(
                f"the graphs give the label {wrong[0]} in {head.tensor}, and the bundle has "
                f"{len(head.classes)} classes"
            )
    return sorted(seen["labels"])


def _inputs(manifest: Manifest, step: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(step)
    height, width = manifest.frame_size
    coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
    inputs: dict[str, NDArray[Any]] = {
        "image": cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)[None]
    }
    if manifest.motion is not None:
        inputs["motion"] = rng.uniform(-2, 2, (1, 2, *manifest.motion.grid)).astype(np.float32)
    return inputs


def _contracts(path: Path, manifest: Manifest) -> str:
    readers = [
        plugin.description
        for plugin in ENGINES.all()
        if plugin.description.contract is not None and plugin.description.targets[0] == manifest.target
    ]
    if not readers:
        return f"not looked at in {manifest.target} files"
    reader = next((description for description in readers if description.installed), None)
    if reader is None or reader.contract is None:
        return f"not looked at: {readers[0].packages[0]} is not installed"
    for graph in manifest.graphs:
        _contract(path / graph.file, manifest, graph, reader.contract(path / graph.file))
    return OK


def _contract(file: Path, manifest: Manifest, graph: GraphSpec, held: str | None) -> None:
    try:
        contract = json.loads(held or "null")
    except (ValueError, RecursionError):
        contract = None
    if not isinstance(contract, dict) or contract.get("role") != graph.role:
        raise BundleError(f"{file} carries no contract for {graph.role}: convert the model again")
    everything = manifest.to_json()
    ours = {key: everything.get(key) for key in ("frame_size", "classes", "routes", "heads")}
    for key, value in json.loads(json.dumps(ours)).items():
        if contract.get(key) != value:
            raise BundleError(f"{file} and the manifest differ in {key}: convert the model again")
