"""Maps and motions on which moving labels may go wrong: rounding, borders, ties."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.runtimes.operations.warp_labels import NAME
from edge_vss.video import Size

Motion = NDArray[np.float32]
HALVES = [k / 16 for k in range(-40, 41)]


def spec(size: Size, grid: Size, maps: int = 1) -> GraphSpec:
    """The operation as a graph that no engine knows."""
    given_ = tuple(TensorSpec(f"key{i}", (1, *size), "uint8") for i in range(maps))
    made = tuple(TensorSpec(f"labels{i}", (1, *size), "uint8") for i in range(maps))
    motion = TensorSpec("motion", (1, 2, *grid), "float32")
    return GraphSpec("state", "", "", (*given_, motion), made, 0.0, operation=NAME)


def labels_of(size: Size, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (1, *size), np.uint8)


def motions(size: Size, grid: Size) -> dict[str, Motion]:
    """What rounding, borders and ties are tried with."""
    rng = np.random.default_rng(1)
    per_px = np.array([grid[1] / size[1], grid[0] / size[0]], np.float32).reshape(1, 2, 1, 1)
    shape = (1, 2, *grid)
    return {
        "none": np.zeros(shape, np.float32),
        "noise": rng.normal(0, 6, shape).astype(np.float32) * per_px,
        "halves": rng.choice(HALVES, shape).astype(np.float32) * per_px,
        "one half": np.full(shape, 0.5, np.float32) * per_px,
        "sixty-fourths": (rng.integers(-640, 640, shape) / 128).astype(np.float32) * per_px,
        "beyond all borders": rng.uniform(-3, 3, shape).astype(np.float32) * max(size),
        "far beyond": rng.choice([-1e6, -3e4, 0, 3e4, 1e6], shape).astype(np.float32),
        "tiny": rng.normal(0, 1e-7, shape).astype(np.float32),
    }


def without_operations(bundle: Path, copy: Path) -> Path:
    """A copy whose manifest names no standard operation."""
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    for graph in manifest["graphs"]:
        graph.pop("operation", None)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy
