"""What ``--html`` writes: the reports of profile, evaluate, compare and motion as pages with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import HeadSpec
from edge_vss.decisions import Prediction
from edge_vss.runtimes.drawing.contact_sheet import paint
from edge_vss.runtimes.drawing.html import Page
from edge_vss.runtimes.timing import STAGES
from edge_vss.runtimes.tools.benchmark import ProfileReport, SpeedReport
from edge_vss.runtimes.tools.compare import CompareReport
from edge_vss.runtimes.tools.evaluate import EvaluationReport
from edge_vss.runtimes.tools.stream_report import StreamReport
from edge_vss.video import Frame

WORST_FRAMES = 6
_WRONG = (220, 40, 40)
_SIDES = ("scheduled", "baseline")
BOTH_WAYS = "Frames in between had their labels from the key frames on both sides, one interval late."


@dataclass
class TimeLine:
    """Collects the stages of each frame, of both sides of a profile."""

    stages: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {side: [] for side in _SIDES})

    def take(self, side: str, prediction: Prediction) -> None:
        """The next frame of a side (``scheduled`` or ``baseline``)."""
        self.stages[side].append(prediction.seconds)


def profile_page(found: ProfileReport, line: TimeLine, source: str, baseline: str) -> str:
    """The page of a profile. ``baseline`` says what the policy was compared with."""
    page = Page(f"edge-vss profile: {source}")
    page.section("Summary", f"{found.speedup:.2f} times as fast as {baseline}.")
    if found.both_ways:
        page.section("", BOTH_WAYS)
    sides: dict[str, SpeedReport] = {found.name: found, baseline: found.baseline}
    page.table(
        ("", "fps", "key frames %", "p50 ms", "p95 ms", "p99 ms", "in between p50 ms"),
        [
            (
                name,
                side.fps,
                100 * side.key_share,
                side.latency_ms.p50,
                side.latency_ms.p95,
                side.latency_ms.p99,
                None if side.between_ms is None else side.between_ms.p50,
            )
            for name, side in sides.items()
        ],
    )
    page.bars({name: side.fps for name, side in sides.items()}, "fps")
    page.section(
        "Time per frame", f"Every frame of the run under {found.name}, its stages one above the other."
    )
    frames = line.stages["scheduled"]
    page.lines(_by_stage(frames), "ms", "frame", stacked=True)
    page.section("Distribution", "How many frames take how long, without the sink.")
    names = dict(zip(_SIDES, sides, strict=True))
    page.distribution(
        {names[side]: [1e3 * sum(spent.values()) for spent in line.stages[side]] for side in _SIDES}, "ms"
    )
    page.section("Stages")
    page.table(
        ("stage", "p50 ms", "p95 ms", "p99 ms", "times"),
        [(name, spent.p50, spent.p95, spent.p99, spent.count) for name, spent in found.stages.items()],
    )
    page.section("Memory", f"{found.peak_rss_mb:.0f} MB at the peak.")
    return page.text()


def _by_stage(frames: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    names = dict.fromkeys(stage for spent in frames for stage in spent)
    ordered = sorted(names, key=lambda name: STAGES.index(name) if name in STAGES else len(STAGES))
    return {name: [1e3 * spent.get(name, 0.0) for spent in frames] for name in ordered}


@dataclass(order=True)
class _Scored:
    right: float
    """Minus the share of pixels that are right: the heap keeps the worst."""
    index: int
    image: NDArray[np.uint8] = field(compare=False)
    truth: NDArray[np.uint8] = field(compare=False)
    labels: NDArray[np.uint8] = field(compare=False)
    since_key: int = field(compare=False)


@dataclass
class WorstFrames:
    """Keeps the frames whose labels are least like the ground truth."""

    ignore: int | None
    most: int = WORST_FRAMES
    line: list[float] = field(default_factory=list)
    """Share of pixels that are right, in percent, of every frame that was scored."""
    _worst: list[_Scored] = field(default_factory=list)

    def take(
        self, frame: Frame, prediction: Prediction, labels: NDArray[np.uint8], truth: NDArray[np.uint8]
    ) -> None:
        """The next frame that was scored: class ids (H, W) of what was said and what is true."""
        counted = np.ones(truth.shape, bool) if self.ignore is None else truth != self.ignore
        right = float((labels == truth)[counted].mean()) if counted.any() else 1.0
        self.line.append(100 * right)
        if len(self._worst) == self.most and -right <= self._worst[0].right:
            return
        scored = _Scored(-right, frame.index, frame.image, truth, labels, prediction.frames_since_key)
        if len(self._worst) < self.most:
            heappush(self._worst, scored)
        else:
            heappushpop(self._worst, scored)

    def pictures(self, palette: Sequence[tuple[int, int, int]]) -> list[tuple[NDArray[np.uint8], str]]:
        """Video, truth, labels and difference of each, the worst first."""
        drawn = []
        for each in sorted(self._worst, reverse=True):
            wrong = each.labels != each.truth
            if self.ignore is not None:
                wrong &= each.truth != self.ignore
            different = np.repeat((each.image.mean(2) * 0.5 + 60).astype(np.uint8)[..., None], 3, 2)
            different[wrong] = _WRONG
            after = "a key frame" if not each.since_key else f"{each.since_key} after its key frame"
            drawn += [
                (each.image, f"frame {each.index}, {after}"),
                (paint(each.image, each.truth, palette), "ground truth"),
                (paint(each.image, each.labels, palette), f"labels, {-100 * each.right:.1f} % right"),
                (different, "red: wrong"),
            ]
        return drawn


def evaluation_page(found: EvaluationReport, worst: WorstFrames, head: HeadSpec, source: str) -> str:
    """The page of an evaluation."""
    page = Page(f"edge-vss evaluate: {source}")
    page.section("Summary", f"{found.ground_truth}; policy {found.policy}.")
    page.table(
        ("mIoU %", "WIoU %", "accuracy %", "mVC8 %", "mVC16 %", "frames", "key frames", "GMAC per frame"),
        [
            (
                *(found.miou, found.wiou, found.accuracy, found.mvc8, found.mvc16),
                *(found.frames, found.keyframes, found.gmac_per_frame),
            )
        ],
    )
    page.section("Per class", "IoU in percent.")
    page.bars(found.iou, "%", 100)
    page.section("By distance", "mIoU in percent of the frames that come so many after their key frame.")
    page.lines({"mIoU": found.miou_by_distance}, "%", "frames since the key frame")
    page.section("Frame by frame", "Share of pixels that are right.")
    page.lines({"right": worst.line}, "%", "frame with ground truth")
    page.section("Worst frames", "Video, ground truth, labels, and where they differ.")
    page.pictures(worst.pictures(head.palette))
    page.legend(
        {
            name: f"rgb({r},{g},{b})"
            for name, (r, g, b) in zip(head.classes, head.palette, strict=True)
            if name in found.iou and np.isfinite(found.iou[name])
        }
    )
    return page.text()


def compare_page(found: CompareReport, source: str) -> str:
    """The page of a comparison."""
    page = Page(f"edge-vss compare: {source}")
    page.section("Recommendation", found.recommendation)
    if found.both_ways:
        page.section("", BOTH_WAYS)
    measured = [(row.candidate.name, row.measured, row) for row in found.rows if row.measured is not None]
    page.section("Frames per second")
    page.bars({name: each.fps for name, each, _ in measured}, "fps")
    page.section("Latency", "95 of 100 frames are faster than that.")
    page.bars({name: each.latency_ms.p95 for name, each, _ in measured}, "ms")
    page.section("Memory")
    page.bars({name: each.memory_mb for name, each, _ in measured}, "MB")
    page.section("Labels equal to the reference's", f"The reference is {found.reference}.")
    page.bars(
        {name: None if row.agreement is None else 100 * row.agreement for name, _, row in measured}, "%", 100
    )
    page.section("All figures")
    page.table(
        ("", "fps", "p50 ms", "p95 ms", "p99 ms", "key ms", "between ms", "memory MB", "start s", "equal %"),
        [
            (
                *(name, each.fps, each.latency_ms.p50, each.latency_ms.p95, each.latency_ms.p99),
                *(each.graphs_ms.get("key"), None if each.between_ms is None else each.between_ms.p50),
                *(each.memory_mb, each.start_seconds),
                None if row.agreement is None else 100 * row.agreement,
            )
            for name, each, row in measured
        ],
    )
    problems = [(row.candidate.name, row.problem) for row in found.rows if row.problem]
    problems += [("left out", line) for line in found.left_out]
    if problems:
        page.section("Problems")
        page.table(("", "why"), problems)
    return page.text()


def motion_page(found: StreamReport, coverage: Sequence[float | None], source: str) -> str:
    """The page of a stream. ``coverage`` is the share of each frame that has a vector, None on I-frames."""
    page = Page(f"edge-vss motion: {source}")
    page.section("Summary")
    page.table(
        ("", ""),
        [
            ("codec", found.codec or "images"),
            ("frames", found.frames),
            ("size", f"{found.size[1]} x {found.size[0]}"),
            ("frames per second", found.fps),
            ("who reads the vectors", found.provider or "nobody"),
            ("B-frames", "yes" if found.has_b_frames else "no"),
            ("references", found.references or "not known"),
            ("longest group of pictures", found.longest_gop),
        ],
    )
    page.section("Advice")
    for sentence in found.advice:
        page.section("", sentence)
    page.section("Pictures by type")
    page.bars({name: float(number) for name, number in found.picture_types.items()}, "frames")
    page.section("Coverage", "Share of each picture that has a vector; I-frames have none.")
    page.lines({"coverage": [None if share is None else 100 * share for share in coverage]}, "%", "frame")
    known = [100 * share for share in coverage if share is not None]
    page.distribution({"coverage": known}, "%")
    if found.miou is not None:
        page.section("Labels carried", f"mIoU in percent, label maps carried up to {found.interval} frames.")
        page.bars(found.miou, "%", 100)
    return page.text()
