"""GStreamer pipelines as sources. tests/test_gst.py runs this in a process of its own: Debian's PyGObject and
torch abort where one process imports both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_vss.errors import SourceError
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame
from tests.helpers import toys

TEST = "videotestsrc num-buffers=20 pattern=ball"
X264 = "x264enc tune=zerolatency speed-preset=ultrafast bframes=0 ref=1"


def read(uri: str, **options: Any) -> tuple[Any, list[Frame]]:
    with open_source(uri, timeout_seconds=30, **options) as source:
        return source.info, list(source)


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


def test_an_encoded_branch_gives_vectors() -> None:
    caps = "video/x-raw,format=I420,width=320,height=240,framerate=25/1"
    info, frames = read(f"gst:{TEST} ! {caps} ! {X264} ! h264parse ! appsink", motion="codec")
    assert info.codec == "h264" and info.exports_vectors and len(frames) == 20
    moving = [frame.vectors for frame in frames if frame.vectors is not None]
    assert len(moving) >= 15 and max(np.abs(each.displacement_px).max() for each in moving) > 3
    assert {frame.picture_type for frame in frames} == {"I", "P"}


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


def test_a_pipeline_that_falls_silent_is_an_error_in_time() -> None:
    slow = "gst:videotestsrc is-live=true ! valve drop=true ! appsink"
    with pytest.raises(SourceError, match=r"fell silent \(nothing came for 0.5 s\)"):
        open_source(slow, timeout_seconds=0.5)
