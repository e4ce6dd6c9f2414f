"""One packet is taken out of streams of six codecs in four containers: the loss is told before it is seen.

With EDGE_VSS_SOAK=1, 2,000 streams instead of 100. The figures of docs/motion.md are what that prints.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.sources._continuity import JOINED
from edge_vss.video import LOST_PACKETS
from tests.helpers import losses
from tests.helpers.losses import FRAMES, RECIPES, Whole, cases, outcome, whole, without
from tests.helpers.videos import B_FRAMES, decoded, drop, encode, pan, remux

SOAK = os.environ.get("EDGE_VSS_SOAK") == "1"
NUMBERED = ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4")
MOST_SILENT = 0.01


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Whole]:
    """One whole stream of each recipe."""
    folder = tmp_path_factory.mktemp("whole")
    return {number: whole(folder, number) for number in range(len(RECIPES))}


def starts(path: Path, motion: str = "none") -> dict[int, str]:
    with open_source(path, motion=motion) as source:
        return {frame.index: frame.start for frame in source if frame.start}


def test_a_lost_packet_is_told_before_it_is_seen(
    streams: dict[int, Whole], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = cache(lambda number: streams.get(number) or whole(tmp_path, number))
    harmful, silent = Counter[str](), Counter[str]()
    missed: list[str] = []
    for case in cases(2000 if SOAK else 100):
        stream = made(case.recipe)
        path = without(stream.path, tmp_path / f"torn.{case.suffix}", [case.lost])
        came = outcome(stream, path, case.lost, case.motion)
        codec = stream.recipe.codec
        harmful[codec] += bool(came.wrong) or came.frames < FRAMES - 1
        if came.silent:
            silent[codec] += 1
            missed.append(f"{case}: wrong from {came.wrong[:1]}, starts {came.starts}, {came.frames} frames")
    with capsys.disabled():
        print()
        for codec in sorted(harmful):
            print(f"{codec}: {silent[codec]} of {harmful[codec]} untold")
    for codec in NUMBERED:
        assert silent[codec] <= MOST_SILENT * harmful[codec], "\n".join(missed)


@pytest.mark.parametrize("number", range(len(RECIPES)), ids=lambda n: f"{RECIPES[n].codec}-{n}")
def test_a_whole_stream_begins_once(number: int, streams: dict[int, Whole], tmp_path: Path) -> None:
    stream = streams[number]
    for suffix in stream.recipe.containers:
        path = without(stream.path, tmp_path / f"whole.{suffix}", [])
        assert starts(path) == {0: "first frame"}, suffix
