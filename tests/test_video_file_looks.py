"""An overlay looks and sounds like its source: pixel aspect, colour tags, sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from edge_vss.errors import OptionError, SinkError, SourceError
from edge_vss.runtimes.drawing.sound import Sound
from edge_vss.runtimes.drawing.video_file import VideoFile
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Colour
from tests.helpers.logs import listening
from tests.helpers.videos import encode, pan
from tests.test_cli import Done

PATCHES = np.array([[(200, 30, 30), (30, 200, 30)], [(30, 30, 200), (128, 128, 128)]], np.uint8)
SUFFIXES = ["mp4", "mov", "mkv", "ts"]


def patches() -> NDArray[np.uint8]:
    return PATCHES.repeat(48, 0).repeat(64, 1)


def source_of(
    path: Path, matrix: int, full: bool, aspect: Fraction = Fraction(4, 3), rotation: int = 0
) -> Path:
    """Four colour patches, written by a matrix and range that the file says."""
    swscale = {1: 1, 6: 5, 9: 9}[matrix]
    reformatter = VideoReformatter()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.options = {"crf": "4"}
        context = stream.codec_context
        context.sample_aspect_ratio = aspect
        context.color_primaries, context.color_trc, context.colorspace = (
            matrix,
            matrix if matrix < 9 else 14,
            matrix,
        )
        context.color_range = 2 if full else 1
        if rotation:
            stream.set_display_rotation(rotation, False)
        for index in range(5):
            picture = reformatter.reformat(
                av.VideoFrame.from_ndarray(patches(), "rgb24"),
                format="yuv420p",
                dst_colorspace=swscale,
                dst_color_range=2 if full else 1,
            )
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def planes(path: Path) -> NDArray[np.int64]:
    """Means of luma and chroma in the middle of each patch, (3, 2, 2)."""
    with av.open(str(path)) as container:
        picture = list(container.decode(video=0))[2].reformat(format="yuv444p")
    found = picture.to_ndarray().astype(np.int64)
    return np.array([[[plane[y, x] for x in (32, 96)] for y in (24, 72)] for plane in found])


@pytest.mark.parametrize(
    ("name", "number", "read_as"),
    [
        ("YCgCo", 8, "BT.601"),
        ("bt2020c", 10, "BT.2020"),
        ("chroma-derived-nc", 12, "BT.601"),
        ("ICtCp", 14, "BT.601"),
    ],
)
def test_colours_that_ffmpeg_does_not_convert_are_read_and_told(
    name: str, number: int, read_as: str, tmp_path: Path
) -> None:
    options = {"x264-params": f"colormatrix={name}", "crf": "4"}
    path = encode(tmp_path / "in.mp4", [patches()] * 5, options=options)
    with listening() as told, open_source(path, motion="none") as source:
        info, frames = source.info, list(source)
    assert info.colour.matrix == number and len(frames) == 5
    [line] = [line for line in told if f"colour matrix {number} is not one that FFmpeg converts" in line]
    assert line.startswith("WARNING") and line.endswith(f"colours are read as {read_as}'s")
    if read_as == "BT.601":
        assert np.abs(frames[2].image[24::48, 32::64].astype(int) - PATCHES).max() <= 3
    assert frames[2].luma.shape == (96, 128)
    file = VideoFile(tmp_path / "out.mp4", info.size, info.fps, colour=info.colour)
    for frame in frames:
        file.write(frame.image, frame.pts_seconds)
    file.close()
    with open_source(tmp_path / "out.mp4", motion="none") as again:
        assert len(list(again)) == 5


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("matrix", "full"), [(1, False), (1, True), (6, False), (6, True), (9, False)])
def test_shape_and_colours_are_those_of_the_source(
    matrix: int, full: bool, suffix: str, tmp_path: Path
) -> None:
    if matrix == 9 and int(av.__version__.split(".")[0]) < 18:
        pytest.skip("PyAV 17 converts BT.2020 by another matrix: up to 22 grey levels off")
    path, out = source_of(tmp_path / f"in.{suffix}", matrix, full), tmp_path / f"out.{suffix}"
    with open_source(path, motion="none") as source:
        info, frames = source.info, list(source)
    assert info.pixel_aspect == Fraction(4, 3)
    assert info.colour == Colour(matrix, matrix if matrix < 9 else 14, matrix, full)
    # Read by the matrix that the file says.
    assert np.abs(frames[2].image[24::48, 32::64].astype(int) - PATCHES).max() <= 3
    file = VideoFile(out, info.size, info.fps, pixel_aspect=info.pixel_aspect, colour=info.colour)
    for frame in frames:
        file.write(frame.image, frame.pts_seconds)
    file.close()
    with av.open(str(out)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        shown = next(container.decode(video=0))
        assert int(shown.colorspace) == int(shown.color_primaries) == matrix
        assert int(shown.color_range) == 2 if full else 1
    # And written by it: the numbers themselves are the source's.
    assert np.abs(planes(out) - planes(path)).max() <= 3


def test_what_the_source_does_not_say_is_not_made_up(tmp_path: Path) -> None:
    path = encode(tmp_path / "in.mp4", [patches()] * 3)
    done = VideoFile(tmp_path / "out.mp4", (96, 128), 25)
    with open_source(path, motion="none") as source:
        for frame in source:
            done.write(frame.image, frame.pts_seconds)
    done.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        shown = next(container.decode(video=0))
        assert (int(shown.colorspace), int(shown.color_primaries), int(shown.color_trc)) == (2, 2, 2)
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)
    assert np.abs(planes(tmp_path / "out.mp4") - planes(path)).max() <= 3


def test_a_turned_video_s_pixels_are_turned_too(tmp_path: Path) -> None:
    path = source_of(tmp_path / "in.mp4", 1, False, Fraction(4, 3), rotation=90)
    with open_source(path, motion="none") as source:
        assert source.info.rotation in (90, 270) and source.info.pixel_aspect == Fraction(3, 4)


@pytest.mark.parametrize("name", ["run", "motion"])
def test_the_commands_carry_them(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    path, out = source_of(tmp_path / "in.mp4", 1, False), tmp_path / "o.mp4"
    bundle = (tiny_bundle,) if name == "run" else ()
    done = Done(name, *bundle, path, "--out", out)
    assert done.status == 0, done.err
    with open_source(out, motion="none") as source:
        assert (source.info.pixel_aspect, source.info.colour) == (Fraction(4, 3), Colour(1, 1, 1, False))


NAMES = [
    "12:30:00.mp4",
    "a%d.mkv",
    "-i.mp4",
    "a|b.mov",
    "new\nline.mp4",
    "x'y\"z.mkv",
    "[1].mp4",
    "concat:x.mp4",
]


@pytest.mark.parametrize("name", [*NAMES, "file:y.mp4", "\udcff.mkv", "C:\\x.mp4", "pipe:1.mp4", "http:x.ts"])
def test_any_name_can_be_written_and_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = VideoFile(name, (96, 128), 25)
    for index, image in enumerate(pan(12)):
        file.write(image, index / 25)
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with open_source(name, motion="none") as source:
        assert len(list(source)) == 12


def test_every_output_of_a_run_takes_a_colon(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    out, labels, lines = tmp_path / "12:30:00.mp4", tmp_path / "a:b", tmp_path / "c:d.jsonl"
    state, summary = tmp_path / "e:f.state", tmp_path / "g:h.json"
    sinks = ("--out", out, "--save-labels", labels, "--jsonl", lines, "--state", state, "--json", summary)
    done = Done("run", tiny_bundle, tiny_video, *sinks, "--limit", "3")
    assert done.status == 0, done.err
    assert all(place.exists() for place in (out, labels / "000002.png", lines, state, summary))
    assert Done("motion", tiny_video, "--out", tmp_path / "1:2.mp4").status == 0
    assert (tmp_path / "1:2.mp4").stat().st_size > 1000


RATE = 48_000
CLICKS = (0.5, 1.0, 1.5)
"""Seconds at which something is heard."""


def with_sound(path: Path, codec: str, count: int = 50) -> Path:
    """Two seconds of pictures with a click each half second."""
    sound = np.zeros((1, count * RATE // 25), np.float32)
    for seconds in CLICKS:
        sound[:, int(seconds * RATE) : int(seconds * RATE) + 400] = 0.9
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt, video.options = 96, 128, "yuv420p", {"bf": "2", "g": "10"}
        stream: Any = container.add_stream(codec, rate=RATE)
        form = stream.codec_context.format.name
        resampler = av.AudioResampler(format=form, layout="mono", rate=RATE)
        for index, image in enumerate(pan(count)):
            picture = av.VideoFrame.from_ndarray(image, "rgb24")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(video.encode(picture))
            begin = index * RATE // 25
            piece = np.ascontiguousarray(sound[:, begin : begin + RATE // 25])
            heard = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = RATE, begin, Fraction(1, RATE)
            for part in resampler.resample(heard):
                container.mux(stream.encode(part))
        for each in (video, stream):
            container.mux(each.encode(None))
    return path


def clicks(path: Path) -> list[float]:
    """When the clicks are heard, in seconds after the first picture is seen."""
    with av.open(str(path)) as container:
        begin = next(container.decode(video=0)).time
    found: list[float] = []
    with av.open(str(path)) as container:
        for heard in container.decode(audio=0):
            loud = np.abs(heard.to_ndarray().astype(np.float64)).reshape(-1)
            loud /= 32768 if "s16" in heard.format.name else 2**31 if "s32" in heard.format.name else 1
            for sample in np.flatnonzero(loud > 0.3):
                assert heard.time is not None and begin is not None
                at = float(heard.time + sample / heard.sample_rate - begin)
                if not found or at - found[-1] > 0.1:
                    found.append(at)
    return found


SOUNDS = [
    ("mp4", "aac"),
    ("ts", "aac"),
    ("mov", "pcm_s16le"),
    ("mkv", "libopus"),
    ("ts", "mp2"),
    ("flv", "aac"),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("container", "codec"), SOUNDS)
def test_sound_is_copied_in_time(container: str, codec: str, suffix: str, tmp_path: Path) -> None:
    path = with_sound(tmp_path / f"in.{container}", codec)
    before = clicks(path)
    assert len(before) == 3
    out = tmp_path / f"out.{suffix}"
    if (codec, suffix) in {("pcm_s16le", "ts"), ("libopus", "mov")}:
        with pytest.raises(SinkError, match=r"cannot hold this sound, which is .*: let its name end in mkv"):
            VideoFile(out, (96, 128), 25, sound=Sound(str(path)))
        assert not out.exists()
        return
    # Pieces of sound are 20 to 24 ms long, and one may be written one sample early or late.
    for begin, end, heard in (
        (0, 50, before),
        (0, 30, before[:2]),
        (20, 50, [at - 0.8 for at in before[1:]]),
    ):
        with open_source(path, motion="none") as source:
            file = VideoFile(out, source.info.size, source.info.fps, sound=Sound(str(path)))
            for frame in source:
                if begin <= frame.index < end:
                    file.write(frame.image, frame.pts_seconds)
            file.close()
        assert clicks(out) == pytest.approx(heard, abs=0.002)
        with av.open(str(out)) as written:
            last = [frame.time for frame in written.decode(audio=0)][-1]
        assert last is not None and last < (end - begin) / 25 + 0.01
        with open_source(out, motion="none") as source:
            assert len(list(source)) == end - begin


def test_after_a_kill_pictures_and_sound_play(tmp_path: Path) -> None:
    path = with_sound(tmp_path / "in.mp4", "aac")
    for suffix in ("mp4", "mkv", "ts"):
        out, copy = tmp_path / f"out.{suffix}", tmp_path / f"killed.{suffix}"
        with open_source(path, motion="none") as source:
            file = VideoFile(out, source.info.size, source.info.fps, sound=Sound(str(path)))
            for frame in source:
                file.write(frame.image, frame.pts_seconds)
        copy.write_bytes(out.read_bytes())
        file.close()
        assert clicks(copy) == pytest.approx(clicks(path), abs=0.002)
        with open_source(copy, motion="none") as source:
            assert len(list(source)) >= 47


def test_sound_that_is_not_there(p_only: Path, tmp_path: Path) -> None:
    for source, error in (
        (str(p_only), SourceError),
        (str(tmp_path), OptionError),
        ("-", OptionError),
        ("rtsp://me:secret@127.0.0.1/x", OptionError),
        (0, OptionError),
    ):
        with pytest.raises(error, match=r"has no sound") as caught:
            Sound(source)
        assert "secret" not in str(caught.value)


def test_run_copies_sound_on_demand(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    path, out = with_sound(tmp_path / "in.mkv", "aac"), tmp_path / "o.mp4"
    assert Done("run", tiny_bundle, path, "--out", out).status == 0
    with av.open(str(out)) as container:
        assert not container.streams.audio
    done = Done("run", tiny_bundle, path, "--out", out, "--audio", "--limit", "30")
    assert done.status == 0, done.err
    assert clicks(out) == pytest.approx(clicks(path)[:2], abs=0.002)
    assert "give --out too" in " ".join(
        Done("run", tiny_bundle, path, "--audio").err.replace("│", " ").split()
    )
    silent = tmp_path / "silent.mp4"
    assert "has no sound" in Done("run", tiny_bundle, tiny_video, "--out", silent, "--audio").error()
    assert not silent.exists()
