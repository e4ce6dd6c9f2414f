"""The main job on a sample that needs no download: draw streets, convert a network, run it, show the gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import Manifest
from edge_vss.decisions import Prediction
from edge_vss.errors import MissingExtra, OptionError, SinkError
from edge_vss.files import utf8_name
from edge_vss.metrics import confusion, miou
from edge_vss.report import Report
from edge_vss.video import Frame

if TYPE_CHECKING:
    from edge_vss.converters.conversion import Conversion
    from edge_vss.runtimes.tools.benchmark import SpeedReport
    from edge_vss.runtimes.tools.evaluate import EvaluationReport

SEED = 20
"""The drive to show: one that the sample's network was not trained on."""

ROWS = 4

Labels = NDArray[np.uint8]

INTERVALS = {"propagate": 5, "arseg": 12}
"""Families that have a sample → frames from one key frame to the next."""


@dataclass(frozen=True)
class Way(Report):
    """One of the two ways to segment the clip; scores in percent."""

    fps: float
    key_share: float
    """Share of key frames, 0 to 1."""
    miou: float
    wiou: float
    mvc8: float
    mvc16: float
    gmac_per_frame: float
    """Billions of multiply-accumulates per frame."""
    miou_by_distance: list[float]
    """Entry d: mIoU of the frames d after their key frame."""


@dataclass(frozen=True)
class DemoReport(Report):
    """What was gained, and where to look at it."""

    frames: int
    policy: str
    every_frame: Way
    """The network on every frame."""
    scheduled: Way
    """Under the policy."""
    speedup: float
    clip: Path
    bundle: Path
    overlay: Path
    picture: Path


def demo(
    out: Path,
    frames: int = 240,
    interval: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
    family: str = "propagate",
) -> DemoReport:
    """Run everything into the folder ``out`` and say what was gained; ``tell`` is called before each step.

    Writes ``streets.mp4`` with its label maps in ``ground_truth/``, ``streets.vss``, ``overlay.mp4`` and
    ``sheet.png``; what an earlier run left there is replaced.

    Raises MissingExtra without the converter's half.
    """
    for package in ("torch", "onnx", "onnxscript", "onnxruntime", "cv2"):
        if find_spec(package) is None:
            raise MissingExtra(package, "convert", "the demo")
    if family not in INTERVALS:
        raise OptionError(f"no sample for family {family!r}: choose {' or '.join(INTERVALS)}")
    interval = INTERVALS[family] if interval is None else interval
    from edge_vss.demo.scene.encode import write
    from edge_vss.runtimes.pipeline import run
    from edge_vss.runtimes.segmenter import load
    from edge_vss.runtimes.sinks import SinkContext, open_sink
    from edge_vss.runtimes.sources import open_source
    from edge_vss.runtimes.tools.benchmark import profile
    from edge_vss.runtimes.tools.evaluate import evaluate

    if frames < 16:
        raise OptionError(f"a demo of {frames} frames shows nothing: give 16 or more")
    policy = f"interval:{interval}"
    clip, ground_truth, bundle = out / "streets.mp4", out / "ground_truth", out / "streets.vss"
    overlay, picture = out / "overlay.mp4", out / "sheet.png"
    _prepare(out, ground_truth)

    tell(f"drawing {frames} frames of a street with their labels, encoding them as H.264")
    write(clip, frames=frames, seed=SEED, labels=ground_truth)
    tell("converting the sample's network, checking the graphs against torch")
    manifest = _converted(bundle, family, policy)
    segmenter = load(bundle)
    tell(f"running every frame through the network and {policy}, in turn")
    speed = profile(segmenter, clip, policy, sink="none")
    tell("comparing both with the ground truth")
    shown = _rows(frames, interval)
    kept: dict[tuple[str, int], tuple[NDArray[np.uint8], Labels, int]] = {}

    def keep(way: str) -> Callable[[Frame, Prediction], None]:
        def take(frame: Frame, prediction: Prediction) -> None:
            if frame.index in shown:
                kept[way, frame.index] = (frame.image, prediction.labels, prediction.frames_since_key)

        return take

    every_frame = evaluate(segmenter, clip, ground_truth, policy="interval:1", on_frame=keep("every"))
    scheduled = evaluate(segmenter, clip, ground_truth, policy=policy, on_frame=keep("scheduled"))
    tell("drawing what was seen")
    with open_source(clip) as source:
        context = SinkContext.of(manifest, source.info)
        run(source, segmenter.session(policy), [open_sink("video", overlay, context)])
    found = DemoReport(
        frames=frames,
        policy=policy,
        every_frame=_way(speed.baseline, every_frame),
        scheduled=_way(speed, scheduled),
        speedup=speed.speedup,
        clip=clip,
        bundle=bundle,
        overlay=overlay,
        picture=picture,
    )
    _draw(picture, found, interval, shown, kept, ground_truth, manifest.classes, manifest.palette)
    return found


def _converted(bundle: Path, family: str, policy: str) -> Manifest:
    from edge_vss.converters.convert import convert

    return convert(replace(sample_model(family), policy=policy), bundle, force=True)


def sample_model(family: str = "propagate") -> Conversion:
    """The packaged network of a family, and how it is converted."""
    from edge_vss.converters.conversion import Conversion
    from edge_vss.demo.sample import ARSEG_HIGH, ARSEG_LOW, MEAN, SIZE, STD, WEIGHTS

    if family == "arseg":
        options = {"variant": "streets-bise18", "high": ARSEG_HIGH}
        return Conversion(ARSEG_LOW, family=family, options=options)
    return Conversion(
        WEIGHTS,
        size=SIZE,
        classes="streets",
        factory=f"{_source('edge_vss.converters.networks.streetnet')}:streetnet",
        mean=MEAN,
        std=STD,
    )


def _prepare(out: Path, ground_truth: Path) -> None:
    # Label maps of a longer clip, from an earlier run, would be too many for this one.
    try:
        ground_truth.mkdir(parents=True, exist_ok=True)
        for old in ground_truth.glob("*.png"):
            old.unlink()
    except OSError as error:
        raise SinkError(
            f"cannot write to {out}: {error.strerror}; choose another folder with --out"
        ) from None


def _source(module: str) -> str:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    return spec.origin


def _way(speed: SpeedReport, scores: EvaluationReport) -> Way:
    return Way(
        fps=speed.fps,
        key_share=speed.key_share,
        miou=scores.miou,
        wiou=scores.wiou,
        mvc8=scores.mvc8,
        mvc16=scores.mvc16,
        gmac_per_frame=scores.gmac_per_frame,
        miou_by_distance=scores.miou_by_distance,
    )


def _rows(frames: int, interval: int) -> list[int]:
    """Frames spread over the clip, each further from its key frame than the one before."""
    picked = []
    for row in range(ROWS):
        frames_since_key = round((row + 1) / ROWS * (interval - 1))
        key = round((row + 0.5) / ROWS * frames) // interval * interval
        picked.append(min(key + frames_since_key, frames - 1))
    return picked


def _draw(
    path: Path,
    found: DemoReport,
    interval: int,
    shown: list[int],
    kept: dict[tuple[str, int], tuple[NDArray[np.uint8], Labels, int]],
    ground_truth: Path,
    classes: tuple[str, ...],
    palette: tuple[tuple[int, int, int], ...],
) -> None:
    import cv2

    from edge_vss.runtimes.drawing.contact_sheet import Tile, draw, paint
    from edge_vss.runtimes.tools.ground_truth import GroundTruth

    maps = GroundTruth(ground_truth)
    rows = []
    for index in shown:
        true = maps[index]
        image, full, _ = kept["every", index]
        _, scheduled, since = kept["scheduled", index]
        after = "a key frame" if since == 0 else f"{since} after its key frame"

        def painted(labels: Labels, caption: str, image: NDArray[np.uint8] = image) -> Tile:
            return Tile(paint(image, labels, palette), caption)

        def agreement(labels: Labels, true: Labels = true) -> str:
            return f"mIoU {miou(confusion(true, labels, len(classes))):.1f}"

        rows.append(
            [
                Tile(image, f"frame {index}"),
                painted(true, "ground truth"),
                painted(full, agreement(full)),
                painted(scheduled, f"{after}, {agreement(scheduled)}"),
            ]
        )
    reached, possible = (f"{way.miou:.1f}" for way in (found.scheduled, found.every_frame))
    gain = f"{found.speedup:.1f} times as fast, mIoU {reached} instead of {possible}"
    title = f"{found.frames} frames, a key frame every {interval}: {gain}"
    columns = ("video", "ground truth", "network on every frame", f"edge-vss, {found.policy}")
    sheet = draw(title, columns, rows, list(zip(classes, palette, strict=True)))
    if not cv2.imwrite(utf8_name(path), sheet[..., ::-1]):
        raise SinkError(f"cannot write {path}: check the folder and its free space")
