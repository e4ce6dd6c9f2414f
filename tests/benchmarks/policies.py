"""What a policy could gain with trained networks: `python -m tests.benchmarks.policies`, with EDGE_VSS_DATA.

The labels of each frame of 0016E5, as a network gives them, are carried to each later frame once. Then any
choice of key frames can be scored. Each measure chooses as many key frames as a fixed interval does, from ten
first frames. The last row knows how many pixels of each frame will be right, which no policy can.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.cli.terminal import say, table
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.decisions import Measured
from edge_vss.metrics import confusion, miou
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.staleness import staleness_of
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.runtimes.tracing.root_map import Trace, Tracer, thumb
from edge_vss.video import Frame
from tests.benchmarks.both_ways_trained import BUNDLES, IGNORED

CLASSES, LONGEST, FIRSTS = 12, 40, 10
INTERVALS = (4, 5, 8, 12, 16)
NETWORKS = ("arseg", "masks")


@dataclass(frozen=True)
class Way:
    """From a key frame to a later one: how its labels do there, and what can be measured of it."""

    counts: NDArray[np.int64]
    distance: int
    measured: Measured
    unlike_cells: float
    """Share of the cells, in percent, that are more than 24 grey levels off."""
    unlike_edges: float
    """Grey levels that the cells are off where labels border on each other."""


MEASURES: dict[str, Callable[[Way], float]] = {
    "adaptive": lambda way: staleness_of(way.measured.error, way.distance),
    "brightness error": lambda way: way.measured.error,
    "the same at the borders of labels": lambda way: way.unlike_edges,
    "cells that are unlike": lambda way: way.unlike_cells + way.distance,
    "cells without measured motion": lambda way: 100 * (1 - way.measured.known) + way.distance,
    "distance travelled": lambda way: way.measured.travel_px,
    "the larger of error and distance": lambda way: max(way.measured.error, way.measured.travel_px),
}


def ways_of(frames: list[Frame], labels: list[NDArray[np.uint8]], truth: GroundTruth) -> list[list[Way]]:
    """From every frame to those after it."""
    found = []
    for key, mine in enumerate(labels):
        tracer, ways = Tracer(), list[Way]()
        tracer.anchor(frames[key])
        borders = (cv2.morphologyEx(mine, cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) > 0).astype(np.uint8)
        for frame in frames[key : key + LONGEST]:
            if ways:
                tracer.follow(frame)
            ways.append(_way(tracer.trace, frame, mine, borders, truth[frame.index]))
        found.append(ways)
    return found


def _way(
    trace: Trace, frame: Frame, labels: NDArray[np.uint8], borders: NDArray[np.uint8], true: NDArray[np.uint8]
) -> Way:
    unlike = trace.unlike(thumb(frame)).astype(np.float64)
    near = cv2.resize(trace.carry(borders), unlike.shape[::-1], interpolation=cv2.INTER_AREA) > 0
    return Way(
        confusion(true, trace.carry(labels), CLASSES, IGNORED),
        trace.frames_since_key,
        trace.measured(frame),
        100 * float((unlike > 24).mean()),
        float(unlike[near].mean()) if near.any() else 0.0,
    )


def chosen(
    ways: list[list[Way]], first: int, measure: Callable[[Way], float], limit: float
) -> tuple[float, int]:
    """mIoU in percent, and the key frames, where each measure from the limit on makes one."""
    counts, key, keys = ways[first][0].counts.copy(), first, 1
    for place in range(first + 1, len(ways)):
        distance = place - key
        if distance >= LONGEST - 1 or measure(ways[key][distance]) >= limit:
            key, keys, distance = place, keys + 1, 0
        counts += ways[key][distance].counts
    return miou(counts, IGNORED), keys


def with_as_many(ways: list[list[Way]], first: int, measure: Callable[[Way], float], keys: int) -> float:
    """mIoU with the lowest limit that makes no more key frames."""
    low, high = 0.01, 400.0
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if chosen(ways, first, measure, middle)[1] > keys else (low, middle)
    return chosen(ways, first, measure, high)[0]


def at_best(ways: list[list[Way]], first: int, keys: int) -> float:
    """mIoU of the key frames that leave the most pixels right."""
    end = len(ways)
    right = np.full((end + 1, keys + 1), -1.0)
    right[first, 0] = 0
    before = np.zeros((end + 1, keys + 1), int)
    for used in range(keys):
        for key in range(first, end):
            so_far = right[key, used]
            for way in ways[key] if so_far >= 0 else []:
                so_far += np.trace(way.counts[:IGNORED, :IGNORED])
                if so_far > right[key + way.distance + 1, used + 1]:
                    right[key + way.distance + 1, used + 1] = so_far
                    before[key + way.distance + 1, used + 1] = key
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    for used in range(keys, 0, -1):
        key = before[end, used]
        counts += sum((way.counts for way in ways[key][: end - key]), np.zeros_like(counts))
        end = key
    return miou(counts, IGNORED)


def gains(ways: list[list[Way]], measure: Callable[[Way], float] | None) -> Iterator[str]:
    """Against each interval. Without a measure, key frames are chosen at their best."""
    for interval in INTERVALS:
        found = []
        for first in range(FIRSTS):
            fixed, keys = chosen(ways, first, lambda way: way.distance, interval)
            one = at_best(ways, first, keys) if measure is None else with_as_many(ways, first, measure, keys)
            found.append(one - fixed)
        yield f"{np.mean(found):+.2f} ({min(found):+.2f})"


def main() -> None:
    """Print a table for each network."""
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    if not (data / "video").is_dir():
        say("policies needs camvid/ and video/: set EDGE_VSS_DATA to the folder that holds them")
        return
    truth = GroundTruth(data / "camvid" / "valannot")
    with open_source(data / "video" / "0016E5_h264_p_refs1_g250.mp4") as source:
        frames = list(source)
    for name in NETWORKS:
        with tempfile.TemporaryDirectory(prefix="edge-vss-policies-") as folder:
            convert(Conversion(size=(360, 480), **BUNDLES[name]), Path(folder) / "made.vss")
            session = load(Path(folder) / "made.vss").session("interval:1")
            ways = ways_of(frames, [session.step(frame).labels for frame in frames], truth)
        say(
            f"{name}: mIoU against a fixed interval with as many key frames, mean of ten first frames (worst)"
        )
        rows = [(what, *gains(ways, measure)) for what, measure in MEASURES.items()]
        rows.append(("knows what will be right", *gains(ways, None)))
        table(("measure", *(f"each {interval}th" for interval in INTERVALS)), rows)


if __name__ == "__main__":
    main()
