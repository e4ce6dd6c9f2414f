"""What doubting vectors costs on a drive: `python -m tests.benchmarks.doubt`, with EDGE_VSS_DATA.

Processor seconds of decoding, motion and trace-back with `auto`, over the same without doubt, in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from time import process_time
from unittest import mock

from edge_vss.cli.terminal import say, table
from edge_vss.runtimes.motion import auto
from edge_vss.runtimes.motion._doubt import Verdict
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tracing.root_map import Tracer

DRIVES = ("0016E5_h264_p_refs1_g250.mp4", "0016E5_h264_p_refs1_g12.mp4", "udacity_solidWhiteRight.mp4")
ROUNDS = 9


class Certain:
    """In the place of doubt: there is none."""

    def __call__(self, *_: object, guessed: bool = False) -> Verdict:
        return Verdict()

    def forget(self) -> None:
        """Nothing to forget."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measures what doubt costs where there is none.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    data = Path(os.environ.get("EDGE_VSS_DATA", ".")) / "video"
    if not data.is_dir():
        say("doubt needs video/: set EDGE_VSS_DATA to the folder that holds it")
        return
    rows = []
    for name in DRIVES:
        ratios = []
        for _ in range(rounds):
            with mock.patch.object(auto, "Doubt", Certain):
                without = seconds(data / name)
            ratios.append(seconds(data / name) / without)
        rows.append((name, round(statistics.median(ratios), 3), round(min(ratios), 3), round(max(ratios), 3)))
        say(" ".join(map(str, rows[-1])))
    table(("drive", "with doubt / without", "least", "most"), rows)


def seconds(video: Path) -> float:
    """Processor seconds of a whole clip, a key frame each fifth."""
    tracer, began = Tracer(), process_time()
    with open_source(video) as source:
        for frame in source:
            if frame.index % 5 == 0:
                tracer.anchor(frame)
            else:
                tracer.follow(frame)
                tracer.root((90, 160))
    return process_time() - began


if __name__ == "__main__":
    main()
