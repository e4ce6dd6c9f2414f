"""What people would take instead: a small network on every frame, ``python -m tests.benchmarks.against``.

Each network labels every frame, and goes through edge-vss: with a key frame every twelfth, and in the
background. Lateness counts all from the packet to the labels, at 15 frames a second, as from a camera. Name
bundles to measure your own: ``edge-vss convert yours.onnx -o yours.vss``, then
``python -m tests.benchmarks.against yours.vss``. Real video comes from the folder that EDGE_VSS_DATA names.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_vss.cli.terminal import say, table
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.tools.benchmark import profile
from edge_vss.runtimes.tools.pacing import PaceSide, at_pace, streams_at_pace
from edge_vss.video import Size
from tests.benchmarks.fast import DEADLINE_SECONDS, EACH_KEY, P_ONLY, clip

PACE_FPS = 15.0
PACED_FRAMES = 90
STREAMS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MOST_MS = 1e3 * DEADLINE_SECONDS
SPARSE = f"interval:{EACH_KEY}"


@dataclass(frozen=True)
class Network:
    """One to measure."""

    name: str
    bundle: Path
    times_as_fast: float | None = None
    """What a key frame every twelfth has to reach."""


def networks(folder: Path) -> Iterator[Network]:
    """Three networks as bundles, without weights: speed does not depend on them."""
    from edge_vss.converters import verify
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert

    verify.STEPS = ("start", "nonkey")
    helpers = Path(__file__).parents[1] / "helpers"
    made: list[tuple[str, str, Size, float | None]] = [
        ("small, 1.5 M parameters", f"{helpers / 'small_network.py'}:SmallNetwork", (360, 480), None),
        ("like ESPNet", f"{helpers / 'espnet.py'}:espnet", (360, 480), 4),
        ("BiSeNet18, 13 M parameters", "edge_vss.converters.networks.bisenet:BiSeNet18(11)", (720, 960), 6),
    ]
    for number, (name, factory, size, wanted) in enumerate(made):
        path = folder / f"{number}.vss"
        say(f"converting {name}")
        convert(Conversion(size=size, classes="camvid", factory=factory), path)
        yield Network(f"{name}, {size[1]}×{size[0]}", path, wanted)


def measured(network: Network, folder: Path) -> Iterator[tuple[str, ...]]:
    """Every frame, a key frame every twelfth, the same from both sides, and in the background."""
    segmenter = load(network.bundle)
    video = clip(folder, segmenter.manifest.frame_size, P_ONLY)
    found = profile(segmenter, video, SPARSE, sink="none")
    both = profile(segmenter, video, SPARSE, sink="none", both_ways=True)
    each = late_ms(at_pace(segmenter, video, "interval:1", pace=PACE_FPS, limit=PACED_FRAMES).waiting)
    some = late_ms(at_pace(segmenter, video, SPARSE, pace=PACE_FPS, limit=PACED_FRAMES).waiting)
    behind = late_ms(at_pace(segmenter, video, "continuous", pace=PACE_FPS, limit=PACED_FRAMES).background)
    gmac, times = segmenter.manifest.gmac_per_frame, f"{found.speedup:.1f}"
    wanted = "" if network.times_as_fast is None else f"≥ {network.times_as_fast:g}"
    of_every, of_some = (f"{gmac(share):.2f}" for share in (1, 1 / EACH_KEY))
    keep_up = (f"{int(fps / PACE_FPS)}" for fps in (found.baseline.fps, found.fps))
    yield network.name, "every frame", of_every, f"{found.baseline.fps:.1f}", "1", "", each, next(keep_up)
    yield "", SPARSE, of_some, f"{found.fps:.1f}", times, wanted, some, next(keep_up)
    yield "", "the same, both ways", "", f"{both.fps:.1f}", f"{both.speedup:.1f}", "", "", ""
    yield "", "in the background", "", "", "", "", behind, f"{most_streams(segmenter, video)}"


def late_ms(side: PaceSide) -> str:
    """The p95 from packet to labels."""
    return f"{side.timeliness.packet_to_label_ms.p95:.1f}"


def most_streams(segmenter: Segmenter, video: Path) -> int:
    """The most of STREAMS at once whose labels all come in time, with none missing."""
    most = 0
    for streams in STREAMS:
        found = streams_at_pace(segmenter, video, streams, pace=PACE_FPS, limit=PACED_FRAMES)
        if found.missed or found.p99_ms > MOST_MS:
            break
        most = streams
    return most


def main() -> None:
    """Measure three networks, or the bundles named."""
    parser = argparse.ArgumentParser(description="A network on every frame, and through edge-vss.")
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE", help="measure these instead")
    args = parser.parse_args()
    if "EDGE_VSS_DATA" not in os.environ:
        say("against needs video/: set EDGE_VSS_DATA to the folder that holds it")
        return
    rows = list[tuple[str, ...]]()
    with tempfile.TemporaryDirectory(prefix="edge-vss-bench-") as name:
        os.environ["EDGE_VSS_CACHE"] = f"{name}/cache"
        given = [Network(path.stem, path) for path in args.bundles]
        for network in given or networks(Path(name)):
            for row in measured(network, Path(name)):
                say(" | ".join(row))
                rows.append(row)
    late, streams = "p95 packet → labels ms", f"streams at {PACE_FPS:g} fps"
    table(("network", "labels", "GMAC / frame", "fps", "times as fast", "wanted", late, streams), rows)


if __name__ == "__main__":
    main()
