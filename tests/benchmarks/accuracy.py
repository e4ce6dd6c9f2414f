"""The accuracy rows of the documents: `python -m tests.benchmarks.accuracy`, with EDGE_VSS_DATA.

True label maps of 101 frames are carried along every stream's motion, and along what `adaptive` chooses.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from edge_vss.cli.terminal import say, table
from edge_vss.decisions import Policy
from edge_vss.metrics import confusion, miou
from edge_vss.runtimes.policy import Adaptive, Interval
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.runtimes.tools.stream_report import CARRIERS, report
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.video import Frame
from tests.helpers.videos import P_ONLY, decoded, encode, stills

IGNORED = 11
INTERVALS = (5, 12)
STREAMS = {
    "H.264, P only, GOP 250": "0016E5_h264_p_refs1_g250.mp4",
    "H.264, P only, GOP 12": "0016E5_h264_p_refs1_g12.mp4",
    "MPEG-4, GOP 12": "0016E5_mpeg4_g12.mp4",
    "HEVC, x265's defaults": "0016E5_hevc_default.mp4",
}
CUTS = (*range(23), *range(60, 88), *range(30, 55), *range(85, 101), *range(10, 31))
"""Frames of 0016E5 in the order of a clip with four cuts."""


def main() -> None:
    """Print both tables."""
    argparse.ArgumentParser(description="Measures the accuracy rows of the README.").parse_args()
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    if not (data / "video").is_dir():
        say("accuracy needs camvid/ and video/: set EDGE_VSS_DATA to the folder that holds them")
        return
    folder = data / "camvid" / "valannot"
    with tempfile.TemporaryDirectory(prefix="edge-vss-accuracy-") as scratch:
        frames = decoded(data / "video" / STREAMS["H.264, P only, GOP 250"])
        # From the stills: frames that were coded once are easier to code again.
        images = stills(data / "camvid" / "val")
        defaults = encode(Path(scratch) / "defaults.mp4", images, options={}, fps=15)
        videos = {name: data / "video" / file for name, file in STREAMS.items()}
        p_only = {"crf": "30", "x265-params": "bframes=0:ref=1:log-level=none"}
        videos["HEVC, P only, one reference"] = encode(
            Path(scratch) / "hevc.mp4", images, "libx265", p_only, fps=15
        )
        videos["H.264, libx264's defaults (B-frames, 3 references)"] = defaults
        carrying(videos, folder)
        cuts = encode(Path(scratch) / "cuts.mp4", [frames[i] for i in CUTS], options=P_ONLY, fps=15)
        steady = videos["H.264, P only, GOP 250"]
        choosing({"steady drive": (steady, range(101)), "with four cuts": (cuts, CUTS)}, GroundTruth(folder))


def carrying(videos: dict[str, Path], truth: Path) -> None:
    """mIoU of every provider on every stream."""
    rows = []
    for name, video in videos.items():
        found = [report(video, truth, interval, ignore=IGNORED).miou or {} for interval in INTERVALS]
        pairs = [" / ".join("–" if f[way] is None else f"{f[way]:.2f}" for f in found) for way in CARRIERS]
        rows.append((name, *pairs))
    say(f"mIoU of true labels carried over {' / '.join(map(str, INTERVALS))} frames")
    table(("stream", *CARRIERS), rows)


def choosing(clips: dict[str, tuple[Path, range | tuple[int, ...]]], truth: GroundTruth) -> None:
    """mIoU of `adaptive` beside `interval` with as many key frames, as a mean over ten first frames."""
    rows = []
    for name, (video, order) in clips.items():
        with open_source(video) as source:
            frames = list(source)
        maps = [truth[i] for i in order]
        for interval in (4, 5, 8, 12):
            pairs = [matched(frames[first:], maps[first:], interval) for first in range(10)]
            fixed, adaptive = np.mean(pairs, axis=0)
            rows.append((f"{name}, every {interval}th", round(fixed, 2), round(adaptive, 2)))
    say("mIoU of true labels carried from the key frames that a policy chooses")
    table(("key frames", "interval", "adaptive"), rows)


def matched(frames: list[Frame], maps: list[np.ndarray], interval: int) -> tuple[float, float]:
    """mIoU of a fixed interval, and of the adaptive policy with the limit that spends no more key frames."""
    fixed, keys = carried(frames, maps, Interval(interval))
    low, high = 0.1, 120.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if carried(frames, maps, Adaptive(middle, 99))[1] > keys else (low, middle)
    adaptive, spent = carried(frames, maps, Adaptive(high, 99))
    assert spent <= keys
    return fixed, adaptive


def carried(frames: list[Frame], maps: list[np.ndarray], policy: Policy) -> tuple[float, int]:
    """mIoU of true label maps carried from the key frames that a policy chooses, and how many those are."""
    counts, keys, tracer, given = np.zeros((12, 12), np.int64), 0, Tracer(), maps[0]
    for place, (shown, true) in enumerate(zip(frames, maps, strict=True)):
        if not place or shown.start or policy(shown, tracer.follow(shown)).route == "key":
            tracer.anchor(shown)
            given, keys = true, keys + 1
        counts += confusion(true, given if given is true else tracer.carry(given), 12, IGNORED)
    return miou(counts, IGNORED), keys


if __name__ == "__main__":
    main()
