from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.sources import open_source
from tests.helpers.frames import read, same, starts
from tests.helpers.videos import (
    P_ONLY,
    decoded,
    encode,
    pan,
    remux,
)


def test_what_is_known_when_it_opens(p_only: Path, b_frames: Path) -> None:
    with open_source(p_only) as source:
        info = source.info
    assert (info.codec, info.size, info.fps, info.frames) == ("h264", (96, 128), 25.0, 30)
    assert info.exports_vectors
    assert not info.has_b_frames
    assert info.references == 1
    assert not info.live
    assert info.duration_seconds == pytest.approx(1.2)
    with open_source(str(b_frames)) as source:
        assert source.info.has_b_frames
        assert source.info.references == 4 or source.info.references == 3


@pytest.mark.parametrize(
    ("codec", "options", "exports"),
    [
        ("mpeg4", {"g": "12"}, True),
        ("mpeg2video", {"g": "12"}, True),
        ("libx265", {"x265-params": "log-level=none"}, False),
        ("libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"}, False),
    ],
)
def test_which_codecs_export(tmp_path: Path, codec: str, options: dict[str, str], exports: bool) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = encode(tmp_path / "v.mkv", pan(12), codec, options)
    with (
        open_source(path, motion="none") as quiet,
        open_source(path, motion="codec") as source,
    ):
        assert not quiet.info.exports_vectors
        assert source.info.exports_vectors is exports
        assert source.info.references is None
        frames = list(source)
    assert len(frames) == 12
    assert any(frame.vectors is not None for frame in frames) is exports


def test_frames_are_what_pyav_decodes(p_only: Path) -> None:
    frames, expected = read(p_only), decoded(p_only)
    assert len(frames) == len(expected) == 30
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([i / 25 for i in range(30)])
    assert "".join(frame.picture_type for frame in frames) == "I" + "P" * 29
    assert starts(frames) == {0: "first frame"}
    for frame, image in zip(frames, expected, strict=True):
        assert frame.size == (96, 128)
        assert np.array_equal(frame.image, image)
        assert frame.seconds["decode"] > 0


def test_frames_outlive_the_source(p_only: Path) -> None:
    lumas = [frame.luma.copy() for frame in read(p_only)]
    frames = read(p_only)
    gc.collect()
    assert all(np.array_equal(frame.luma, luma) for frame, luma in zip(frames, lumas, strict=True))
    assert frames[3].image.shape == (96, 128, 3)


def test_luma_is_a_view_and_an_image_is_made_only_when_asked_for(p_only: Path) -> None:
    frame = read(p_only)[5]
    assert not frame.luma.flags.owndata
    assert "image" not in vars(frame)
    assert frame.image is frame.image
    grey = frame.image.astype(float) @ [0.299, 0.587, 0.114]
    expected = 16 + grey * 219 / 255
    assert np.abs(frame.luma - expected).mean() < 2


def test_scaling_is_as_wide_as_the_target(p_only: Path) -> None:
    frame = read(p_only)[0]
    small = frame.picture.rgb((24, 32))
    blocks = frame.image.reshape(24, 4, 32, 4, 3).mean((1, 3))
    assert small.shape == (24, 32, 3)
    # Colours, too, at every pixel: swscale's own choice halves them once more.
    assert np.abs(small - blocks).mean() < 4
    assert frame.picture.rgb((192, 256)).shape == (192, 256, 3)


def test_vectors_tell_the_pan(p_only: Path, b_frames: Path) -> None:
    frames = read(p_only, motion="codec")
    assert frames[0].vectors is None
    for frame in frames[1:]:
        assert frame.vectors is not None
        assert np.median(frame.vectors.displacement_px[0]) == pytest.approx(-2, abs=0.01)
    first = [frame.vectors for frame in read(b_frames, motion="codec")]
    for _ in range(3):
        again = [frame.vectors for frame in read(b_frames, motion="codec")]
        for one, other in zip(first, again, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert same(one, other)


def test_b_frames_come_in_display_order(b_frames: Path) -> None:
    frames = read(b_frames)
    assert "B" in {frame.picture_type for frame in frames}
    assert [frame.pts_seconds for frame in frames] == pytest.approx([i / 25 for i in range(30)])
    assert starts(frames) == {0: "first frame"}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "h264"])
def test_containers(p_only: Path, tmp_path: Path, suffix: str) -> None:
    path = remux(p_only, tmp_path / f"v.{suffix}", lambda number, content: content)
    frames = read(path, motion="codec")
    assert len(frames) == 30
    assert starts(frames) == {0: "first frame"}
    steps = np.diff([frame.pts_seconds for frame in frames])
    assert steps == pytest.approx(np.full(29, 1 / 25), abs=0.002)


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p", "yuv444p", "yuv444p10le", "gray", "rgb24"]
)
def test_pixel_formats(tmp_path: Path, pix_fmt: str) -> None:
    codec = "libx264rgb" if pix_fmt == "rgb24" else "libx264"
    images = pan(6)
    path = encode(tmp_path / "v.mp4", images, codec, {**P_ONLY, "crf": "10"}, pix_fmt=pix_fmt)
    frames = read(path, motion="auto")
    assert len(frames) == 6
    grey = images[3].astype(float) @ [0.299, 0.587, 0.114]
    luma = frames[3].luma
    assert luma.shape == (96, 128)
    assert luma.dtype == np.uint8
    # Coded luma is limited to 16..235, or not: either way it follows the brightness.
    assert np.corrcoef(luma.ravel(), grey.ravel())[0, 1] > 0.99
    difference = np.abs(frames[3].image.astype(int) - images[3]).mean()
    assert difference < (70 if pix_fmt == "gray" else 12)


@pytest.mark.parametrize("size", [(95, 127), (33, 65), (17, 18)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = encode(tmp_path / "v.mp4", pan(8, size), options={**P_ONLY}, pix_fmt="yuv444p")
    frames = read(path, motion="auto")
    assert len(frames) == 8
    assert all(frame.size == frame.luma.shape == frame.image.shape[:2] == size for frame in frames)
    assert frames[4].picture.rgb((31, 47)).shape == (31, 47, 3)


def test_interlaced(tmp_path: Path) -> None:
    options = {"preset": "veryfast", "x264-params": "tff=1:interlaced=1"}
    frames = read(encode(tmp_path / "v.ts", pan(20), options=options), motion="auto")
    assert len(frames) == 20
    assert starts(frames) == {0: "first frame"}


def test_seek(b_frames: Path) -> None:
    whole = read(b_frames)
    with open_source(b_frames) as source:
        next(source)
        source.seek(0.5)
        frames = list(source)
        assert frames[0].pts_seconds == pytest.approx(0.52)
        assert (frames[0].index, frames[0].start, frames[0].motion) == (13, "seek", None)
        assert len(frames) == 17
        assert np.array_equal(frames[0].image, whole[13].image)
        assert [frame.start for frame in frames[1:]] == [""] * 16
        source.seek(0)
        assert next(source).index == 0


def test_closing_ends_the_iteration(p_only: Path) -> None:
    source = open_source(p_only)
    next(source)
    source.close()
    source.close()
    assert list(source) == []


def test_no_seeking_in_what_is_closed(p_only: Path) -> None:
    source = open_source(p_only)
    source.close()
    with pytest.raises(OptionError, match="which is closed: open it again"):
        source.seek(0)
    assert list(source) == []


def test_options_that_make_no_sense(p_only: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: open_source(p_only, fps=0),
        lambda: open_source(p_only, fps="25"),  # type: ignore[arg-type]
        lambda: open_source(p_only, fps=True),
        lambda: open_source(p_only, timeout_seconds=None),  # type: ignore[arg-type]
        lambda: open_source(p_only, reconnect_seconds="5"),  # type: ignore[arg-type]
        lambda: open_source(p_only, stream=0.5),  # type: ignore[arg-type]
        lambda: open_source(p_only, stream=-1),
        lambda: open_source(p_only, timeout_seconds=0),
        lambda: open_source(p_only, timeout_seconds=math.nan),
        lambda: open_source(p_only, timeout_seconds=math.inf),
        lambda: open_source(p_only, reconnect_seconds=-1),
        lambda: open_source(p_only, reconnect_seconds=math.nan),
        lambda: open_source(p_only, motion="telepathy"),
    ]
    for call in calls:
        with pytest.raises(OptionError):
            call()


def test_a_motion_provider_of_ones_own(p_only: Path) -> None:
    with open_source(
        p_only, motion=lambda feed: (frame for frame in feed.frames if frame.index % 2)
    ) as source:
        assert [frame.index for frame in source] == list(range(1, 30, 2))


@pytest.mark.parametrize("motion", ["none", "codec", "auto"])
def test_pictures_go_without_the_garbage_collector(p_only: Path, motion: str) -> None:
    # Its thresholds count objects, not megabytes: pictures that wait for it pile up.
    gc.collect()
    gc.disable()
    try:
        for frame in open_source(p_only, motion=motion):
            last = frame.image
        alive = [thing for thing in gc.get_objects() if issubclass(type(thing), av.VideoFrame)]
    finally:
        gc.enable()
    assert last.shape == (96, 128, 3)
    assert len(alive) <= 4


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
@pytest.mark.parametrize("motion", ["none", "codec", "auto", "flow"])
def test_a_source_that_nobody_closed_closes_when_it_goes(p_only: Path, motion: str) -> None:
    def opened() -> int:
        return sum(1 for fd in os.scandir("/proc/self/fd") if Path(fd.path).resolve() == p_only.resolve())

    def half_read() -> None:
        source = open_source(p_only, motion=motion)
        for _ in range(3):
            next(source)
        assert opened() == 1

    def sought() -> None:
        source = open_source(p_only, motion=motion)
        next(source)
        source.seek(0.5)
        next(source)

    def never_read() -> None:
        open_source(p_only, motion=motion)

    def read_to_the_end() -> None:
        assert len(list(open_source(p_only, motion=motion))) == 30

    gc.collect()
    gc.disable()
    try:
        for use in (half_read, sought, never_read, read_to_the_end):
            use()
            assert opened() == 0, use.__name__
        # Frames outlive their source, and do not keep its file.
        kept = next(open_source(p_only, motion=motion))
        assert opened() == 0 and kept.image.shape == (96, 128, 3)
    finally:
        gc.enable()


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("what", ["vectors", "rgb", "scaled", "luma"])
def test_an_interruption_while_a_picture_is_read_is_never_lost(p_only: Path, what: str) -> None:
    # PyAV and NumPy drop whatever is raised while they handle an exception of their own.
    command = [sys.executable, "-m", "tests.helpers.interrupted", str(p_only), what]
    told = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert told.stdout == "0 of 50 interruptions lost\n", told.stderr


def test_memory_does_not_grow(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", pan(300, (144, 176), (1, 0)))
    process, sizes = psutil.Process(), []
    for _ in range(5):
        for frame in open_source(path, motion="codec"):
            frame.image.sum()
        gc.collect()
        sizes.append(process.memory_info().rss)
    # 1200 frames of 76 kB RGB went by since the first round: keeping one in ten would show.
    assert sizes[-1] - sizes[0] < 6_000_000


def test_cameras_have_no_other_road() -> None:
    if os.path.exists("/dev/video9"):
        pytest.skip("this machine has a camera number 9")
    for uri in (9, "/dev/video9", "v4l2:///dev/video9"):
        with pytest.raises(SourceError, match="/dev/video9"):
            open_source(uri)


def test_a_copy_whose_clock_stands_for_its_rate_keeps_its_own(tmp_path: Path) -> None:
    clip, copy = tmp_path / "a.mkv", tmp_path / "copy.mkv"
    milliseconds = Fraction(1, 1000)
    with av.open(str(clip), "w") as container:
        encoder: Any = container.add_stream("libx264", rate=25)
        encoder.height, encoder.width, encoder.pix_fmt = 96, 128, "yuv420p"
        encoder.codec_context.time_base = milliseconds
        for number, image in enumerate(pan(12)):
            picture = av.VideoFrame.from_ndarray(image, "rgb24")
            picture.pts, picture.time_base = 40 * number, milliseconds
            container.mux(encoder.encode(picture))
        container.mux(encoder.encode(None))
    remux(clip, copy, lambda _, content: content)
    with open_source(copy, motion="none") as source:
        assert source.info.fps == 25
