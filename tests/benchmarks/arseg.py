"""AR-Seg's rows of speed: python -m tests.benchmarks.arseg. Networks are untrained: speed does not
depend on weights. The largest takes minutes, and is measured only when named.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import av
import numpy as np

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.cli.terminal import say
from edge_vss.runtimes.engines import EngineOptions
from edge_vss.runtimes.engines.onnxruntime import load as compile_onnx
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.benchmark import profile
from edge_vss.runtimes.tracing.root_map import Tracer
from tests.benchmarks.speed import Row, show

GOP = 12
MEASURE = """
import sys
import numpy as np
import onnxruntime
from pathlib import Path
from edge_vss.bundle import read
from edge_vss.runtimes.timing import peak_rss_mb
from edge_vss.runtimes.engines.onnxruntime import load
empty = peak_rss_mb()
folder, roles = Path(sys.argv[1]), sys.argv[2].split(",")
manifest = read(folder)
graphs = {role: load(folder / manifest.graph(role).file, manifest.graph(role)) for role in roles}
rng = np.random.default_rng(0)
tensors = {"image": rng.integers(0, 255, (1, *manifest.frame_size, 3), np.uint8)}
tensors["motion"] = rng.uniform(-3, 3, (1, 2, *manifest.motion.grid)).astype(np.float32)
tensors |= {state.name: np.zeros(state.shape, state.dtype) for state in manifest.state}
for role in (*roles, *manifest.routes["nonkey"]):
    tensors |= graphs[role](tensors)
print(peak_rss_mb() - empty)
"""


def main() -> None:
    """Measure every row, or the ones named."""
    rows: dict[str, Callable[[Path], Row]] = {
        "speed": speed,
        "fusion": fusion,
        "trace": trace,
        "memory": partial(memory, "camvid-bise18", ("key", "state", "nonkey"), 600),
        "strips": partial(memory, "camvid-psp18", ("nonkey",), 1200),
    }
    parser = argparse.ArgumentParser(description="Measures the speed rows of AR-Seg.")
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(rows)}; all but strips without one"
    )
    args = parser.parse_args()
    if unknown := set(args.rows) - set(rows):
        parser.error(f"no row is called {', '.join(unknown)}: choose from {', '.join(rows)}")
    measured = []
    with tempfile.TemporaryDirectory(prefix="edge-vss-bench-") as folder:
        for name in args.rows or [row for row in rows if row != "strips"]:
            row = rows[name](Path(folder))
            say(f"{row.what}: {row.notes}")
            measured.append(row)
    show(measured)


def speed(folder: Path) -> Row:
    """End to end, key frames every 12, against the key graph on every frame."""
    clip = write_clip(folder)
    found = profile(load(bundle(folder, "camvid-bise18")), clip, f"interval:{GOP}", sink="none")
    stages = ", ".join(
        f"{name} {found.stages[name].p50:.1f}" for name in ("decode", "key", "state", "nonkey")
    )
    notes = f"{found.fps:.2f} against {found.baseline.fps:.2f} fps; p50 in ms: {stages}"
    return Row(
        "bise18 720x960, key every 12: speed-up over key only",
        found.speedup,
        "x",
        2.5,
        False,
        notes,
    )


def fusion(folder: Path) -> Row:
    """What warping and fusing add to the low branch alone, as a share of a non-key step; one thread."""
    segmenter = load(bundle(folder, "camvid-bise18"), threads=1)
    alone = low_alone(folder, segmenter)
    tensors = inputs(segmenter)
    tensors |= segmenter.graphs["key"](tensors)
    spent: dict[str, list[float]] = {"state": [], "nonkey": [], "alone": []}
    for _ in range(9):
        for name, graph in (
            *((role, segmenter.graphs[role]) for role in ("state", "nonkey")),
            ("alone", alone),
        ):
            began = perf_counter()
            tensors |= graph(tensors)
            spent[name].append(perf_counter() - began)
    shares = [1 - low / (state + step) for state, step, low in zip(*spent.values(), strict=True)]
    typical = {name: 1e3 * statistics.median(seconds) for name, seconds in spent.items()}
    notes = ", ".join(f"{name} {ms:.0f} ms" for name, ms in typical.items())
    return Row(
        "bise18: CReFF and warp, share of a non-key step",
        100 * statistics.median(shares),
        "%",
        18,
        True,
        notes,
    )


def trace(folder: Path) -> Row:
    """Trace-back at the points of a 1/8 grid, mean over the distances of a GOP, against decoding."""
    clip = write_clip(folder, size=(720, 1280), frames=48)
    with open_source(clip, motion="codec") as source:
        frames = list(source)
    tracer, ratios = Tracer("exact"), []
    for _ in range(7):
        spent = 0.0
        for frame in frames:
            if frame.index % GOP == 0:
                tracer.anchor(frame)
                continue
            began = perf_counter()
            tracer.follow(frame)
            tracer.root((90, 160), "corners")
            spent += perf_counter() - began
        began = perf_counter()
        with av.open(str(clip)) as container:
            count = sum(1 for _ in container.decode(video=0))
        ratios.append((spent / count) / ((perf_counter() - began) / count))
    notes = f"{1e3 * spent / len(frames):.2f} ms a frame"
    return Row("trace-back of a 720p frame / decoding it", statistics.median(ratios), "x", 0.3, True, notes)


def memory(variant: str, roles: tuple[str, ...], target: float, folder: Path) -> Row:
    """Peak memory of a step of each of ``roles`` and of another non-key step, above a process that has
    imported ONNX Runtime; the state counts."""
    path = bundle(folder, variant)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), ",".join(roles)],
        capture_output=True,
        text=True,
        check=True,
    )
    return Row(
        f"{variant}, {' '.join(roles)}: peak memory above empty ONNX Runtime",
        float(done.stdout),
        "MB",
        target,
        True,
        "720x960",
    )


def bundle(folder: Path, variant: str) -> Path:
    from edge_vss.converters import verify
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert

    # Numbers are compared elsewhere; here a rollout of the largest network would take most of the time.
    verify.STEPS = ("start", "nonkey")
    path = folder / f"{variant}.vss"
    if not path.exists():
        say(f"converting {variant}")
        convert(Conversion(None, family="arseg", options={"variant": variant}), path)
    return path


def low_alone(folder: Path, segmenter: Segmenter) -> Callable[[Any], Any]:
    """The low branch without a key frame, compiled."""
    import torch

    from edge_vss.converters.families.arseg import to_labels
    from edge_vss.converters.networks.arseg import VARIANTS, Normalised, branches, low_size
    from edge_vss.converters.ops.resize import bilinear
    from edge_vss.converters.targets.onnx import export
    from edge_vss.converters.values import Part

    variant = VARIANTS["camvid-bise18"]

    class Alone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low = branches(variant, 12)[1]
            self.normalised = Normalised(variant, low_size(variant.size, 0.5))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            scores = self.low.classifier(self.low.feature(self.normalised(image)))
            # As small as its picture is: what the low branch knows without a key frame.
            return to_labels(
                bilinear(scores, self.low.grid(variant.size), align_corners=True), 8, variant.size
            )

    image, labels = (
        TensorSpec("image", (1, *variant.size, 3), "uint8"),
        TensorSpec("alone", (1, *variant.size), "uint8"),
    )
    file = export([Part("alone", Alone().eval(), (image,), (labels,))], folder, {})[0].file
    return compile_onnx(
        folder / file, GraphSpec("alone", file, "", (image,), (labels,), 0.0), EngineOptions(threads=1)
    )


def inputs(segmenter: Segmenter) -> dict[str, Any]:
    manifest, rng = segmenter.manifest, np.random.default_rng(0)
    assert manifest.motion is not None
    image = rng.integers(0, 255, (1, *manifest.frame_size, 3), np.uint8)
    return {"image": image, "motion": rng.uniform(-3, 3, (1, 2, *manifest.motion.grid)).astype(np.float32)}


def write_clip(folder: Path, size: tuple[int, int] = (720, 960), frames: int = 36) -> Path:
    from edge_vss.demo.scene.encode import write

    clip = folder / f"{size[1]}.mp4"
    if not clip.exists():
        write(clip, frames=frames, size=size, seed=5)
    return clip


if __name__ == "__main__":
    main()
