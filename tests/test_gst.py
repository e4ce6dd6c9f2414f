"""GStreamer pipelines and encoders of our own, as sources."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge_vss.errors import SourceError
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import _gi, open_source, plugin_of
from edge_vss.video import Frame
from tests.helpers import toys
from tests.helpers.videos import pan

MISSING = ""
try:
    _gi.gstreamer()
except SourceError as error:
    MISSING = str(error)
needs_gst = pytest.mark.skipif(bool(MISSING), reason=MISSING or "GStreamer is here")

TEST = "videotestsrc num-buffers=20 pattern=ball"
X264 = "x264enc tune=zerolatency speed-preset=ultrafast bframes=0 ref=1"


def read(uri: str, **options: Any) -> tuple[Any, list[Frame]]:
    with open_source(uri, timeout_seconds=30, **options) as source:
        return source.info, list(source)


@needs_gst
@pytest.mark.parametrize("pixels", ["RGB", "BGR", "BGRx", "RGBx", "GRAY8", "I420", "NV12", "YUY2"])
def test_raw_pictures_of_every_format(pixels: str) -> None:
    # A width that no stride is a multiple of.
    info, frames = read(
        f"gst:{TEST} ! video/x-raw,format={pixels},width=322,height=98,framerate=50/1 ! appsink"
    )
    _, plain = read(f"gst:{TEST} ! video/x-raw,format=RGB,width=322,height=98,framerate=50/1 ! appsink")
    assert len(frames) == 20 and info.live and (info.size, info.fps, info.codec) == ((98, 322), 50.0, "")
    assert frames[0].start == "first frame" and not any(frame.start for frame in frames[1:])
    assert [frame.pts_seconds for frame in frames] == pytest.approx([i / 50 for i in range(20)])
    assert all(frame.capture_clock == "arrival" for frame in frames)
    found, expected = frames[9].image.astype(int), plain[9].image.astype(int)
    # Grey says nothing of its range.
    assert np.abs(found - expected).mean() < (20 if pixels == "GRAY8" else 3)
    # The ball moves: pictures are copies, not one buffer that the camera fills again.
    assert np.abs(frames[0].image.astype(int) - frames[15].image).max() > 100


@needs_gst
def test_an_encoded_branch_gives_vectors() -> None:
    caps = "video/x-raw,format=I420,width=320,height=240,framerate=25/1"
    info, frames = read(f"gst:{TEST} ! {caps} ! {X264} ! h264parse ! appsink", motion="codec")
    assert info.codec == "h264" and info.exports_vectors and len(frames) == 20
    moving = [frame.vectors for frame in frames if frame.vectors is not None]
    assert len(moving) >= 15 and max(np.abs(each.displacement_px).max() for each in moving) > 3
    assert {frame.picture_type for frame in frames} == {"I", "P"}


@needs_gst
def test_pictures_of_one_branch_and_vectors_of_the_other() -> None:
    caps = "video/x-raw,format=NV12,width=320,height=240,framerate=25/1"
    both = f"gst:{TEST} ! {caps} ! tee name=t t. ! queue ! appsink t. ! queue ! {X264} ! h264parse ! appsink"
    info, frames = read(both, motion="codec")
    alone, coded = read(f"gst:{TEST} ! {caps} ! {X264} ! h264parse ! appsink", motion="codec")
    assert info.codec == alone.codec == "h264" and len(frames) == len(coded) == 20
    for one, other in zip(frames, coded, strict=True):
        assert (one.vectors is None) == (other.vectors is None)
        if one.vectors is not None and other.vectors is not None:
            assert np.array_equal(one.vectors.displacement_px, other.vectors.displacement_px)
        assert not one.start or one.index == 0
    segmenter = toys.segmenter((240, 320), (24, 32))
    with open_source(both) as source:
        assert run(source, segmenter.session(), drop_inference=False).frames == 20


@needs_gst
@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("videotestsrc ! fakesink", "has 0 appsinks: let it end in ! appsink"),
        ("appsink", "has 0 appsinks"),
        ("nosuchelement ! appsink", 'can be made here .no element "nosuchelement"'),
        ("videotestsrc ! ! appsink", "can be made here"),
        ("", "can be made here"),
        ("videotestsrc num-buffers=0 ! appsink", "ended before its first picture"),
        ("filesrc location=/absent ! decodebin ! appsink", "failed .Resource not found"),
        ("audiotestsrc ! appsink", "failed|no pipeline"),
        (
            "rtspsrc location=rtsp://me:s3cret@127.0.0.1:9/x user-pw=s3cret ! decodebin ! appsink",
            r"rtsp://\*\*\*@127.0.0.1:9/x user-pw=\*\*\*",
        ),
    ],
)
def test_what_is_wrong_with_a_pipeline_is_one_line(pipeline: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        open_source(f"gst:{pipeline}", timeout_seconds=5)
    assert "\n" not in str(caught.value) and "s3cret" not in str(caught.value)


@needs_gst
def test_a_pipeline_that_falls_silent_is_an_error_in_time() -> None:
    slow = "gst:videotestsrc is-live=true ! valve drop=true ! appsink"
    with pytest.raises(SourceError, match=r"fell silent \(nothing came for 0.5 s\)"):
        open_source(slow, timeout_seconds=0.5)


def test_without_gstreamer_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['gi'] = None\n"
        "from edge_vss.runtimes.sources import _gi\n_gi._SYSTEM = ()\n"
        "from edge_vss.runtimes.sources import open_source\n"
        "try: open_source('gst:videotestsrc ! appsink')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("SourceError gst: needs GStreamer and PyGObject from the system")
    assert "apt install python3-gi" in done.stdout and len(done.stdout.splitlines()) == 1


def test_a_pipeline_without_its_prefix_is_told() -> None:
    with pytest.raises(SourceError, match="write gst: before it"):
        open_source("v4l2src ! appsink")
    assert plugin_of("gst:a ! appsink") == ("gst", "a ! appsink")


def test_encoding_gives_raw_pictures_their_vectors(p_only: Path) -> None:
    info, frames = read(f"encode:{p_only}", motion="codec")
    assert (info.codec, info.exports_vectors, info.references) == ("h264", True, 1)
    assert len(frames) == 30 and frames[0].vectors is None
    for frame in frames[1:]:
        assert frame.vectors is not None and frame.motion is not None
        assert np.median(frame.vectors.displacement_px[0]) == pytest.approx(-2, abs=0.01)
    _, plain = read(str(p_only))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, plain, strict=True))
    assert all(frame.seconds["encode"] > 0 for frame in frames)


def test_encoding_images_and_odd_sizes(tmp_path: Path) -> None:
    import cv2

    for index, image in enumerate(pan(8, (97, 129))):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    _, frames = read(f"encode:{tmp_path}", motion="codec")
    assert len(frames) == 8 and frames[0].size == (97, 129)
    assert all(frame.motion is not None and frame.motion.coverage > 0.5 for frame in frames[1:])


def test_encoding_what_is_not_there_is_told() -> None:
    with pytest.raises(SourceError, match=r"no such file: absent\.mp4"):
        open_source("encode:absent.mp4")
    with pytest.raises(SourceError, match="the source's name is empty"):
        open_source("encode:")


def test_a_usb_camera_is_asked_for_h264_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    def refuse(target: str, mode: str, options: dict[str, str], **more: Any) -> Any:
        asked.append(dict(options))
        raise av.error.ArgumentError(22, "Invalid argument", target)

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(SourceError):
        open_source("/dev/video7")
    assert [options.get("input_format") for options in asked] == ["h264", None]
    asked.clear()
    with pytest.raises(SourceError):
        open_source("/dev/video7", options={"input_format": "yuyv422"})
    assert [options.get("input_format") for options in asked] == ["yuyv422"]
