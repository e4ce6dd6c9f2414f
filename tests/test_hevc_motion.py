"""The motion provider for HEVC: vectors paired with frames by pts, with their references in shown frames."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge_vss.errors import MissingExtra, OptionError
from edge_vss.motion_field import MotionVectors
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion._hevc import parser
from edge_vss.runtimes.motion._hevc.vectors import Shown
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Packet
from tests.helpers.hevc import encode_hevc, scene
from tests.helpers.logs import listening
from tests.helpers.videos import drop, encode, pan, remux, retimed

pytest.importorskip("wasmtime", reason="the extra hevc is not installed")


@pytest.fixture(scope="module")
def panned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Content that moves 4 pixels right per frame, with B-frames."""
    folder = tmp_path_factory.mktemp("clips")
    return encode_hevc(folder / "pan.mp4", pan(24, (128, 192), (4, 0)), "bframes=4:b-adapt=0:ref=3")


def test_a_pan_is_told_to_a_quarter_of_a_pixel(panned: Path) -> None:
    with open_source(panned, motion="hevc") as source:
        frames = list(source)
    assert len(frames) == 24
    for frame in frames[2:]:
        assert frame.motion is not None and frame.vectors is not None
        inner = frame.motion.displacement_px[:, 3:-3, 3:-3]
        off = np.abs(inner - np.array([-4, 0], np.float32)[:, None, None])
        assert np.median(off) <= 0.25 and np.mean(off < 0.5) > 0.9


def test_each_vector_divided_by_its_span_is_the_motion_of_one_frame(panned: Path) -> None:
    with open_source(panned, motion="hevc") as source:
        frames = list(source)
    spans = set()
    for frame in frames[1:]:
        assert frame.vectors is not None and frame.vectors.reference is not None
        reference = frame.vectors.reference.astype(np.float32)
        assert (reference != 0).all()
        spans |= set(np.unique(frame.vectors.reference).tolist())
        assert np.median(frame.vectors.displacement_px[0] / reference) == pytest.approx(-4, abs=0.1)
        np.testing.assert_array_equal(np.sign(frame.vectors.reference), -frame.vectors.direction)
    assert {1, -1, 2, -2} <= spans


def test_auto_takes_the_vectors_of_hevc(panned: Path) -> None:
    with open_source(panned) as source:
        assert all(frame.vectors is not None for frame in source)


def test_without_the_extra_auto_takes_flow_and_says_what_to_install(
    panned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    parser._module.cache_clear()
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    monkeypatch.setattr(LOG, "warning", lambda text, *values: said.append(text % values))
    with open_source(panned) as source:
        assert {frame.motion.provider for frame in source if frame.motion} == {"flow"}
    assert 'pip install "edge-vss[hevc]"' in said[0] and len(said) == 1
    with pytest.raises(MissingExtra), open_source(panned, motion="hevc") as source:
        next(source)


def test_another_codec_is_refused(p_only: Path) -> None:
    with pytest.raises(OptionError, match="reads HEVC"), open_source(p_only, motion="hevc") as source:
        list(source)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_vectors_of_a_turned_video_are_turned(rotation: int, mirrored: bool, tmp_path: Path) -> None:
    # Sizes that are no multiples of 8: cells reach past the edges, and begin before them when turned.
    clip = encode(
        tmp_path / "turned.mp4",
        pan(8, (124, 188), (4, 0)),
        "libx265",
        {"x265-params": "log-level=none:bframes=0:ref=1"},
        rotation=rotation,
        mirrored=mirrored,
    )
    with open_source(clip, motion="hevc") as source, open_source(clip, motion="flow") as judge:
        assert source.info.rotation == judge.info.rotation
        for frame, other in zip(list(source)[1:], list(judge)[1:], strict=True):
            assert frame.vectors is not None and frame.motion is not None and other.motion is not None
            assert frame.motion.provider == "codec"
            ours, its = (
                np.median(f.motion.displacement_px[:, 2:-2, 2:-2], axis=(1, 2))
                for f in (frame, other)
                if f.motion
            )
            assert np.abs(ours).max() > 3.5
            np.testing.assert_allclose(ours, its, atol=0.5)


def test_after_a_lost_packet_no_vector_towards_it_is_told(tmp_path: Path) -> None:
    options = "bframes=0:ref=1:keyint=12:min-keyint=12:no-open-gop=1"
    whole = encode_hevc(tmp_path / "whole.mp4", scene(16), options)
    cut = drop(whole, tmp_path / "cut.mp4", [4])
    with open_source(cut, motion="hevc") as source:
        frames = list(source)
    after = next(frame for frame in frames[1:] if frame.start)
    assert after.start == "lost packets" and sum(bool(frame.start) for frame in frames) == 2
    with open_source(whole, motion="hevc") as source:
        good = {frame.pts: frame for frame in source}
    for frame in frames:
        if frame.vectors is None or frame.motion is None:
            continue
        mine, its = frame.vectors, good[frame.pts].vectors
        assert its is not None and len(mine) <= len(its)


def test_twenty_runs_say_the_same(panned: Path) -> None:
    def digest() -> bytes:
        with open_source(panned, motion="hevc") as source:
            return b"".join(frame.motion.displacement_px.tobytes() for frame in source if frame.motion)

    assert len({digest() for _ in range(20)}) == 1


def test_a_seek_begins_anew(panned: Path) -> None:
    with open_source(panned, motion="hevc") as source:
        frames = [next(source) for _ in range(6)]
        source.seek(0.0)
        again = [next(source) for _ in range(6)]
    for before, after in zip(frames, again, strict=True):
        assert before.pts == after.pts
        if before.motion is not None and after.motion is not None:
            np.testing.assert_array_equal(before.motion.displacement_px, after.motion.displacement_px)


@pytest.mark.parametrize("pictures", ["all", "key", "none"])
def test_vectors_after_a_seek_are_those_of_reading_in_a_row(pictures: str, tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:keyint=24"}
    path = encode(tmp_path / "clip.ts", pan(50), "libx265", options)

    def read(seconds: float | None) -> dict[int, list[bytes]]:
        with open_source(path, motion="hevc", pictures=pictures) as source:
            if seconds is not None:
                source.seek(seconds)
            told = {}
            for frame in source:
                vectors, motion = frame.vectors, None if frame.start else frame.motion
                arrays = [] if vectors is None else [vectors.reference, vectors.displacement_px]
                arrays += [] if motion is None else [motion.displacement_px]
                told[frame.index] = [array.tobytes() for array in arrays if array is not None]
            return told

    row = read(None)
    for seconds in (0.28, 0.88, 1.32):
        after = read(seconds)
        first = min(after)
        # Nothing leads back from the first one.
        assert first > 3 and after.pop(first) == row[first][:2]
        assert after == {index: row[index] for index in after}


def test_no_seek_tells_a_loss(tmp_path: Path) -> None:
    # Beside a B-pyramid, packets of frames before the one that is sought are read after its own.
    options = "bframes=4:b-adapt=0:b-pyramid=1:keyint=12:min-keyint=12:open-gop=1:scenecut=0"
    clip = encode_hevc(tmp_path / "clip.mp4", pan(40, (64, 96), (1, 0)), options)
    stream = remux(clip, tmp_path / "clip.ts", lambda _, content: content, format="mpegts")
    with open_source(stream, motion="hevc") as source:
        times = [frame.pts_seconds for frame in source]
        assert len(times) == 40
        for seconds in times:
            source.seek(seconds)
            frames = [next(source, None) for _ in range(8)]
            assert [frame.start for frame in frames if frame and frame.start] == ["seek"]


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_lost_start_of_a_sequence_is_told_where_it_was_lost(tmp_path: Path, b_frames: int) -> None:
    # The counts of the pictures after it begin at zero, as if they came before those that wait.
    options = f"bframes={b_frames}:b-adapt=0:keyint=12:min-keyint=12:no-open-gop=1:scenecut=0"
    whole = encode_hevc(tmp_path / "whole.mp4", scene(30), options)
    with av.open(str(whole)) as container:
        taken = [packet for packet in container.demux(video=0) if packet.size]
    lost = next(at for at, packet in enumerate(taken) if at and packet.is_keyframe)
    cut = drop(whole, tmp_path / "cut.mp4", [lost])
    with open_source(cut, motion="hevc") as source:
        frames = list(source)
    at = taken[lost].pts or 0
    after = next(frame for frame in frames if (frame.pts or 0) > at)
    assert [frame.index for frame in frames if frame.start == "lost packets"] == [after.index]


@pytest.mark.parametrize(("name", "format"), [("clip.ts", "mpegts"), ("clip.mkv", "matroska")])
def test_start_codes_and_lengths_say_the_same(panned: Path, tmp_path: Path, name: str, format: str) -> None:
    other = remux(panned, tmp_path / name, lambda _, content: content, format=format)
    with open_source(panned, motion="hevc") as one, open_source(other, motion="hevc") as two:
        for mine, its in zip(one, two, strict=True):
            assert mine.vectors is not None and its.vectors is not None
            np.testing.assert_array_equal(mine.vectors.displacement_px, its.vectors.displacement_px)


def test_a_raw_stream_has_no_times_and_is_paired_all_the_same(panned: Path, tmp_path: Path) -> None:
    raw = remux(panned, tmp_path / "clip.hevc", lambda _, content: content, format="hevc")
    with open_source(raw) as source, open_source(panned) as timed:
        assert source.info.time_base is None
        frames, others = list(source), list(timed)
    assert len(frames) == len(others) == 24
    for mine, its in zip(frames, others, strict=True):
        assert mine.vectors is not None and its.vectors is not None
        np.testing.assert_array_equal(mine.vectors.displacement_px, its.vectors.displacement_px)
        assert mine.pts_seconds == pytest.approx(mine.index / source.info.fps)


@pytest.mark.parametrize("lost", [3, 7, 11])
def test_no_frame_of_a_raw_stream_gets_anothers_vectors(panned: Path, tmp_path: Path, lost: int) -> None:
    cut = drop(panned, tmp_path / "cut.hevc", [lost], format="hevc")
    with open_source(panned) as source:
        whole = {frame.pts: frame.vectors for frame in source}
    with av.open(str(panned)) as container:
        order = [packet.pts for packet in container.demux(video=0) if packet.size]
    del order[lost]
    with open_source(cut, motion="hevc") as source:
        for frame in source:
            assert frame.pts is not None
            its = whole[order[frame.pts]]
            if frame.vectors is None or its is None:
                continue
            # Of what is told, each vector is one that this very picture holds.
            told = {tuple(row) for row in rows(frame.vectors)}
            assert told <= {tuple(row) for row in rows(its)}


def rows(vectors: MotionVectors) -> np.ndarray:
    return np.stack([vectors.left_px, vectors.top_px, *vectors.displacement_px, vectors.direction], 1)


def test_a_parser_that_fails_ends_in_frames_without_vectors(
    panned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(LOG, "warning", lambda text, *values: said.append(text % values))
    monkeypatch.setattr(parser.Parser, "read", lambda *_: 1 // 0)
    with open_source(panned, motion="hevc") as source:
        frames = list(source)
    assert len(frames) == 24 and all(frame.vectors is None for frame in frames)
    assert len(said) == 1 and "HEVC motion ends here (ZeroDivisionError" in said[0]


def test_a_parser_that_failed_keeps_no_packets(panned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser.Parser, "read", lambda *_: 1 // 0)
    gc.collect()
    others = sum(type(each) is Packet for each in gc.get_objects())
    with open_source(panned, motion="hevc") as source:
        for frame in source:
            kept = sum(type(each) is Packet for each in gc.get_objects()) - others
            assert kept <= 0, f"{kept} packets at frame {frame.index}"


def test_what_the_parser_cannot_read_falls_back_to_flow(tmp_path: Path) -> None:
    path = encode_hevc(tmp_path / "clip.mp4", scene(6), pix_fmt="yuv444p")
    with open_source(path) as source:
        frames = list(source)
    assert {frame.motion.provider for frame in frames[1:] if frame.motion} <= {"flow", "codec+flow"}


@pytest.mark.parametrize("b_frames", [0, 3])
def test_frames_of_one_time_get_no_vectors_rather_than_anothers(b_frames: int, tmp_path: Path) -> None:
    options = f"bframes={b_frames}:b-adapt=0:keyint=60"
    whole = encode_hevc(tmp_path / "whole.mkv", scene(40), options)
    pairs = retimed(whole, tmp_path / "pairs.mkv", lambda number: number - number % 2 * (10 <= number < 30))
    with (
        listening() as log,
        open_source(whole, motion="hevc") as one,
        open_source(pairs, motion="hevc") as other,
    ):
        expected, frames = list(one), list(other)
    assert [line for line in log if "several frames have one time" in line]
    known = [frame.vectors is not None for frame in frames]
    assert not any(known[12:28]) and all(known[1:9]) and all(known[31:])
    assert [str(frame.start) for frame in frames[1:]] == [""] * 39
    for frame, true in zip(frames, expected, strict=True):
        assert np.array_equal(frame.luma, true.luma)
        if frame.vectors is not None and true.vectors is not None:
            assert np.array_equal(frame.vectors.displacement_px, true.vectors.displacement_px)


@pytest.mark.parametrize("differences", [(-(2**15), 2**15 - 1), (2**15 - 1, 2**15 - 1), (-1, -1)])
def test_references_as_far_away_as_they_can_be(differences: tuple[int, int]) -> None:
    cells = np.zeros((2, 3), parser.CELL)
    cells["mode"], cells["lists"], cells["poc_difference"] = parser.MODE_INTER, 3, differences
    cells["mv_quarter_px"] = [[4, 8], [-2, 0]]
    sizes: Any = {"coded_size": (16, 24), "crop_px": (0, 0, 0, 0), "cells": cells, "blocks": None}
    pictures = [parser.Picture(poc, "B", False, True, 0, 0, True, **sizes) for poc in (0, 1)]
    shown = Shown()
    shown.vectors(pictures[0])
    found = shown.vectors(pictures[1])
    assert found.reference is not None and len(found) == 12
    told = {(x, y): span for x, y, span in zip(*found.displacement_px.tolist(), found.reference, strict=True)}
    # One frame is one picture order count here. A byte holds no more than 127.
    spans = [min(max(-difference, -127), 127) for difference in differences]
    assert told == {(1.0, 2.0): spans[0], (-0.5, 0.0): spans[1]}
