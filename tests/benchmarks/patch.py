"""Whether it pays to run a network on a part of the frame: `python -m tests.benchmarks.patch`, with
EDGE_VSS_DATA.

A patch is a quarter of the frame: the one where carried labels are most in doubt. The network labels it in
its own pixels, by a graph for half the height and width, which costs a quarter. The result is pasted into
the carried labels, and carried on from there. Against it stand key frames alone at the same cost.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.cli.terminal import say, table
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.metrics import confusion, miou
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.staleness import measured
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.runtimes.tracing.root_map import Trace, Tracer, thumb
from edge_vss.video import Frame
from tests.benchmarks.both_ways_trained import BUNDLES, IGNORED

CLASSES, FIRSTS = 12, 10
SIZE, PART = (360, 480), (180, 240)
NETWORKS = ("arseg", "masks")
SCHEDULES = ((8, 4), (10, 4), (15, 8), (16, 4), (24, 8), (12, 2), (24, 4))
"""A key frame every so often, and so many patches until the next one."""

Labels = NDArray[np.uint8]
OfPicture = Callable[[NDArray[np.uint8]], Labels]


@dataclass
class Layer:
    """Labels that are valid in a part of the frame that they were made for, and the way back to it."""

    labels: Labels
    valid: Labels
    trace: Trace


def anchored(frame: Frame) -> Trace:
    """The way from a frame to itself."""
    tracer = Tracer()
    tracer.anchor(frame)
    return tracer.trace


def shown(layers: list[Layer]) -> Labels:
    """The newest labels for every pixel."""
    labels = layers[0].trace.carry(layers[0].labels)
    for layer in layers[1:]:
        np.copyto(labels, layer.trace.carry(layer.labels), where=layer.trace.carry(layer.valid) > 0)
    return labels


def most_doubtful(layers: list[Layer], frame: Frame) -> tuple[int, int]:
    """Where the patch begins: row and column."""
    doubt = np.zeros(layers[0].trace.cells, np.float32)
    for layer in layers:
        valid = (
            cv2.resize(layer.trace.carry(layer.valid), doubt.shape[::-1], interpolation=cv2.INTER_AREA) > 0
        )
        np.copyto(doubt, measured(layer.trace, thumb(frame)).per_cell, where=valid)
    rows, columns = (round(n * part / whole) for n, part, whole in zip(doubt.shape, PART, SIZE, strict=True))
    sums = cv2.integral(doubt)
    windows = (
        sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    )
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    last = (SIZE[0] - PART[0], SIZE[1] - PART[1])
    return min(int(top) * 8, last[0]), min(int(left) * 8, last[1])


def patched(
    frames: list[Frame], whole: list[Labels], part: OfPicture, truth: list[Labels], key: int, patches: int
) -> float:
    """mIoU in percent with a key frame every ``key`` frames and so many patches between two."""
    turns = {round((i + 1) * key / (patches + 1)) for i in range(patches)}
    counts, layers, since = np.zeros((CLASSES, CLASSES), np.int64), list[Layer](), 0
    everywhere = np.ones(SIZE, np.uint8)
    for frame, labels, true in zip(frames, whole, truth, strict=True):
        since = (since + 1) % key
        for layer in layers:
            layer.trace = layer.trace.and_then(frame)
        if not layers or not since:
            layers, since = [Layer(labels, everywhere, anchored(frame))], 0
        elif since in turns:
            top, left = most_doubtful(layers, frame)
            place = (slice(top, top + PART[0]), slice(left, left + PART[1]))
            made, valid = np.zeros_like(everywhere), np.zeros_like(everywhere)
            made[place], valid[place] = part(np.ascontiguousarray(frame.image[place])), 1
            layers.append(Layer(made, valid, anchored(frame)))
        counts += confusion(true, shown(layers), CLASSES, IGNORED)
    return miou(counts, IGNORED)


def main() -> None:
    """Print a table for each network."""
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    if not (data / "video").is_dir():
        say("patch needs camvid/ and video/: set EDGE_VSS_DATA to the folder that holds them")
        return
    labels_of = GroundTruth(data / "camvid" / "valannot")
    with open_source(data / "video" / "0016E5_h264_p_refs1_g250.mp4") as source:
        frames = list(source)
    truth = [labels_of[frame.index] for frame in frames]
    for name in NETWORKS:
        with tempfile.TemporaryDirectory(prefix="edge-vss-patch-") as folder:
            paths = {size: Path(folder) / f"{size[0]}.vss" for size in (SIZE, PART)}
            for size, path in paths.items():
                convert(Conversion(size=size, **BUNDLES[name]), path)
            session, small = (load(path) for path in paths.values())
            whole = [session.session("interval:1").step(frame).labels for frame in frames]

            def part(image: NDArray[np.uint8], small: Segmenter = small) -> Labels:
                with open_source([image], motion="none") as source:
                    return small.session("interval:1").step(next(iter(source))).labels

            rows = []
            for key, patches in SCHEDULES:
                as_often = key / (1 + patches / 4)
                found = np.array(
                    [
                        [
                            patched(frames[i:], whole[i:], part, truth[i:], *schedule)
                            for schedule in ((key, patches), (round(as_often), 0), (key, 0))
                        ]
                        for i in range(FIRSTS)
                    ]
                )
                gain = found[:, 0] - found[:, 1]
                rows.append(
                    (
                        f"{patches} patches, a key frame each {key}th",
                        f"each {as_often:g}th",
                        *found.mean(0).round(2),
                        f"{gain.mean():+.2f} ({gain.min():+.2f})",
                    )
                )
        say(f"{name}: mIoU, mean of {FIRSTS} first frames")
        columns = ("schedule", "same cost", "patches", "key frames alone", "without patches", "gain (worst)")
        table(columns, rows)


if __name__ == "__main__":
    main()
