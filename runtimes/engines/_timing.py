"""What a call of each graph takes on one engine, in a process of its own
(``python -m edge_vss.runtimes.engines._timing JOB LINES``).

Before each try it writes a line that says which, and after it one with the result, so that a crash leaves
what was measured before. The first engine also writes what its graphs were given and gave; the others get the
same, and have to give the same.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss import bundle
from edge_vss.bundle import GraphSpec, Manifest, TensorSpec
from edge_vss.errors import EdgeVssError
from edge_vss.processor import usable_cores
from edge_vss.runtimes.engines import ENGINES, Array, ArrayGraph, EngineOptions, giving_arrays

EACH_SECONDS = 0.15
"""How long one way is measured, after a call that warms up. Slow graphs are called `LEAST` times."""
LEAST, MOST = 2, 30
"""Calls."""
EQUAL = 0.999
"""Share of the labels that has to be equal."""
NEAR = 0.01
"""How far other numbers may be apart, as a share of the largest."""


def main(job: dict[str, Any], lines: Path) -> None:
    """Measure what the job names."""
    path, until = Path(job["bundle"]), perf_counter() + job["seconds"]
    manifest = bundle.read(path)
    engine = ENGINES.find(job["engine"])
    given = Given(Path(job["given"]), manifest)
    skip = {tuple(entry) for entry in job["skip"]}
    providers = [job["provider"]]
    if not job["provider"] and "provider" in engine.description.options:
        providers += engine.description.accelerators()
    with lines.open("a", encoding="utf-8", buffering=1) as file:
        # In the order of the routes: one graph's outputs are the next one's inputs.
        for role in in_order(manifest, job["roles"]):
            for provider in providers:
                for threads in [job["threads"]] if job["threads"] or provider else thread_counts():
                    if (role, threads, provider) in skip or perf_counter() > until:
                        continue
                    entry: dict[str, Any] = {"role": role, "threads": threads, "provider": provider}
                    file.write(json.dumps(entry) + "\n")
                    options = EngineOptions(threads, provider, job["hint"])
                    graph = manifest.graph(role)
                    try:
                        call = giving_arrays(engine.call(path / graph.file, graph, options))
                        entry["result"] = timed(given, graph, call)
                    except EdgeVssError as error:
                        entry["result"] = str(error)
                    file.write(json.dumps(entry) + "\n")


def thread_counts() -> list[int]:
    """What is tried where the user leaves it open: the engine's own number, one, and half of the cores."""
    cores = usable_cores() or 1
    return [0] + [1] * (cores > 1) + [cores // 2] * (cores >= 4)


def in_order(manifest: Manifest, roles: list[str]) -> list[str]:
    """The roles as the routes call them, each once."""
    called = [role for route in manifest.routes.values() for role in route]
    return [role for role in dict.fromkeys([*called, *roles]) if role in roles]


def timed(given: Given, graph: GraphSpec, call: ArrayGraph) -> float | str:
    """Milliseconds of a call, or in which way its outputs are not those of the first engine."""
    inputs = given.inputs(graph)
    outputs = call(inputs)
    if problem := given.compare(graph, outputs):
        return problem
    spent: list[float] = []
    while len(spent) < LEAST or (sum(spent) < EACH_SECONDS and len(spent) < MOST):
        began = perf_counter()
        call(inputs)
        spent.append(perf_counter() - began)
    return 1e3 * statistics.median(spent)


class Given:
    """What every engine's graphs are given, and what the first engine's gave: one file per tensor."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._manifest = folder, manifest

    def inputs(self, graph: GraphSpec) -> dict[str, Array]:
        """Tensors by name: what an earlier graph gave, or made up."""
        found = {}
        for spec in graph.inputs:
            file = self._file(spec.name)
            found[spec.name] = np.load(file) if file.exists() else self._made_up(spec)
        return found

    def compare(self, graph: GraphSpec, outputs: dict[str, Array]) -> str:
        """How the outputs differ from the first engine's, in some words; empty where they agree. The first
        engine's are kept."""
        heads = {head.tensor: head for head in self._manifest.maps}
        done = self._file(f"{graph.role} done")
        for name, found in outputs.items():
            if found.dtype.kind == "f" and not np.isfinite(found).all():
                return f"gives NaN or infinity in {name}"
            # One tensor may be given by several graphs: each has a file of its own.
            file = self._file(f"{graph.role} {name}")
            if not done.exists():
                continue
            expected = np.load(file)
            if found.dtype.kind == "f":
                # A sum of many values is no measure.
                bound = NEAR * max(float(np.abs(expected).max()), 1e-6)
                if name != "score_check" and float(np.abs(found - expected).max()) > bound:
                    return f"gives other numbers in {name}"
                continue
            same = heads[name].same(found, expected) if name in heads else found == expected
            if (share := float(np.mean(same))) < EQUAL:
                return f"gives other labels in {name}: {share:.2%} are equal"
        if not done.exists():
            for name, found in outputs.items():
                np.save(self._file(f"{graph.role} {name}"), found)
                np.save(self._file(name), found)
            np.save(done, np.zeros(1))
        return ""

    def _file(self, name: str) -> Path:
        # A tensor's name may hold what no file name can, and be longer.
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()}.npy"

    def _made_up(self, spec: TensorSpec) -> Array:
        rng = np.random.default_rng(0)
        if spec.name == "image":
            return _picture(spec.shape, rng)
        if spec.name == "motion":
            return rng.uniform(-1, 1, spec.shape).astype(np.float32)
        initial = {state.name: state.initial for state in self._manifest.state}
        return np.full(spec.shape, initial.get(spec.name, 0.0), spec.dtype)


def _picture(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blobs of colour, (1, H, W, 3): in noise, classes would be near ties."""
    import cv2

    small = rng.integers(0, 256, (max(2, shape[1] // 40), max(2, shape[2] // 40), 3), np.uint8)
    return np.asarray(cv2.resize(small, (shape[2], shape[1]), interpolation=cv2.INTER_LINEAR)[None], np.uint8)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
