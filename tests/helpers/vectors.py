"""Makes the vectors by which another reader of bundles checks itself: ``python -m tests.helpers.vectors``.

The same bytes every time: the weights are fractions of 64, so that what is added up is exact in any order.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss import bundle
from edge_vss.bundle import GraphSpec, Manifest, MotionSpec, StateSpec, TensorSpec
from edge_vss.files import sha256
from edge_vss.runtimes.operations.warp_labels import defined
from tests.helpers.reader import Reader, grid_of, rollout
from tests.helpers.warps import labels_of
from tests.helpers.warps import motions as tried_motions

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "vectors"
SIZE = (32, 48)
STRIDE = 4
GRID = (SIZE[0] // STRIDE, SIZE[1] // STRIDE)
ROUTES = ("start", "nonkey", "nonkey", "nonkey", "key", "nonkey", "nonkey", "start", "nonkey", "nonkey")
BUNDLES = {
    "grid": MotionSpec(GRID, trace="grid"),
    "exact": MotionSpec(GRID, trace="exact", sampling="corners"),
}
STORED = {"uint8": "|u1", "float32": "<f4"}


def make(folder: Path) -> None:
    """Write all of it into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    images, displacements = pictures(), motions()
    arrays: dict[str, Any] = {"image": images, "displacement": displacements}
    for name, motion in BUNDLES.items():
        path = folder / f"{name}.vss"
        with bundle.building(path) as building:
            write_bundle(building, motion)
        manifest = json.loads((path / "manifest.json").read_text())
        found = rollout(Reader(manifest, graphs(path)), ROUTES, images, displacements)
        arrays |= {f"{name}/{key}": array for key, array in found.items()}
    arrays |= operation()
    about = {
        "routes": ROUTES,
        "arrays": {
            name: {"file": f"{name}.bin", "dtype": STORED[str(array.dtype)], "shape": array.shape}
            for name, array in arrays.items()
        },
    }
    for name, array in arrays.items():
        file = folder / f"{name}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(array.astype(STORED[str(array.dtype)]).tobytes())
    (folder / "vectors.json").write_text(json.dumps(about, indent=1) + "\n")


def operation() -> dict[str, NDArray[Any]]:
    """Maps and motions for ``warp-labels@1``, and what comes of them: rounding, borders and ties."""
    size, grid = (35, 61), (5, 8)
    labels, tried = labels_of(size), np.concatenate(list(tried_motions(size, grid).values()))
    moved = np.stack([defined(labels[0], motion) for motion in tried])
    return {"warp_labels/labels": labels, "warp_labels/motion": tried, "warp_labels/moved": moved}


def load(folder: Path = FOLDER) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """The routes, and the arrays by name."""
    about = json.loads((folder / "vectors.json").read_text())
    return about["routes"], {
        name: np.frombuffer((folder / entry["file"]).read_bytes(), entry["dtype"])
        .reshape(entry["shape"])
        .copy()
        for name, entry in about["arrays"].items()
    }


def graphs(path: Path) -> dict[str, Any]:
    """The bundle's graphs on ONNX's reference evaluator, each a function of tensors by name."""
    from edge_vss.runtimes.engines.numpy import load as compile_graph

    return {graph.role: compile_graph(path / graph.file, graph) for graph in bundle.read(path).graphs}


def pictures() -> NDArray[np.uint8]:
    """(steps, H, W, 3): three soft stripes that move to the right, a little further every frame."""
    y, x = np.indices(SIZE)
    moved = [3 * index for index in range(len(ROUTES))]
    waves = [
        np.stack(
            [
                np.abs((x - left + turn * y // 2 + 16 * colour) % 48 - 24) * 10
                for colour, turn in enumerate((0, 1, 2))
            ],
            -1,
        )
        for left in moved
    ]
    return np.stack(waves).astype(np.uint8)


def motions() -> NDArray[np.float32]:
    """(steps, 2, h, w): towards the frame before, in frame pixels; parts of pixels, and out of the frame."""
    rng = np.random.default_rng(20)
    shape = (len(ROUTES), 2, *grid_of(SIZE))
    towards = np.array([-3.0, 0.0])[:, None, None]
    found: NDArray[np.float32] = (towards + rng.integers(-160, 161, shape) / 64).astype(np.float32)
    return found


def write_bundle(folder: Path, motion: MotionSpec) -> None:
    """A network with three classes that carries its scores along, and remembers all that it has seen."""
    image = TensorSpec("image", (1, *SIZE, 3), "uint8")
    labels = TensorSpec("labels", (1, *SIZE), "uint8")
    scores = TensorSpec("scores", (1, 3, *GRID), "float32")
    seen, seen_next = replace(scores, name="seen"), replace(scores, name="seen_next")
    moved = TensorSpec("motion", (1, 2, *GRID), "float32")
    check = TensorSpec("score_check", (1,), "float32")
    specs = {
        "key": ((image, seen), (labels, scores, seen_next, check)),
        "state": ((scores, moved, seen), (labels, seen_next)),
    }
    entries = []
    for role, (inputs, outputs) in specs.items():
        (folder / f"{role}.onnx").write_bytes(model(role, inputs, outputs))
        digest = sha256(folder / f"{role}.onnx")
        entries.append(GraphSpec(role, f"{role}.onnx", digest, inputs, outputs, 0.0))
    manifest = Manifest(
        family="vectors",
        options={},
        target="onnx",
        source={"name": "vectors", "sha256": ""},
        frame_size=SIZE,
        classes=("one", "two", "three"),
        palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)),
        ignore=255,
        graphs=tuple(entries),
        state=(
            StateSpec("scores", scores.shape, "float32"),
            StateSpec("seen", seen.shape, "float32", -1.5, "seen_next"),
        ),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("state",)},
        policy="interval:4",
        motion=motion,
    )
    bundle.write(folder, manifest)


def model(role: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> bytes:
    """The ONNX file of one graph."""
    from onnx import helper, numpy_helper
    from onnx.helper import make_node

    y, x = np.indices(GRID, dtype=np.float32)
    constants: dict[str, NDArray[Any]] = {
        # scores: 1x1 convolution over means of STRIDE x STRIDE pixels
        "weights": np.array([[3, -1, 0], [-1, 2, 1], [1, 1, -2]], np.float32).reshape(3, 3, 1, 1) / 64,
        "bias": np.array([-1.5, 0.25, 2], np.float32),
        "half": np.array(0.5, np.float32),
        "here": np.stack([x, y])[None],
        "twice": np.array([2 / GRID[1], 2 / GRID[0]], np.float32).reshape(1, 2, 1, 1),
        "edge": np.array([1 / GRID[1] - 1, 1 / GRID[0] - 1], np.float32).reshape(1, 2, 1, 1),
        "one": np.array([1], np.int64),
        "scales": np.array([1, STRIDE, STRIDE], np.float32),
        "none": np.array([], np.float32),
    }
    if role == "key":
        first = [
            make_node("Cast", ["image"], ["pixels"], to=1),
            make_node("Transpose", ["pixels"], ["channels"], perm=[0, 3, 1, 2]),
            make_node(
                "AveragePool", ["channels"], ["means"], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2
            ),
            make_node("Conv", ["means", "weights", "bias"], ["scores"]),
            make_node("ReduceSum", ["scores"], ["sum"], keepdims=0),
            make_node("Reshape", ["sum", "one"], ["score_check"]),
        ]
    else:
        first = [
            make_node("Add", ["here", "motion"], ["there"]),
            make_node("Mul", ["there", "twice"], ["wide"]),
            make_node("Add", ["wide", "edge"], ["from_centre"]),
            make_node("Transpose", ["from_centre"], ["sampling"], perm=[0, 2, 3, 1]),
            make_node("GridSample", ["scores", "sampling"], ["found"], mode="linear", padding_mode="border"),
        ]
    now = "scores" if role == "key" else "found"
    nodes = [
        *first,
        make_node("Add", [now, "seen"], ["both"]),
        make_node("Mul", ["both", "half"], ["seen_next"]),
        make_node("Add", [now, "seen_next"], ["votes"]),
        make_node("ArgMax", ["votes"], ["best"], axis=1, keepdims=0),
        make_node("Cast", ["best"], ["small"], to=1),
        make_node(
            "Resize",
            ["small", "none", "scales"],
            ["large"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        make_node("Cast", ["large"], ["labels"], to=2),
    ]
    wanted = {name for node in nodes for name in node.input}
    kinds = {"float32": 1, "uint8": 2}
    taken, given = (
        [helper.make_tensor_value_info(spec.name, kinds[spec.dtype], spec.shape) for spec in specs]
        for specs in (inputs, outputs)
    )
    held = [numpy_helper.from_array(array, name) for name, array in constants.items() if name in wanted]
    graph = helper.make_graph(nodes, role, taken, given, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
