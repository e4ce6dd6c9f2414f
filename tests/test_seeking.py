"""A seek lands on the frame that is wanted, whatever the container answers."""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.sources._seeking import landings
from edge_vss.video import Frame
from tests.helpers.videos import encode, pan, remux

FPS = 10
COUNT = 30

X264 = {
    "closed": {"g": "7", "bf": "2", "x264-params": "open-gop=0:scenecut=0"},
    "open": {"g": "7", "bf": "2", "x264-params": "open-gop=1:scenecut=0:b-adapt=0"},
    "one": {"g": "300", "bf": "2", "x264-params": "scenecut=0"},
    "refresh": {"g": "9", "bf": "0", "x264-params": "intra-refresh=1:scenecut=0"},
}
MPEG = {
    "closed": {"g": "7", "bf": "2", "flags": "+cgop", "sc_threshold": "1000000000"},
    "open": {"g": "7", "bf": "2", "sc_threshold": "1000000000"},
    "one": {"g": "300", "bf": "2", "sc_threshold": "1000000000"},
}
VP9 = {
    "closed": {"g": "7", "keyint_min": "7", "lag-in-frames": "0", "cpu-used": "8"},
    "hidden": {"g": "12", "lag-in-frames": "12", "auto-alt-ref": "1", "cpu-used": "4"},
    "one": {"g": "300", "lag-in-frames": "0", "cpu-used": "8"},
}
X265 = {
    "closed": {"x265-params": "log-level=none:keyint=7:min-keyint=7:bframes=2:open-gop=0:scenecut=0"},
    "open": {"x265-params": "log-level=none:keyint=7:min-keyint=7:bframes=2:open-gop=1:scenecut=0"},
    "one": {"x265-params": "log-level=none:keyint=300:bframes=2:scenecut=0"},
}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}

CONTAINERS: dict[str, tuple[str, str, dict[str, dict[str, str]], dict[str, str]]] = {
    "mp4": ("v.mp4", "libx264", X264, {}),
    "mov": ("v.mov", "libx264", X264, {}),
    "fragmented mp4": ("v.mp4", "libx264", X264, FRAGMENTS),
    "mkv": ("v.mkv", "libx264", X264, {}),
    "ts": ("v.ts", "libx264", X264, {}),
    "flv": ("v.flv", "libx264", X264, {}),
    "avi": ("v.avi", "libx264", X264, {}),
    "raw h264": ("v.h264", "libx264", X264, {}),
    "hevc ts": ("v.ts", "libx265", X265, {}),
    "hevc mp4": ("v.mp4", "libx265", X265, {}),
    "raw hevc": ("v.hevc", "libx265", X265, {}),
    "mpeg-2 ps": ("v.mpg", "mpeg2video", MPEG, {}),
    "mpeg-2 ts": ("v.ts", "mpeg2video", MPEG, {}),
    "mpeg-4 avi": ("v.avi", "mpeg4", MPEG, {}),
    "webm": ("v.webm", "libvpx-vp9", VP9, {}),
}
KINDS = [(name, gop) for name, (_, _, gops, _) in CONTAINERS.items() for gop in gops]


def made(folder: Path, name: str, gop: str, count: int = COUNT, fps: int = FPS) -> Path:
    file, codec, gops, muxer = CONTAINERS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    format = {"v.mpg": "vob"}.get(file)
    return encode(folder / file, pan(count), codec, gops[gop], fps=fps, muxer=muxer, format=format)


def same(found: Frame | None, wanted: Frame) -> bool:
    return (
        found is not None
        and (found.index, found.start) == (wanted.index, "seek")
        and found.pts_seconds == pytest.approx(wanted.pts_seconds, abs=1e-6)
        and np.array_equal(found.luma, wanted.luma)
    )


@pytest.mark.parametrize(("name", "gop"), KINDS)
def test_every_frame_is_found(name: str, gop: str, tmp_path: Path) -> None:
    path = made(tmp_path, name, gop)
    with open_source(path, motion="none") as source:
        whole = list(source)
    assert len(whole) == COUNT
    order = np.random.default_rng(0).permutation(COUNT)
    with open_source(path, motion="none") as source:
        wrong = []
        for number in order:
            source.seek(whole[number].pts_seconds)
            found = next(source, None)
            # Intra refresh leaves traces of what was there before; where it lands is all that can be asked.
            right = (
                found is not None and found.index == number
                if gop == "refresh"
                else same(found, whole[number])
            )
            if not right:
                wrong.append((int(number), found and (found.index, found.pts_seconds)))
        assert wrong == []
        source.seek(whole[11].pts_seconds + 0.25 / FPS)
        rest = list(source)
    assert [frame.index for frame in rest] == list(range(12, COUNT))
    assert [frame.pts_seconds for frame in rest] == pytest.approx([f.pts_seconds for f in whole[12:]])
    assert [frame.start for frame in rest] == ["seek"] + [""] * (COUNT - 13)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_the_number_is_right_at_any_rate(suffix: str, tmp_path: Path) -> None:
    uneven = list(np.cumsum([0] + [0.04, 0.12, 0.04, 0.4, 0.04, 0.04, 0.08] * 4))
    slower = [*(n / 25 for n in range(20)), *(0.8 + n / 10 for n in range(9))]
    for times in (uneven, slower):
        path = encode(tmp_path / f"v.{suffix}", pan(29), options=X264["closed"], times=times)
        with open_source(path, motion="none") as source:
            whole = list(source)
            for number in np.random.default_rng(0).permutation(29):
                source.seek(whole[number].pts_seconds)
                assert same(next(source), whole[number])


def test_attempts_go_back_twice_as_far_each_time() -> None:
    base = av.time_base
    places = list(landings(100 * base, 0, Fraction(1, base)))
    assert [place // base for place in places] == [100, 99, 98, 96, 92, 84, 68, 36, 0]
    # So all of them together read little more than the whole once.
    assert sum(100 - place // base for place in places[:-1]) < 2 * 100
    assert list(landings(5, 7, Fraction(1, 10))) == [7]


def test_a_seek_reads_little_more_than_it_has_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, "ts", "closed", count=300)
    decoded: list[float] = []
    with open_source(path, motion="none") as source:
        whole = list(source)
        reader: Any = source._reader
        frame = type(reader._decoding)._frame

        def counted(self: Any, picture: av.VideoFrame, *rest: Any) -> Frame:
            made: Frame = frame(self, picture, *rest)
            decoded.append(made.pts_seconds)
            return made

        monkeypatch.setattr(type(reader._decoding), "_frame", counted)
        for number in (10, 100, 299):
            decoded.clear()
            source.seek(whole[number].pts_seconds)
            assert next(source).index == number
            # A second of steps back, and the GOP that it falls into.
            assert len(decoded) <= 3 * FPS


def test_a_key_frame_that_is_none_is_not_believed(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", pan(COUNT), options=X264["one"], fps=FPS)
    lying = tmp_path / "lying.mkv"
    with av.open(str(whole)) as before, av.open(str(lying), "w") as after:
        copy = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.size:
                packet.stream, packet.is_keyframe = copy, True
                after.mux(packet)
    with open_source(lying, motion="none") as source:
        frames = list(source)
        for number in (29, 3, 14, 0):
            source.seek(frames[number].pts_seconds)
            assert same(next(source), frames[number])


def test_before_the_first_and_after_the_last(tmp_path: Path) -> None:
    for name in ("ts", "mp4", "raw h264", "flv"):
        path = made(tmp_path, name, "closed")
        with open_source(path, motion="none") as source:
            whole = list(source)
            for seconds in (-5.0, 0.0, -1e300):
                source.seek(seconds)
                assert same(next(source), whole[0])
            for seconds in (whole[-1].pts_seconds + 0.01, 1e6, 1e300):
                source.seek(seconds)
                assert next(source, None) is None
            source.seek(whole[4].pts_seconds)
            assert same(next(source), whole[4])
            for seconds in (float("nan"), float("inf")):
                with pytest.raises(OptionError, match="give a time in seconds"):
                    source.seek(seconds)


def test_motion_begins_anew(tmp_path: Path) -> None:
    path = made(tmp_path, "ts", "closed")
    with open_source(path) as source:
        whole = list(source)
        source.seek(whole[17].pts_seconds)
        rest = list(source)
    assert [frame.index for frame in rest] == list(range(17, COUNT))
    assert rest[0].motion is None
    for again, frame in zip(rest[1:], whole[18:], strict=True):
        assert again.motion is not None and frame.motion is not None
        assert np.allclose(again.motion.displacement_px, frame.motion.displacement_px)


def test_a_pipe_cannot_be_moved_about_in(p_only: Path, tmp_path: Path) -> None:
    stream = remux(p_only, tmp_path / "v.ts", lambda number, content: content)
    os.mkfifo(tmp_path / "pipe")
    with (
        subprocess.Popen(["cp", str(stream), str(tmp_path / "pipe")]),
        open_source(tmp_path / "pipe", motion="none") as source,
    ):
        with pytest.raises(SourceError, match="comes through a pipe: give a file"):
            source.seek(0.5)
        assert sum(1 for _ in source) == 30
