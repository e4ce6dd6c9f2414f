"""The speed rows of README for LMANet and TV3S: python -m tests.benchmarks.memory. Networks are untrained:
speed does not depend on weights.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.cli.terminal import say
from edge_vss.runtimes.engines import EngineOptions
from edge_vss.runtimes.engines.onnxruntime import load as compile_onnx
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.tools.benchmark import profile
from tests.benchmarks.arseg import write_clip
from tests.benchmarks.speed import Row, chosen_rows, show

Graph = Callable[[Mapping[str, Any]], Mapping[str, Any]]
TURNS = 7
WINDOWS, TOKENS, CHANNELS, STATES = 18, 400, 512, 16
GROWTH = """
import sys
import numpy as np
from edge_vss.runtimes.timing import peak_rss_mb
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
session, rng = load(sys.argv[1]).session("interval:2"), np.random.default_rng(0)
ground = rng.integers(0, 256, (64, 96, 3), np.uint8)
with open_source((np.roll(ground, i, 1) for i in range(1200)), motion="flow") as source:
    for frame in source:
        session.step(frame)
        if frame.index == 199:
            early = peak_rss_mb()
print(peak_rss_mb() - early)
"""


def main() -> None:
    """Measure every row, or the ones named."""
    rows: dict[str, Callable[[Path], list[Row]]] = {
        "scan": scan,
        "modules": modules,
        "read": read,
        "overhead": overhead,
        "growth": growth,
        "lmanet": partial(skipping, "lmanet", "erf", ("feature", "keys"), (512, 1024)),
        "tv3s": partial(skipping, "tv3s", "mit-b1", ("seen", "feature"), (480, 864)),
    }
    chosen = chosen_rows(rows, "Measures the speed rows of LMANet and TV3S.")
    measured = []
    with tempfile.TemporaryDirectory(prefix="edge-vss-bench-") as folder:
        for name in chosen:
            for row in rows[name](Path(folder)):
                say(f"{row.what}: {row.measured:.2f} {row.unit}; {row.notes}")
                measured.append(row)
    show(measured)


def scan(folder: Path) -> list[Row]:
    """The selective scan of one layer, against a Scan over tokens as the paper lays its state out."""
    from edge_vss.converters.ops.selective_scan import selective_scan

    rng = np.random.default_rng(0)
    shape = (TOKENS, WINDOWS, CHANNELS)
    given = {
        "delta": rng.uniform(0, 0.3, shape),
        "decay": -rng.uniform(1, 16, (STATES, CHANNELS)),
        "drive": rng.normal(size=shape),
        "into": rng.normal(size=(TOKENS, WINDOWS, STATES)),
        "out": rng.normal(size=(TOKENS, WINDOWS, STATES)),
        "state": rng.normal(size=(WINDOWS, STATES, CHANNELS)),
    }
    tensors = {name: value.astype(np.float32) for name, value in given.items()}
    y = TensorSpec("y", shape, "float32")
    ours = exported(folder, "scan", selective_scan, tensors, (y,))
    graph = GraphSpec("naive", "naive.onnx", "", ours[1].inputs, ours[1].outputs, 0.0)
    step_by_step(folder / graph.file, graph)
    naive = compile_onnx(folder / graph.file, graph, EngineOptions(threads=1))
    apart = np.abs(ours[0](tensors)["y"] - naive(tensors)["y"]).max()
    ms, ratio = in_turn({"step by step": naive, "ours": ours[0]}, tensors)
    notes = f"{ms}; largest difference {apart:.1e}; one thread"
    return [Row("selective scan, against a step-by-step Scan", 1 / ratio, "x", 3, False, notes)]


def modules(folder: Path) -> list[Row]:
    """The eight state-space modules of TV3S-B1 in a full frame: ``state`` without what classifying costs."""
    rows = []
    for threads in (1, 2):
        segmenter = load(bundle(folder, "tv3s", "mit-b1", carry="seen"), threads=threads)
        spent = steps(segmenter, TURNS)
        share = statistics.median(
            (state - shown) / (key + state)
            for key, state, shown in zip(spent["key"], spent["state"], spent["nonkey"], strict=True)
        )
        notes = f"{milliseconds(spent)}; threads {threads}; nonkey is warping and classifying"
        rows.append(
            Row(f"TV3S-B1: state-space modules, {threads} threads", 100 * share, "%", 45, True, notes)
        )
    return rows


def read(folder: Path) -> list[Row]:
    """Reading a memory of four slots, in a full frame of LMANet-ERF; one thread."""
    from edge_vss.converters.ops.local_attention import memory_read

    segmenter = load(bundle(folder, "lmanet", "erf"), threads=1)
    rng, grid = np.random.default_rng(0), (64, 128)
    tensors = {
        "query": rng.normal(size=(1, 16, *grid)).astype(np.float32),
        "keys": rng.normal(size=(4, *grid, 16)).astype(np.float32),
        "values": rng.normal(size=(4, *grid, 64)).astype(np.float32),
        "bias": np.zeros(4, np.float32),
    }
    alone, _ = exported(
        folder,
        "read",
        lambda q, k, v, b: memory_read(q, k, v, b, 21),
        tensors,
        (TensorSpec("found", (1, 64, *grid), "float32"),),
    )
    shares, both = [], {"read": [0.0], "key": [0.0]}
    for _ in range(TURNS):
        began = perf_counter()
        alone(tensors)
        both["read"].append(perf_counter() - began)
        both["key"] += steps(segmenter, 1)["key"]
        shares.append(both["read"][-1] / both["key"][-1])
    return [
        Row(
            "LMANet-ERF 512x1024, S=4, R=21: memory read",
            100 * statistics.median(shares),
            "% of a frame",
            30,
            True,
            milliseconds({name: values[1:] for name, values in both.items()}),
        )
    ]


def overhead(folder: Path) -> list[Row]:
    """LMANet-ERF on every frame over ERFNet alone; one thread."""
    import torch

    from edge_vss.converters.conversion import Preprocess
    from edge_vss.converters.networks.lmanet import VARIANTS
    from edge_vss.converters.ops.normalize import Normalize

    variant = VARIANTS["erf"]
    network, prepare = variant.build(20).eval(), Normalize(Preprocess())
    image = np.zeros((1, *variant.size, 3), np.uint8)
    labels = TensorSpec("labels", (1, *variant.size), "uint8")
    with torch.no_grad():
        plain, _ = exported(
            folder,
            "plain",
            lambda x: network(prepare(x)).argmax(1).to(torch.uint8),
            {"image": image},
            (labels,),
        )
    rows = []
    for window in (11, 21, 41):
        segmenter = load(bundle(folder, "lmanet", "erf", window=window), threads=1)
        ratios, spent = [], {"plain": [0.0], "full": [0.0]}
        for _ in range(TURNS):
            began = perf_counter()
            plain({"image": image})
            spent["plain"].append(perf_counter() - began)
            found = steps(segmenter, 1)
            spent["full"].append(found["key"][0] + found["push"][0])
            ratios.append(spent["full"][-1] / spent["plain"][-1])
        notes = milliseconds({name: values[1:] for name, values in spent.items()})
        more = 100 * (statistics.median(ratios) - 1)
        rows.append(Row(f"LMANet-ERF over ERFNet, R={window}", more, "% more", 60, True, notes))
    return rows


def growth(folder: Path) -> list[Row]:
    """What a process takes more after 1,200 frames than after 200."""
    rows = []
    for family, variant in (("lmanet", "erf"), ("tv3s", "mit-b0")):
        path = bundle(folder, family, variant, size=(64, 96))
        done = subprocess.run(
            [sys.executable, "-c", GROWTH, str(path)], capture_output=True, text=True, check=True
        )
        rows.append(
            Row(
                f"{family}: growth over 1,000 frames", float(done.stdout), "MB", 1, True, "peak memory, 64x96"
            )
        )
    return rows


def skipping(
    family: str, variant: str, carries: tuple[str, ...], size: tuple[int, int], folder: Path
) -> list[Row]:
    """fps with the encoder on every k-th frame, over fps with it on every one."""
    clip, rows = write_clip(folder, size=size, frames=24), []
    for place, carry in enumerate(carries):
        segmenter = load(bundle(folder, family, variant, carry=carry))
        for k in (2, 3, 5):
            found = profile(segmenter, clip, f"interval:{k}", sink="none")
            notes = f"{found.fps:.2f} against {found.baseline.fps:.2f} fps"
            target = 1.8 if k == 3 and not place else None
            rows.append(Row(f"{family}, carry {carry}, k={k}", found.speedup, "x", target, False, notes))
    return rows


def steps(segmenter: Any, turns: int) -> dict[str, list[float]]:
    """Seconds of the graphs of full frames (``push`` for lmanet's state) and of the frame after each."""
    manifest, rng = segmenter.manifest, np.random.default_rng(0)
    motion = rng.uniform(-2, 2, (1, 2, *manifest.motion.grid)).astype(np.float32)
    image = rng.integers(0, 255, (1, *manifest.frame_size, 3), np.uint8)
    state, spent = manifest.initial_state(), dict[str, list[float]]()
    for turn in range(turns + 1):
        tensors = {"image": image, "motion": motion, **state}
        for role in (*manifest.routes["key"], "nonkey"):
            if role == "nonkey":
                state = manifest.next_state(tensors)
                tensors = {**tensors, **state}
            began = perf_counter()
            tensors |= segmenter.graphs[role](tensors)
            name = "push" if role == "state" and manifest.family == "lmanet" else role
            if turn:
                spent.setdefault(name, []).append(perf_counter() - began)
    return spent


def exported(
    folder: Path,
    name: str,
    function: Callable[..., Any],
    tensors: Mapping[str, Any],
    outputs: tuple[TensorSpec, ...],
) -> tuple[Graph, GraphSpec]:
    """A function of torch's tensors as a graph of its own, compiled for one thread."""
    import torch

    from edge_vss.converters.targets.onnx import export
    from edge_vss.converters.values import Part

    class Module(torch.nn.Module):
        def forward(self, *given: torch.Tensor) -> Any:
            found = function(*given)
            return found[0] if isinstance(found, tuple) else found

    inputs = tuple(TensorSpec(key, value.shape, value.dtype.name) for key, value in tensors.items())
    with torch.no_grad():
        file = export([Part(name, Module().eval(), inputs, outputs)], folder, {})[0].file
    graph = GraphSpec(name, file, "", inputs, outputs, 0.0)
    return compile_onnx(folder / file, graph, EngineOptions(threads=1)), graph


def step_by_step(path: Path, graph: GraphSpec) -> None:
    """The plain way: a Scan over tokens with the state as published, (windows, channels, states)."""
    import onnx
    from onnx import helper

    def value(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, 1, shape)

    node = helper.make_node
    body = helper.make_graph(
        [
            node("Unsqueeze", ["d", "last"], ["d1"]),
            node("Mul", ["d1", "turned"], ["exponent"]),
            node("Exp", ["exponent"], ["kept"]),
            node("Mul", ["kept", "h"], ["old"]),
            node("Unsqueeze", ["v", "last"], ["v1"]),
            node("Unsqueeze", ["b", "middle"], ["b1"]),
            node("Mul", ["v1", "b1"], ["new"]),
            node("Add", ["old", "new"], ["following"]),
            node("Unsqueeze", ["c", "last"], ["c1"]),
            node("MatMul", ["following", "c1"], ["y1"]),
            node("Squeeze", ["y1", "last"], ["y0"]),
        ],
        "token",
        [
            value("h", (WINDOWS, CHANNELS, STATES)),
            *(value(name, (WINDOWS, CHANNELS)) for name in "dv"),
            *(value(name, (WINDOWS, STATES)) for name in "bc"),
        ],
        [value("following", (WINDOWS, CHANNELS, STATES)), value("y0", (WINDOWS, CHANNELS))],
    )
    model = helper.make_model(
        helper.make_graph(
            [
                node("Transpose", ["decay"], ["turned"], perm=[1, 0]),
                node("Transpose", ["state"], ["h0"], perm=[0, 2, 1]),
                node(
                    "Scan",
                    ["h0", "delta", "drive", "into", "out"],
                    ["end", "y"],
                    body=body,
                    num_scan_inputs=4,
                ),
            ],
            "naive",
            [value(spec.name, spec.shape) for spec in graph.inputs],
            [value(spec.name, spec.shape) for spec in graph.outputs],
            [
                helper.make_tensor("last", 7, [1], [2]),
                helper.make_tensor("middle", 7, [1], [1]),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, str(path))


def in_turn(graphs: Mapping[str, Graph], tensors: Mapping[str, Any]) -> tuple[str, float]:
    """How long each takes, and the median ratio of the last to the first."""
    spent: dict[str, list[float]] = {name: [] for name in graphs}
    for turn in range(TURNS + 1):
        for name, graph in graphs.items():
            began = perf_counter()
            graph(tensors)
            if turn:
                spent[name].append(perf_counter() - began)
    first, *_, last = spent.values()
    ratios = [b / a for a, b in zip(first, last, strict=True)]
    return milliseconds(spent), statistics.median(ratios)


def milliseconds(spent: Mapping[str, list[float]]) -> str:
    return ", ".join(f"{name} {1e3 * statistics.median(values):.1f} ms" for name, values in spent.items())


def bundle(
    folder: Path, family: str, variant: str, size: tuple[int, int] | None = None, **options: Any
) -> Path:
    from edge_vss.converters import verify
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert

    # Numbers are compared elsewhere.
    verify.STEPS_WITH_MEMORY = ("start", "nonkey")
    called = [family, *map(str, (size or ("full",))), *(f"{name}{value}" for name, value in options.items())]
    path = folder / f"{'-'.join(called)}.vss"
    if not path.exists():
        say(f"converting {path.stem}")
        convert(Conversion(None, family=family, size=size, options={"variant": variant, **options}), path)
    return path


if __name__ == "__main__":
    main()
