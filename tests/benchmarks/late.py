"""What late key frames cost, and how late labels are: `python -m tests.benchmarks.late`, with EDGE_VSS_DATA.

Ratios are of one run. The row ``accelerator`` draws docs/late.svg.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edge_vss.cli.terminal import say
from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError
from edge_vss.metrics import confusion, miou
from edge_vss.runtimes._key_delay import Delay
from edge_vss.runtimes._requests import Request
from edge_vss.runtimes.late_keys import LateSession
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.timeliness import Timing
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.runtimes.tools.pacing import at_pace, streams_at_pace
from edge_vss.runtimes.tracing.root_map import Trace
from edge_vss.video import Frame
from tests.benchmarks.both_ways import IGNORED, TruePicture, knowing
from tests.benchmarks.late_fleet import FPS, doubt, dying, memory
from tests.benchmarks.speed import Row, chosen_rows, show
from tests.helpers import toys
from tests.helpers.videos import P_ONLY, Image, encode, stills

DELAYS = (0, 3, 6)
INTERVAL = 12
KEY_SECONDS = 0.4
"""Frames that the only worker takes for a key frame, where streams are compared."""


class Holding(LateSession):
    """Shows a late result where it was seen, as tools without motion do; from there on it is carried."""

    def _way(self, request: Request, frame: Frame) -> Trace:
        here = self._tracer.start(frame)
        return replace(here, anchor=request.stamp, frames_since_key=request.trace.frames_since_key)


def true_frames(data: Path) -> tuple[list[Frame], GroundTruth]:
    """CamVid's 0016E5, where a network sees the true labels."""
    maps = GroundTruth(data / "camvid" / "valannot")
    with open_source(data / "video" / "0016E5_h264_p_refs1_g250.mp4") as source:
        return [replace(f, picture=TruePicture(f.picture, maps[f.index])) for f in source], maps


def scored(session: LateSession, shown: list[Frame], truth: Callable[[int], Image]) -> float:
    """mIoU in percent."""
    counts = np.zeros((12, 12), np.int64)
    for frame in shown:
        counts += confusion(truth(frame.index), session.step(frame).labels, 12, IGNORED)
    return miou(counts, IGNORED)


def delay(data: Path, folder: Path) -> list[Row]:
    """mIoU lost where key frames come late, carried and held."""
    shown, maps = true_frames(data)
    networks = {"true labels": (knowing(shown[0].size), shown), "AR-Seg, trained": trained(data, folder)}
    rows = []
    for name, (segmenter, clip) in networks.items():
        policy = segmenter.chosen(f"interval:{INTERVAL}")
        graphs = {**segmenter.graphs}
        found: dict[str, list[float]] = {"carried": [], "held": []}
        for late in DELAYS:
            for way, kind in (("carried", LateSession), ("held", Holding)):
                session = kind(segmenter.manifest, graphs, policy, False, Delay(late))
                found[way].append(scored(session, clip, maps.__getitem__))
        text = "; ".join(f"{way} " + " / ".join(f"{v:.2f}" for v in found[way]) for way in found)
        lost = [found["carried"][0] - value for value in found["carried"]]
        held = [found["held"][0] - value for value in found["held"]]
        notes = f"mIoU at 0 / 3 / 6: {text}; held loses {held[1]:.2f} and {held[2]:.2f}"
        rows.append(Row(f"{name}: mIoU lost at key-delay 3", lost[1], "", 1.5, True, notes))
        rows.append(Row(f"{name}: mIoU lost at key-delay 6", lost[2], "", None, True, ""))
    return rows


def trained(data: Path, folder: Path) -> tuple[Segmenter, list[Frame]]:
    """The small AR-Seg that was trained on CamVid, and the clip."""
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert
    from tests.benchmarks.arseg_codecs import WEIGHTS

    options = {"variant": "camvid-bise18", "high": WEIGHTS / "high.pth"}
    made = folder / "camvid.vss"
    convert(
        Conversion(WEIGHTS / "low.pth", family="arseg", size=(360, 480), options=options), made, force=True
    )
    with open_source(data / "video" / "0016E5_h264_p_refs1_g250.mp4") as source:
        return load(made), list(source)


def bisenet(folder: Path) -> Path:
    """BiSeNet18 at 720×960, untrained, as propagate."""
    import torch

    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert
    from edge_vss.converters.networks.bisenet import BiSeNet18

    program = torch.export.export(BiSeNet18(11).eval(), (torch.zeros(1, 3, 720, 960),))
    torch.export.save(program, folder / "bise.pt2")
    made = folder / "bise.vss"
    convert(Conversion(folder / "bise.pt2", size=(720, 960), classes="camvid"), made, force=True)
    return made


def sample(folder: Path) -> Path:
    """The sample network at 480p."""
    from edge_vss.converters.convert import convert
    from edge_vss.demo.show import sample_model

    made = folder / "sample.vss"
    convert(replace(sample_model(), size=(480, 640)), made, force=True)
    return made


def to_and_fro(data: Path, path: Path, size: tuple[int, int], count: int) -> Path:
    """The drive forwards and backwards, so that it is long and has no cut."""
    images = [cv2.resize(image, size[::-1]) for image in stills(data / "camvid" / "val")]
    order = [*range(len(images)), *range(len(images) - 2, 0, -1)]
    shown = (np.asarray(images[order[i % len(order)]], np.uint8) for i in range(count))
    return encode(path, shown, options=P_ONLY, fps=FPS)


def pace(data: Path, folder: Path, count: int = 900) -> list[Row]:
    """p99 from packet to labels over the key graph's own time."""
    clip = to_and_fro(data, folder / "long.mp4", (720, 960), count)
    found = at_pace(load(bisenet(folder)), clip, "interval:12", pace=FPS)
    rows = []
    for name, side, target in (
        ("in the background", found.background, 0.25),
        ("waited for", found.waiting, None),
    ):
        spent = side.timeliness.packet_to_label_ms
        times = f"{spent.p50:.0f} / {spent.p95:.0f} / {spent.p99:.0f}"
        notes = f"p50 / p95 / p99 {times} ms, key {side.key_ms:.0f} ms"
        rows.append(Row(f"{name}: p99 / key graph", side.p99_over_key, "", target, True, notes))
        missed = 0 if target else None
        rows.append(Row(f"{name}: frames without labels", side.timeliness.missed, "", missed, True, ""))
    return rows


def budget(data: Path, folder: Path) -> list[Row]:
    """p95 over the budget, at three settings on two networks."""
    rows = []
    for name, made, size in (
        ("sample", sample(folder), (480, 640)),
        ("BiSeNet18 720x960", bisenet(folder), (720, 960)),
    ):
        clip, segmenter = to_and_fro(data, folder / "paced.mp4", size, 450), load(made)
        for limit in (50, 100, 200) if size[0] == 720 else (25, 40, 60, 70, 80, 95):
            with segmenter.session(budget_ms=limit) as session, open_source(clip) as source:
                assert isinstance(session, LateSession) and session.budget is not None
                try:
                    report = run(source, session, pace=FPS)
                except OptionError as error:
                    say(f"{name}: {error}")
                    continue
                told = str(session.budget.report(session.figures.seconds / max(session.figures.taken, 1)))
            p95 = report.timing.figures().packet_to_label_ms.p95
            rows.append(Row(f"{name}, {limit} ms: p95 / budget", p95 / limit, "", 1.0, True, told))
    return rows


def streams(data: Path, folder: Path) -> list[Row]:
    """Streams at 480p and 15 fps without a frame that has no labels."""
    clip, segmenter = to_and_fro(data, folder / "480.mp4", (480, 640), 300), load(sample(folder))
    best, notes = 0, ""
    for count in (4, 8, 10, 12):
        found = streams_at_pace(segmenter, clip, count, pace=FPS)
        notes += f"{count}: {found.missed} missed, p99 {found.p99_ms:.0f} ms; "
        if found.missed:
            break
        best = count
    return [Row("streams at 480p, 15 fps, no frame without labels", best, "", 8, False, notes)]


class Series(Timing):
    """Keeps the time of every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.ms: list[float] = []

    def shown(self, prediction: Prediction, seconds: float) -> None:
        super().shown(prediction, seconds)
        self.ms.append(1e3 * seconds)


def sleeping(size: tuple[int, int]) -> Segmenter:
    """The toy, whose key graph takes as long as a network on an accelerator, and no processor."""
    toy = toys.segmenter(size, (size[0] // 8, size[1] // 8))

    def key(tensors: toys.Tensors) -> toys.Tensors:
        time.sleep(KEY_SECONDS)
        return toy.graphs["key"](tensors)

    return Segmenter(toy.manifest, {**toy.graphs, "key": key}, "toy")


def accelerator(data: Path, folder: Path, count: int = 900) -> list[Row]:
    """The time from packet to labels where the network takes no processor; draws docs/late.svg."""
    clip, segmenter = to_and_fro(data, folder / "drawn.mp4", (360, 480), count), sleeping((360, 480))
    found, rows = [], []
    for background in (False, True):
        series = Series()
        with segmenter.session("interval:12", background=background) as session, open_source(clip) as source:
            report = run(source, session, pace=FPS, timing=series, drop_inference=False)
        found.append(series.ms[30:180])
        spent, name = series.figures().packet_to_label_ms, "in the background" if background else "waited for"
        notes = f"p50 / p95 / p99 {spent.p50:.0f} / {spent.p95:.0f} / {spent.p99:.0f} ms"
        ratio, target = spent.p99 / (1e3 * KEY_SECONDS), 0.25 if background else None
        rows.append(Row(f"a network of 400 ms, {name}: p99 / network", ratio, "", target, True, notes))
        missed = 0 if background else None
        rows.append(Row(f"the same, {name}: frames without labels", report.skipped, "", missed, True, ""))
    Path("docs/late.svg").write_text(drawn(*found))
    return rows


def drawn(waiting: list[float], background: list[float]) -> str:
    """An SVG of both series, in ms."""
    top, width, height = max(waiting), 720, 240
    left, above = 46, 24

    def points(values: list[float]) -> str:
        step = (width - left - 10) / (len(values) - 1)
        scale = (height - above - 30) / top
        return " ".join(f"{left + i * step:.1f},{height - 30 - v * scale:.1f}" for i, v in enumerate(values))

    ticks = "".join(
        f'<text x="{left - 6}" y="{height - 26 - share * (height - above - 30):.0f}" text-anchor="end">'
        f"{share * top:.0f}</text>"
        for share in (0, 0.5, 1)
    )
    lines = "".join(
        f'<polyline points="{points(values)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        for values, colour in ((waiting, "#c0392b"), (background, "#1f6fb2"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>{ticks}{lines}'
        f'<text x="{left}" y="14" fill="#c0392b">ms from packet to labels, every frame waits</text>'
        f'<text x="{left + 270}" y="14" fill="#1f6fb2">--background</text>'
        f'<text x="{width - 10}" y="{height - 8}" text-anchor="end">frames, 15 a second</text></svg>\n'
    )


def main() -> None:
    """Measure every row, or the ones named."""
    rows: dict[str, Callable[[Path, Path], list[Row]]] = {
        **{
            "accelerator": accelerator,
            "pace": pace,
            "delay": delay,
            "budget": budget,
            "streams": streams,
            "doubt": doubt,
        },
        **{"dying": dying, "memory": memory, "short-memory": partial(memory, count=25_000)},
    }
    chosen = chosen_rows(rows, "Measures late key frames.", list(rows)[:-1])
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    if not (data / "video").is_dir():
        say("late needs camvid/ and video/: set EDGE_VSS_DATA to the folder that holds them")
        return
    measured: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="edge-vss-late-") as folder:
        for name in chosen:
            for row in rows[name](data, Path(folder)):
                say(f"{row.what}: {row.measured:.3f}; {row.notes}")
                measured.append(row)
    show(measured)


if __name__ == "__main__":
    main()
