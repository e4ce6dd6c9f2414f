"""The speed rows of README's table of engines: python -m tests.benchmarks.engines. The network is AR-Seg's
BiSeNet18 at CamVid's 720x960, untrained: speed does not depend on weights. What is not installed is left out.
"""

from __future__ import annotations

import os
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

from edge_vss import bundle as bundles
from edge_vss.cli.terminal import say
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.compare import engines_of
from edge_vss.vendors import without_telemetry
from tests.benchmarks.arseg import write_clip
from tests.benchmarks.speed import Row, chosen_rows, show

ENGINES = {"onnxruntime": "onnx", "openvino": "openvino", "tflite": "tflite"}
VARIANT = "camvid-bise18"
THREADS = 1
START = """
import sys
from time import perf_counter
import numpy as np
begun = perf_counter()
from edge_vss import load, open_source
segmenter = load(sys.argv[1], threads=1)
session = segmenter.session("interval:1")
with open_source([np.zeros((*segmenter.manifest.frame_size, 3), np.uint8)], motion="none") as source:
    session.step(next(iter(source)))
print(perf_counter() - begun)
"""


def main() -> None:
    """Measure every row, or the ones named."""
    rows: dict[str, Callable[[Path], list[Row]]] = {
        "session": session,
        "engines": engines,
        "int8": int8,
        "start": start,
    }
    chosen = chosen_rows(rows, "Measures the speed rows of the engines.")
    measured: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="edge-vss-bench-") as folder:
        os.environ["EDGE_VSS_CACHE"] = ""
        for name in chosen:
            found = rows[name](Path(folder))
            for row in found:
                say(f"{row.what}: {row.notes}")
            measured += found
    show(measured)


def session(folder: Path) -> list[Row]:
    """Our session on its key graph against the bare engine on the same file, in turn."""
    found = []
    for engine in present():
        path = bundle(folder, engine)
        segmenter = load(path, threads=THREADS)
        size = segmenter.manifest.frame_size
        picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
        with open_source([picture] * 2, motion="none") as source:
            frame = next(iter(source))
        ours = segmenter.session("interval:1")
        bare = BARE[engine](path, picture[None])
        spent = in_turn({"ours": partial(ours.step, frame), "bare": bare})
        row = Row(
            f"{engine}: a session's step / its key graph alone",
            statistics.median(a / b for a, b in zip(spent["ours"], spent["bare"], strict=True)),
            "x",
            1.03,
            True,
            milliseconds(spent),
        )
        found.append(row)
    return found


def engines(folder: Path) -> list[Row]:
    """The key graph, fp32, on every engine against ONNX Runtime."""
    calls = {engine: caller(bundle(folder, engine)) for engine in present()}
    spent = in_turn(calls)
    return [
        Row(
            f"{engine} / onnxruntime, key graph fp32",
            statistics.median(a / b for a, b in zip(spent[engine], spent["onnxruntime"], strict=True)),
            "x",
            None,
            True,
            milliseconds(spent),
        )
        for engine in spent
        if engine != "onnxruntime"
    ]


def int8(folder: Path) -> list[Row]:
    """The key graph in fp32 against int8, per engine."""
    found = []
    for engine in present():
        pair = {p: caller(bundle(folder, engine, p)) for p in ("fp32", "int8")}
        spent = in_turn(pair)
        speedup = statistics.median(a / b for a, b in zip(spent["fp32"], spent["int8"], strict=True))
        found.append(
            Row(f"{engine}: int8 over fp32, key graph", speedup, "x", 1.8, False, milliseconds(spent))
        )
    return found


def start(folder: Path) -> list[Row]:
    """OpenVINO from nothing to the first labels, in a fresh process, with its cache and without."""
    if "openvino" not in present():
        return []
    path = bundle(folder, "openvino")
    spent: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(6):
        for name, cache in (("without", ""), ("with", str(folder / "cache"))):
            done = subprocess.run(
                [sys.executable, "-c", START, str(path)],
                env={**os.environ, "EDGE_VSS_CACHE": cache},
                check=True,
                capture_output=True,
                text=True,
            )
            spent[name].append(float(done.stdout))
    # The first run of each fills the cache, and the system's.
    ratio = statistics.median(a / b for a, b in zip(spent["with"][1:], spent["without"][1:], strict=True))
    return [
        Row(
            "openvino: start to first labels, with its cache / without",
            ratio,
            "x",
            0.5,
            True,
            milliseconds(spent),
        )
    ]


def present() -> list[str]:
    return [
        engine
        for engine, target in ENGINES.items()
        if engine in {plugin.name for plugin in engines_of(target)}
    ]


def bundle(folder: Path, engine: str, precision: str = "fp32") -> Path:
    """The network for an engine, converted once."""
    from edge_vss.converters import verify
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert

    # Numbers are compared by the tests; here a rollout would take most of the time.
    verify.STEPS = ("start", "nonkey")
    path = folder / f"{engine}-{precision}.vss"
    if not path.exists():
        say(f"converting {VARIANT} for {engine}, {precision}")
        clip = write_clip(folder) if precision == "int8" else None
        options = {"variant": VARIANT}
        convert(
            Conversion(
                None,
                family="arseg",
                target=ENGINES[engine],
                precision=precision,
                calibrate=clip,
                options=options,
            ),
            path,
        )
    return path


def caller(path: Path) -> Callable[[], Any]:
    """A call of a bundle's key graph."""
    segmenter = load(path, threads=THREADS)
    image = np.random.default_rng(0).integers(0, 255, (1, *segmenter.manifest.frame_size, 3), np.uint8)
    return lambda: segmenter.graphs["key"]({"image": image})


def bare_onnx(path: Path, image: Any) -> Callable[[], Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    made = ort.InferenceSession(str(path / "key.onnx"), options, providers=["CPUExecutionProvider"])
    return lambda: made.run(None, {"image": image})


def bare_openvino(path: Path, image: Any) -> Callable[[], Any]:
    with without_telemetry():
        import openvino as ov

    config = {
        "INFERENCE_NUM_THREADS": THREADS,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = ov.compile_model(str(path / "key.xml"), "CPU", config).create_infer_request()
    return lambda: request.infer({"image": image}, share_inputs=True)


def bare_tflite(path: Path, image: Any) -> Callable[[], Any]:
    from ai_edge_litert.interpreter import Interpreter

    file = path / bundles.read(path).graph("key").file
    runner = Interpreter(model_path=str(file), num_threads=THREADS).get_signature_runner("key")
    return lambda: runner(image=image)


BARE = {"onnxruntime": bare_onnx, "openvino": bare_openvino, "tflite": bare_tflite}


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, list[float]]:
    """Seconds of every call, round by round, after one that warms up."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for name in calls:
        calls[name]()
    for turn in range(rounds):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            begun = perf_counter()
            calls[name]()
            spent[name].append(perf_counter() - begun)
    return spent


def milliseconds(spent: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {1e3 * statistics.median(seconds):.1f} ms" for name, seconds in spent.items())


if __name__ == "__main__":
    main()
