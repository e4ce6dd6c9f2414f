"""One packet is taken out of streams of six codecs in four containers: the loss is told before it is seen.

With EDGE_VSS_SOAK=1, 2,000 streams instead of 100. The figures of docs/motion.md are what that prints.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.sources._continuity import JOINED
from edge_vss.video import StartReason
from tests.helpers import losses, toys
from tests.helpers.losses import FRAMES, RECIPES, Whole, cases, outcome, whole, without
from tests.helpers.videos import B_FRAMES, P_ONLY, drop, encode, remux

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


def test_a_whole_live_stream_begins_once(streams: dict[int, Whole]) -> None:
    for number, stream in streams.items():
        with open_source(stream.path, motion="none", live=True) as source:
            assert [frame.start for frame in source if frame.start] == ["first frame"], number


@pytest.mark.parametrize("number", [n for n, recipe in enumerate(RECIPES) if recipe.codec in NUMBERED])
def test_closed_up_times_hide_nothing_from_the_numbers(
    number: int, streams: dict[int, Whole], tmp_path: Path
) -> None:
    stream = streams[number]
    for lost in (3, 25, 40):
        path = without(stream.path, tmp_path / f"{lost}.{stream.recipe.base}", [lost], closed=True)
        came = outcome(stream, path, lost)
        assert not came.silent, (lost, came)


@pytest.mark.parametrize("first", [1, 5, 13])
def test_a_stream_cut_between_key_frames_lost_nothing(
    first: int, streams: dict[int, Whole], tmp_path: Path
) -> None:
    read = 0
    for number, stream in streams.items():
        for suffix in stream.recipe.containers:
            path = tmp_path / f"{number}-{first}.{suffix}"
            without(stream.path, path, range(first), closed=True)
            try:
                assert starts(path) == {0: "first frame"}, (number, suffix)
                read += 1
            except SourceError as error:
                # Nothing that can be decoded comes after the cut.
                assert "no frame" in str(error) or "is not a video" in str(error)
    assert read > 20


@pytest.mark.parametrize("number", [n for n, recipe in enumerate(RECIPES) if "ts" in recipe.containers])
def test_joined_recordings_lost_nothing(number: int, streams: dict[int, Whole], tmp_path: Path) -> None:
    content = without(streams[number].path, tmp_path / "one.ts", []).read_bytes()
    path = tmp_path / "two.ts"
    path.write_bytes(content + content)
    assert starts(path) == {0: "first frame", FRAMES: JOINED}


@pytest.mark.parametrize("number", [0, 3, 7, 9, 13, 18, 24])
def test_an_edited_file_lost_nothing(number: int, streams: dict[int, Whole], tmp_path: Path) -> None:
    # What lies before time 0 is left out by an edit list.
    path = without(streams[number].path, tmp_path / "edited.mp4", [], earlier_seconds=0.4)
    with open_source(path, motion="none") as source:
        frames = list(source)
    assert [frame.start for frame in frames if frame.start] == ["first frame"] and len(frames) < FRAMES


RATES: dict[str, Callable[[np.random.Generator], NDArray[np.float64]]] = {
    "random": lambda random: random.uniform(0.02, 0.2, FRAMES - 1),
    "every second or third picture left out": lambda random: random.choice(
        [0.04, 0.08], FRAMES - 1, p=[0.6, 0.4]
    ),
    "jitter": lambda random: 0.04 + random.uniform(-0.004, 0.004, FRAMES - 1),
    "telecine": lambda random: np.resize([0.033, 0.05], FRAMES - 1),
    "two rates": lambda random: np.repeat([0.04, 0.08], FRAMES // 2),
    "one long picture": lambda random: np.where(np.arange(FRAMES - 1) == 20, 0.4, 0.04),
}
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", P_ONLY),
    "h264 with B-frames": ("libx264", {**B_FRAMES, "g": "20"}),
    "hevc": ("libx265", {"x265-params": "log-level=none:bframes=0"}),
    "hevc with B-frames": ("libx265", {"x265-params": "log-level=none:bframes=4:keyint=20"}),
    "mpeg4": ("mpeg4", {"g": "12"}),
    "mpeg4 with B-frames": ("mpeg4", {"g": "12", "bf": "2"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_rate_that_varies_is_no_loss(encoder: str, rate: str, tmp_path: Path) -> None:
    codec, options = ENCODERS[encoder]
    times = [0.0, *np.cumsum(RATES[rate](np.random.default_rng(1))).tolist()]
    path = encode(tmp_path / "v.mp4", losses.scene(3), codec, options, times=times)
    found = starts(path)
    found.update(starts(remux(path, tmp_path / "v.mkv", lambda _, content: content)))
    if rate == "one long picture" and codec in ("mpeg4", "libvpx-vp9"):
        # Nothing in these streams tells it from a loss. docs/motion.md says so.
        assert set(found.values()) == {"first frame", StartReason.LOST_PACKETS}
    else:
        assert found == {0: "first frame"}


def test_hevc_shows_what_can_be_shown_and_recovers(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:keyint=10:min-keyint=10:bframes=0:no-open-gop=1"}
    path = encode(tmp_path / "v.mp4", losses.scene(1, 30), "libx265", options)
    with open_source(path, motion="none") as source:
        whole_lumas = [frame.luma.copy() for frame in source]
    with open_source(drop(path, tmp_path / "torn.mp4", [4]), motion="none") as source:
        frames = list(source)
    assert {frame.index: frame.start for frame in frames if frame.start} == {
        0: "first frame",
        4: StartReason.LOST_PACKETS,
    }
    assert len(frames) == 29
    for frame, expected in zip(frames[9:], whole_lumas[10:], strict=True):
        np.testing.assert_array_equal(frame.luma, expected)


def test_two_losses_in_hevc_are_two(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:keyint=10:min-keyint=10:bframes=0:no-open-gop=1"}
    path = encode(tmp_path / "v.mp4", losses.scene(1, 40), "libx265", options)
    found = starts(drop(path, tmp_path / "torn.mp4", [4, 26]))
    assert found == {0: "first frame", 4: StartReason.LOST_PACKETS, 25: StartReason.LOST_PACKETS}


def test_damage_right_after_the_first_packet_is_told(p_only: Path, tmp_path: Path) -> None:
    def damage(number: int, content: bytes) -> bytes:
        # A length prefix that points past the end: the decoder refuses the whole packet.
        return b"\xff\xff\xff\xf0" + content[4:] if number == 1 else content

    torn = remux(p_only, tmp_path / "torn.mp4", damage)
    for motion in ("none", "codec"):
        assert starts(torn, motion) == {0: "first frame", 1: "damaged packet"}


def test_a_loss_after_which_no_frame_comes_is_counted(p_only: Path, tmp_path: Path) -> None:
    # The last packet's number tells of the loss before it; the decoder has no parameter set for the rest.
    # NAL header; first macroblock 0, slice type 5, parameter set 7, frame number 29 modulo 16.
    slice_header = int("1" + "00110" + "0001000" + f"{29 % 16:04b}" + "1" * 7, 2).to_bytes(3, "big")
    last = (4).to_bytes(4, "big") + b"\x41" + slice_header
    torn = remux(
        p_only,
        tmp_path / "torn.mp4",
        lambda number, content: None if number == 28 else last if number == 29 else content,
    )
    with open_source(torn, motion="none") as source:
        frames = list(source)
        assert [frame.start for frame in frames if frame.start] == ["first frame"]
        # The decoder of PyAV 17 keeps one more back.
        assert len(frames) in (27, 28)
        assert source.untold_losses == 1
    with open_source(f"encode:{torn}") as encoding:
        assert len(list(encoding)) == len(frames) and encoding.untold_losses == 1
    with open_source(torn) as source:
        assert run(source, toys.segmenter().session("interval:5")).losses == 1


def test_real_videos_lost_nothing(data: Path) -> None:
    videos = sorted(data.glob("*/*.mp4"))
    assert videos
    for video in videos:
        assert starts(video) == {0: "first frame"}, video
