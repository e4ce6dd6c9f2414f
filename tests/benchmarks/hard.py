"""Motion where vectors fail: `python -m tests.benchmarks.hard` carries true masks of fast, deforming objects.

Needs EDGE_VSS_DATA with davis/. For each clip and encoding, over 5 and 12 frames: what codec, flow and auto
reach, and how far auto is from the better of the two. With --hevc the clips are encoded again, as HEVC.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_vss.cli.terminal import say, table
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.tools.stream_report import _carry
from tests.helpers.videos import decoded, encode

INTERVALS = (5, 12)
HEVC = {
    "hevc_p": "log-level=none:bframes=0:ref=1:keyint=250:crf=28",
    "hevc": "log-level=none:crf=28",
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measures carried masks on clips that are hard for vectors.")
    parser.add_argument("clips", nargs="*", help="a part of a clip's name; all without one")
    parser.add_argument("--hevc", action="store_true", help="encode the clips as HEVC")
    args = parser.parse_args()
    data = Path(os.environ.get("EDGE_VSS_DATA", ".")) / "davis"
    if not data.is_dir():
        say("hard needs davis/: set EDGE_VSS_DATA to the folder that holds it")
        return
    rows, gains = [], []
    with tempfile.TemporaryDirectory(prefix="edge-vss-hard-") as folder:
        for clip in sorted(data.glob("*.mp4")):
            name = clip.stem.rpartition("_")[0]
            for shape, video in encodings(clip, Path(folder), args.hevc):
                if args.clips and not any(part in f"{name}_{shape}" for part in args.clips):
                    continue
                codec = "hevc" if args.hevc else "codec"
                maps = dict(enumerate(sorted((data / name).glob("*.png"))))
                for interval in INTERVALS:
                    ways = (codec, "flow", "auto")
                    found = [_carry(video, maps, interval, Opening(way), None, None) for way in ways]
                    apart = found[2] - max(found[:2])
                    gains.append(found[2] - found[1])
                    rows.append((f"{name} {shape}", interval, *(round(x, 2) for x in found), round(apart, 2)))
                    say(" ".join(map(str, rows[-1])))
    table(("clip", "interval", "codec", "flow", "auto", "auto - better"), rows)
    say(f"auto over flow, on average: {np.mean(gains):+.2f}")


def encodings(clip: Path, folder: Path, hevc: bool) -> Iterator[tuple[str, Path]]:
    """The clip as it is, or as HEVC: the second encoding of a clip is left out then."""
    shape = clip.stem.rpartition("_")[2]
    if not hevc:
        yield shape, clip
    elif shape == "p":
        images = decoded(clip)
        for name, parameters in HEVC.items():
            path = folder / f"{clip.stem}_{name}.mp4"
            yield name, encode(path, images, "libx265", {"x265-params": parameters})


if __name__ == "__main__":
    main()
