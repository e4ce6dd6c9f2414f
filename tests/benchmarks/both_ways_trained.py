"""What labels from both sides gain with trained networks: `python -m tests.benchmarks.both_ways_trained`.

Needs EDGE_VSS_DATA. The trained pairs of tests/data run on 0016E5, with key frames at intervals. The time is
what a frame in between spends in all stages but decoding, the median of all such frames.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from edge_vss.cli.terminal import say, table
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.networks.arseg import VARIANTS
from edge_vss.decisions import Prediction
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.tools.evaluate import evaluate
from edge_vss.video import Frame

WEIGHTS = Path(__file__).resolve().parents[1] / "data"
MPVSS = WEIGHTS / "mpvss_camvid"
IGNORED = 11
INTERVALS = (5, 12, 24)
BUNDLES: dict[str, dict[str, Any]] = {
    "arseg": {
        "model": WEIGHTS / "arseg_camvid" / "low.pth",
        "family": "arseg",
        "options": {"variant": "camvid-bise18", "high": WEIGHTS / "arseg_camvid" / "high.pth"},
    },
    "labels": {
        "model": WEIGHTS / "arseg_camvid" / "high.pth",
        "factory": "edge_vss.converters.networks.bisenet:BiSeNet18(12, 0.25)",
        "classes": "camvid12",
        "mean": VARIANTS["camvid-bise18"].mean,
        "std": VARIANTS["camvid-bise18"].std,
    },
    "mpvss": {
        "model": MPVSS / "segmentor",
        "family": "mpvss",
        "options": {"flow": MPVSS / "flow.pth", "align": "exact"},
    },
    "masks": {"model": MPVSS / "segmentor", "options": {"carry": "masks"}},
    "scores": {"model": MPVSS / "segmentor", "options": {"carry": "scores"}},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measures labels from both sides with trained networks.")
    parser.add_argument("bundles", nargs="*", help=f"of {', '.join(BUNDLES)}; all without one")
    parser.add_argument("--video", default="0016E5_h264_p_refs1_g250.mp4", help="a file of video/")
    args = parser.parse_args()
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    if not (data / "video").is_dir():
        say("both_ways_trained needs camvid/ and video/: set EDGE_VSS_DATA to the folder that holds them")
        return
    rows = []
    with tempfile.TemporaryDirectory(prefix="edge-vss-both-") as folder:
        for name in args.bundles or BUNDLES:
            path = Path(folder) / f"{name}.vss"
            convert(Conversion(size=(360, 480), **BUNDLES[name]), path)
            segmenter = load(path, "onnxruntime")
            every, _, _ = _measured(segmenter, data, args.video, 1, False)
            for interval in INTERVALS:
                forward, both = (
                    _measured(segmenter, data, args.video, interval, ways) for ways in (False, True)
                )
                pairs = [f"{one:.2f} / {other:.2f}" for one, other in zip(forward, both, strict=True)]
                row = (name, f"interval:{interval}", f"{every:.1f}", *pairs)
                rows.append(row)
                say(" ".join(row))
    table(("bundle", "policy", "every frame", "mIoU forward / both", "mVC8", "ms in between"), rows)


def _measured(
    segmenter: Segmenter, data: Path, video: str, interval: int, both_ways: bool
) -> tuple[float, float, float]:
    """mIoU and mVC8 in percent, and the milliseconds of a frame in between."""
    taken: list[float] = []

    def on_frame(frame: Frame, prediction: Prediction) -> None:
        if prediction.decision.route == "nonkey":
            taken.append(1e3 * (sum(prediction.seconds.values()) - sum(frame.seconds.values())))

    found = evaluate(
        segmenter,
        data / "video" / video,
        data / "camvid" / "valannot",
        policy=f"interval:{interval}",
        ignore=IGNORED,
        both_ways=both_ways,
        on_frame=on_frame,
    )
    return found.miou, found.mvc8, median(taken) if taken else 0.0


if __name__ == "__main__":
    main()
