"""MPVSS's rows of speed and memory: python -m tests.benchmarks.mpvss. Networks are untrained: speed does not
depend on weights.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from edge_vss.cli.terminal import say
from edge_vss.runtimes.segmenter import load
from tests.benchmarks.arseg import write_clip
from tests.benchmarks.speed import Row, chosen_rows, show

SIZE, CLASSES = (480, 864), "vspw"
TURNS = 5
CONVERT = """
import sys
from time import perf_counter
from edge_vss.converters import verify
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.runtimes.timing import peak_rss_mb
verify.STEPS = ("start", "nonkey")
variant, target, semantic, out = sys.argv[1:]
began = perf_counter()
options = {"variant": variant, "semantic": semantic}
convert(Conversion(family="mpvss", classes="vspw", size=(480, 864), target=target, options=options), out)
print(perf_counter() - began, peak_rss_mb())
"""
RUN = """
import sys
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.timing import peak_rss_mb
session = load(sys.argv[1]).session()
with open_source(sys.argv[2]) as source:
    for frame in source:
        session.step(frame)
print(peak_rss_mb())
"""


def main() -> None:
    """Measure every row, or the ones named."""
    rows: dict[str, Callable[[Path], list[Row]]] = {
        **{
            f"convert-{variant}-{target}": partial(conversion, variant, target)
            for variant in ("r50", "r101", "swin-t", "swin-s", "swin-b", "swin-l")
            for target in ("onnx", "openvino", "tflite")
        },
        "speed": speed,
        "semantic": semantic,
        "vectors": vectors,
        "memory": memory,
    }
    usual = ("convert-swin-t-onnx", "speed", "semantic", "vectors", "memory")
    chosen = chosen_rows(rows, "Measures cost, speed and memory of MPVSS.", usual)
    measured = []
    with tempfile.TemporaryDirectory(prefix="edge-vss-bench-") as folder:
        for name in chosen:
            for row in rows[name](Path(folder)):
                say(f"{row.what}: {row.measured:.2f} {row.unit}; {row.notes}")
                measured.append(row)
    show(measured)


def conversion(variant: str, target: str, folder: Path) -> list[Row]:
    """How long a conversion takes, with a rollout of two frames, and its peak memory."""
    seconds, peak = _converted(folder, variant, target, "quarter")
    what = f"{variant} to {target}, 480x864"
    return [
        Row(f"{what}: time", seconds / 60, "min", 5 if variant == "swin-t" else None, True, ""),
        Row(f"{what}: peak memory", peak / 1000, "GB", 8 if variant == "swin-t" else None, True, ""),
    ]


def speed(folder: Path) -> list[Row]:
    """A frame in between against a key frame, in turn."""
    rows = []
    for threads in (1, 2):
        spent = _steps(_bundle(folder, "swin-t"), threads)
        share = _ratio(spent, ("nonkey", "state"), ("key",))
        rows.append(
            Row(
                f"Swin-T, a frame in between / a key frame, {threads} threads",
                share,
                "x",
                0.25,
                True,
                _ms(spent),
            )
        )
    return rows


def semantic(folder: Path) -> list[Row]:
    """Classes mixed at the picture's size against a quarter of it: the time of the last graph."""
    exact, quarter = (_steps(_bundle(folder, "swin-t", name), 1) for name in ("exact", "quarter"))
    ratio = statistics.median(exact["state"]) / statistics.median(quarter["state"])
    notes = f"exact: {_ms(exact)}; quarter: {_ms(quarter)}"
    return [Row("Swin-T, state graph, exact / quarter", ratio, "x", None, False, notes)]


def vectors(folder: Path) -> list[Row]:
    """Masks carried by the decoder's vectors (family propagate) against a key frame; one thread."""
    from edge_vss.classes import find
    from edge_vss.converters import verify
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert
    from edge_vss.converters.networks.mask2former import VARIANTS, built
    from edge_vss.converters.readers._untrained_weights import fill

    verify.STEPS = ("start", "nonkey")
    model: Any = built(VARIANTS["swin-t"], len(find(CLASSES)))
    fill(model)
    model.save_pretrained(folder / "swin-t")
    rows = []
    for carry in ("masks", "labels"):
        path = folder / f"carry-{carry}.vss"
        convert(Conversion(folder / "swin-t", size=SIZE, options={"carry": carry}), path)
        spent = _steps(path, 1)
        share = _ratio(spent, ("state",), ("key",))
        rows.append(
            Row(f"Swin-T, propagate, carry {carry}, in between / key", share, "x", 0.05, True, _ms(spent))
        )
    return rows


def memory(folder: Path) -> list[Row]:
    """Peak memory of a process that runs 30 frames."""
    clip = write_clip(folder, size=SIZE, frames=30)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(_bundle(folder, "r50")), str(clip)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [Row("R50 480x864, 30 frames: peak memory", float(done.stdout) / 1000, "GB", 2.5, True, "")]


def _bundle(folder: Path, variant: str, semantic: str = "quarter") -> Path:
    path = folder / f"{variant}-onnx-{semantic}.vss"
    if not path.exists():
        _converted(folder, variant, "onnx", semantic)
    return path


def _converted(folder: Path, variant: str, target: str, semantic: str) -> tuple[float, float]:
    path = folder / f"{variant}-{target}-{semantic}.vss"
    say(f"converting {path.stem}")
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, variant, target, semantic, str(path)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{path.stem}: {done.stderr[-500:]}")
    seconds, peak = map(float, done.stdout.split()[-2:])
    return seconds, peak


def _steps(path: Path, threads: int) -> dict[str, list[float]]:
    """Seconds of the graphs of a key frame and of one in between, in turn."""
    segmenter = load(path, threads=threads)
    manifest, rng = segmenter.manifest, np.random.default_rng(0)
    image = rng.integers(0, 255, (1, *manifest.frame_size, 3), np.uint8)
    moved = {}
    if manifest.motion is not None:
        moved["motion"] = rng.uniform(-2, 2, (1, 2, *manifest.motion.grid)).astype(np.float32)
    spent: dict[str, list[float]] = {}
    for turn in range(TURNS + 1):
        tensors: Any = {"image": image, **moved}
        for role in ("key", *manifest.routes["nonkey"]):
            began = perf_counter()
            tensors |= segmenter.graphs[role](tensors)
            if turn:
                spent.setdefault(role, []).append(perf_counter() - began)
    return spent


def _ratio(spent: dict[str, list[float]], above: tuple[str, ...], below: tuple[str, ...]) -> float:
    sums = [
        [sum(turn) for turn in zip(*(spent[role] for role in roles), strict=True)] for roles in (above, below)
    ]
    return float(statistics.median(a / b for a, b in zip(*sums, strict=True)))


def _ms(spent: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {1e3 * statistics.median(values):.0f} ms" for name, values in spent.items())


if __name__ == "__main__":
    main()
