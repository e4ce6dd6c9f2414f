"""The quickest engine, standard operations, frames in between: ``python -m tests.benchmarks.fast``.

With ``--page FILE`` the rows also become a page (Markdown) that names machine, versions, input and method, so
that another machine can add its own. Real video comes from the folder that EDGE_VSS_DATA names.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import av
import numpy as np

from edge_vss.bundle import GraphSpec
from edge_vss.cli.terminal import say
from edge_vss.processor import cpu
from edge_vss.runtimes.engines import ENGINES, EngineOptions
from edge_vss.runtimes.operations import own_way
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.pacing import streams_at_pace
from edge_vss.video import Size
from tests.benchmarks.speed import Row, make_streets, show
from tests.helpers.warps import labels_of, spec

CLIP = "video/udacity_solidWhiteRight.mp4"
FRAMES = 120
P_ONLY = {"bf": "0", "refs": "1", "g": "250", "preset": "fast"}
B_FRAMES = {"g": "250", "preset": "fast"}
ENGINES_HERE = ("onnxruntime", "openvino")
DEADLINE_SECONDS = 0.066
EACH_KEY = 12


def clip(folder: Path, size: Size, options: dict[str, str], name: str = "") -> Path:
    """The first frames of a real drive, scaled and encoded again as H.264; made once."""
    path = folder / f"{name or 'p'}{size[0]}.mp4"
    if path.exists():
        return path
    source = Path(os.environ["EDGE_VSS_DATA"]) / CLIP
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = written.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for index, picture in enumerate(read.decode(video=0)):
            if index == FRAMES:
                break
            scaled = picture.reformat(size[1], size[0], "yuv420p")
            scaled.pts, scaled.time_base, scaled.pict_type = index, Fraction(1, 25), 0
            written.mux(stream.encode(scaled))
        written.mux(stream.encode(None))
    return path


def in_turn(calls: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each call gives, round by round, in turn."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            found[name].append(calls[name]())
    return found


def ratio(found: dict[str, list[float]], over: str, under: str) -> float:
    """The median of the ratios of two rows, round by round."""
    return statistics.median(a / b for a, b in zip(found[over], found[under], strict=True))


def seconds(call: Callable[[], object]) -> float:
    """What a call takes."""
    began = perf_counter()
    call()
    return perf_counter() - began


def shown(found: dict[str, list[float]], unit: str = "ms") -> str:
    """The medians, for the notes."""
    scale = 1e3 if unit == "ms" else 1.0
    return ", ".join(f"{name} {scale * statistics.median(v):.3g} {unit}" for name, v in found.items())


def networks(folder: Path) -> Iterator[tuple[str, Path]]:
    """Five networks as ONNX bundles, untrained but for the sample: speed does not depend on weights."""
    from edge_vss.converters import verify
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert

    verify.STEPS = ("start", "nonkey")
    helpers = Path(__file__).parents[1] / "helpers"
    size = (360, 480)
    espnet = Conversion(
        size=size, classes="camvid", factory=f"{helpers / 'espnet.py'}:espnet", own_weights=True
    )
    # What each of these says of its parts is in docs/families.
    families: dict[str, dict[str, Any]] = {
        "bisenet18": {"family": "arseg", "options": {"variant": "camvid-bise18"}, "size": size},
        "lmanet-erf": {"family": "lmanet", "options": {"variant": "erf"}, "size": (256, 512)},
        "tv3s-b0": {"family": "tv3s", "options": {"variant": "mit-b0"}, "size": (256, 448)},
    }
    made = {"espnet-like": espnet, **{name: Conversion(None, **how) for name, how in families.items()}}
    for name, conversion in made.items():
        path = folder / f"{name}.vss"
        if not path.exists():
            say(f"converting {name}")
            convert(conversion, path)
        yield name, path
    streets = folder / "streets.vss"
    yield "streetnet", streets if streets.exists() else make_streets(folder)


def auto(folder: Path, rounds: int) -> list[Row]:
    """`auto` against each engine alone: the mean of a key frame and eleven others, decoding left out."""
    rows = []
    for name, path in networks(folder):
        found = in_turn({e: partial(_steps, load(path, e)) for e in ("auto", *ENGINES_HERE)}, rounds)
        best = min(ENGINES_HERE, key=lambda engine: statistics.median(found[engine]))
        notes = f"{shown(found)} a frame; {load(path, 'auto').engine}"
        if name == "espnet-like":
            rows.append(
                Row(
                    "ESPNet-like, auto / ONNX Runtime, frames per second",
                    ratio(found, "onnxruntime", "auto"),
                    "x",
                    3.5,
                    False,
                    notes,
                )
            )
        rows.append(
            Row(
                f"{name}, auto / best single engine ({best})",
                ratio(found, best, "auto"),
                "x",
                0.98,
                False,
                notes,
            )
        )
    return rows


def _steps(segmenter: Segmenter) -> float:
    manifest = segmenter.manifest
    picture = np.random.default_rng(0).integers(0, 255, (*manifest.frame_size, 3), np.uint8)
    session = segmenter.session(f"interval:{EACH_KEY}")
    with open_source([picture] * EACH_KEY, motion="none") as source:
        frames = list(source)
    return seconds(lambda: [session.step(frame) for frame in frames]) / EACH_KEY


def state(folder: Path, rounds: int) -> list[Row]:
    """The state step of `propagate` as an engine runs it, and its own way."""
    from edge_vss.converters.families.propagate import CarryLabels
    from edge_vss.converters.targets import TARGETS
    from edge_vss.converters.values import Part

    rows = []
    for size in ((360, 480), (720, 1280)):
        grid = (size[0] // 8, size[1] // 8)
        graph = spec(size, grid)
        place = folder / f"state{size[0]}"
        place.mkdir(exist_ok=True)
        part = Part("state", CarryLabels(), graph.inputs, graph.outputs)
        (artifact,) = TARGETS.find("onnx").call((part,), place, {"state": {}})
        engine_graph = GraphSpec("state", artifact.file, "", graph.inputs, graph.outputs, 0.0)
        motion = np.random.default_rng(0).normal(0, 1, (1, 2, *grid)).astype(np.float32)
        tensors = {"key0": labels_of(size), "motion": motion}
        own = own_way(graph)
        assert own is not None
        calls: dict[str, Callable[[], object]] = {"own": lambda own=own, given=tensors: own(given)}  # type: ignore[misc]
        for engine in ENGINES_HERE:
            call = ENGINES.find(engine).call(place / artifact.file, engine_graph, EngineOptions())
            calls[engine] = lambda call=call, given=tensors: call(given)  # type: ignore[misc]
        found = in_turn({name: partial(seconds, call) for name, call in calls.items()}, 10 * rounds)
        name = f"state step {size[1]}x{size[0]}, own way / ONNX Runtime"
        rows.append(Row(name, ratio(found, "own", "onnxruntime"), "x", 0.35, True, shown(found)))
    return rows


def between(folder: Path, rounds: int) -> list[Row]:
    """A frame in between, from packet to labels: all but decoding, over decoding it on one thread."""
    segmenter = load(_streets(folder))
    rows = []
    cases: list[tuple[str, Size, dict[str, str], float]] = [
        ("P-only", (360, 480), P_ONLY, 0.6),
        ("P-only", (720, 1280), P_ONLY, 0.5),
        ("P-only", (1080, 1920), P_ONLY, 0.5),
        ("B-frames", (720, 1280), B_FRAMES, 1.0),
    ]
    for kind, size, options, wanted in cases:
        path = clip(folder, size, options, "b" if kind == "B-frames" else "p")
        calls = {"all but decoding": partial(_between, segmenter, path), "decoding": partial(_decoding, path)}
        found = in_turn(calls, rounds)
        name = f"{kind} {size[1]}x{size[0]}: all but decoding / decoding"
        rows.append(Row(name, ratio(found, "all but decoding", "decoding"), "x", wanted, True, shown(found)))
    return rows


def _decoding(path: Path) -> float:
    """Seconds of a frame on one thread, with vectors, each frame by itself."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.options, stream.codec_context.thread_count = {"flags2": "+export_mvs"}, 1
        packets = list(container.demux(stream))
        spent = [seconds(partial(stream.codec_context.decode, packet)) for packet in packets if packet.size]
        return statistics.median(spent)


def _between(segmenter: Segmenter, path: Path) -> float:
    """The median over frames in between: everything but decoding."""
    rest = list[float]()
    session = segmenter.session(f"interval:{EACH_KEY}")
    with open_source(path) as source:
        while True:
            began = perf_counter()
            frame = next(source, None)
            if frame is None:
                return statistics.median(rest)
            prediction = session.step(frame)
            spent = perf_counter() - began
            if prediction.decision.route == "nonkey":
                rest.append(spent - frame.seconds["decode"])


def _streets(folder: Path) -> Path:
    path = folder / "streets.vss"
    return path if path.exists() else make_streets(folder)


def vectors(folder: Path, rounds: int) -> list[Row]:
    """Vectors and the dense field of a whole file, against another package that gives vectors alone."""
    if find_spec("mvextractor") is None:
        say("motion-vector-extractor is not installed: its rows are not tried")
        return []
    rows = []
    two = Path(os.environ["EDGE_VSS_DATA"]) / CLIP
    cases = (
        ("P-only, 1280x720", clip(folder, (720, 1280), P_ONLY), 1.0),
        ("two references, udacity", two, 0.6),
    )
    for name, path, wanted in cases:
        calls = {pictures: partial(seconds, partial(_ours, path, pictures)) for pictures in ("all", "none")}
        found = in_turn({**calls, "theirs": partial(seconds, partial(_theirs, path))}, rounds)
        for pictures, said in (("all", ""), ("none", ", without pictures as theirs")):
            row = f"{name}: motion-vector-extractor / ours{said}, time of the file"
            rows.append(Row(row, ratio(found, "theirs", pictures), "x", wanted, False, shown(found)))
    return rows


def _ours(path: Path, pictures: str) -> None:
    with open_source(path, motion="codec", pictures=pictures) as source:
        for _ in source:
            pass


def _theirs(path: Path) -> None:
    from mvextractor.videocap import VideoCap

    capture = VideoCap()
    capture.open(str(path))
    capture.set_decode_frames(False)
    while capture.read()[0]:
        pass
    capture.release()


def streams(folder: Path, rounds: int) -> list[Row]:
    """Eight streams of 480 columns at 15 frames a second through one network: how late 99 % of labels are."""
    path = clip(folder, (360, 480), P_ONLY)
    found = [streams_at_pace(load(_streets(folder)), path, 8, pace=15) for _ in range(min(rounds, 3))]
    figures = [stream.timeliness for one in found for stream in one.streams.values()]
    frames, missed = sum(each.frames for each in figures), sum(each.missed for each in figures)
    return [
        Row(
            "8 streams, 480x360, 15 fps: p99 packet to labels, the slowest stream, ms",
            statistics.median(one.p99_ms for one in found),
            "",
            1e3 * DEADLINE_SECONDS,
            True,
            f"{frames} frames, {missed} without labels",
        )
    ]


ROWS: dict[str, Callable[[Path, int], list[Row]]] = {
    "auto": auto,
    "state": state,
    "between": between,
    "vectors": vectors,
    "streams": streams,
}
PACKAGES = (
    "edge-vss",
    "av",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "openvino",
    "motion-vector-extractor",
)


def page(rows: list[Row], load_before: float) -> str:
    """The rows as a page, with what another machine needs to repeat them."""
    machine = cpu(Path("/"))
    versions = ", ".join(f"{name} {number}" for name in PACKAGES if (number := _version(name)))
    lines = [
        "# Measured here",
        "",
        f"- machine: {machine.model}, {machine.cores} cores, {', '.join(machine.features)}",
        f"- system: {platform.platform()}",
        f"- load before: {load_before:.1f} (a busy machine gives other ratios)",
        f"- versions: Python {platform.python_version()}, {versions}",
        f"- input: the first {FRAMES} frames of EDGE_VSS_DATA/{CLIP}, encoded again by libx264",
        f"- its options: {P_ONLY}, {B_FRAMES}",
        "- method: medians of ratios within one run, in turn; `python -m tests.benchmarks.fast --page FILE`",
        "",
        "| what | wanted | measured here | |",
        "|---|---|---|---|",
    ]
    lines += [f"| {row.what} | {_wanted(row)} | {row.measured:.2f} | {row.notes} |" for row in rows]
    lines += [f"| all rows, {device} | | not tried | |" for device in ("Jetson Orin", "Raspberry Pi 5")]
    return "\n".join(lines) + "\n"


def _wanted(row: Row) -> str:
    return "" if row.target is None else f"{'≤' if row.at_most else '≥'} {row.target:g}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def main() -> None:
    """Measure every row, or the ones named."""
    parser = argparse.ArgumentParser(description="Measures engines, operations and frames in between.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all without one")
    parser.add_argument("--rounds", type=int, default=7, help="how often each comparison is made")
    parser.add_argument("--page", type=Path, metavar="FILE", help="also write a page")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"no row is called {', '.join(unknown)}: choose from {', '.join(ROWS)}")
    load_before, measured = os.getloadavg()[0], list[Row]()
    with tempfile.TemporaryDirectory(prefix="edge-vss-bench-") as name:
        os.environ["EDGE_VSS_CACHE"] = f"{name}/cache"
        for group in args.rows or ROWS:
            for row in ROWS[group](Path(name), args.rounds):
                say(f"{row.what}: {row.measured:.2f} ({row.notes})")
                measured.append(row)
    show(measured)
    if args.page:
        args.page.write_text(page(measured, load_before), encoding="utf-8")


if __name__ == "__main__":
    main()
