"""GStreamer pipelines as sources. tests/test_gst.py runs this in a process of its own: Debian's PyGObject and
torch abort where one process imports both.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from edge_vss.errors import SourceError
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import Source, open_source
from edge_vss.video import Frame, Size
from tests.helpers import toys
from tests.helpers.logs import listening
from tests.helpers.videos import encode, pan

SOAK = bool(os.environ.get("EDGE_VSS_SOAK"))
LONG = 60.0
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


def test_vectors_towards_a_picture_that_was_never_shown_are_not_told() -> None:
    caps = "video/x-raw,format=NV12,width=320,height=240,framerate=25/1"
    fewer = "videorate drop-only=true max-rate=17"
    branches = f"tee name=t t. ! queue ! {fewer} ! appsink t. ! queue ! {X264} ! h264parse ! appsink"
    both = f"gst:{TEST} ! {caps} ! {branches}"
    _, frames = read(both, motion="codec")
    numbers = [round((frame.pts or 0) / 4e7) for frame in frames]
    steps = [now - then for then, now in pairwise(numbers)]
    assert {1, 2} <= set(steps)
    assert [frame.vectors is not None for frame in frames[1:]] == [step == 1 for step in steps]
    assert [bool(frame.start) for frame in frames] == [True] + [False] * len(steps)
    for step, frame in zip(steps, frames[1:], strict=True):
        assert frame.motion is not None and (frame.motion.coverage > 0.5) == (step == 1)
    # Where pictures may be looked at, the motion over the gap is found there.
    _, frames = read(both)
    providers = [frame.motion.provider for frame in frames[1:] if frame.motion]
    assert [name == "flow" for name in providers] == [step > 1 for step in steps]


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


def taken(source: Source, count: int) -> list[Frame]:
    return [next(source) for _ in range(count)]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [("num-buffers=10", "the pipeline ended"), ("! identity error-after=11", "")],
)
def test_a_pipeline_that_ends_or_fails_is_made_again(broken: str, reason: str) -> None:
    caps = "video/x-raw,format=I420,width=160,height=96,framerate=25/1"
    uri = f"gst:videotestsrc pattern=ball {broken} ! {caps} ! {X264} ! h264parse ! appsink"
    with listening() as told, open_source(uri, timeout_seconds=LONG, reconnect_seconds=LONG) as source:
        frames = taken(source, 25)
    starts = {frame.index: str(frame.start) for frame in frames if frame.start}
    assert [frame.index for frame in frames] == list(range(25))
    assert starts == {0: "first frame", 10: "reconnected", 20: "reconnected"}
    assert all((frame.motion is None) == bool(frame.start) for frame in frames)
    lines = [line for line in told if "several" not in line]
    assert len(lines) == 4
    for end, back in (lines[:2], lines[2:]):
        assert end.startswith(f"WARNING {source.info.uri}: {reason}") and end.endswith("it is opened again")
        assert back == f"WARNING {source.info.uri}: is back"
    # Without the option, that is the end.
    with open_source(uri, timeout_seconds=LONG) as source:
        assert len(taken(source, 10)) == 10
        if "error" in broken:
            with pytest.raises(SourceError, match=r"error-after=11.* failed"):
                next(source)
        else:
            assert next(source, None) is None


def test_both_branches_are_made_again() -> None:
    caps = "video/x-raw,format=NV12,width=160,height=96,framerate=25/1"
    branches = f"tee name=t t. ! queue ! appsink t. ! queue ! {X264} ! h264parse ! appsink"
    uri = f"gst:videotestsrc num-buffers=10 pattern=ball ! {caps} ! {branches}"
    with open_source(uri, timeout_seconds=LONG, reconnect_seconds=LONG) as source:
        frames = taken(source, 25)
    assert {frame.index: str(frame.start) for frame in frames if frame.start} == {
        0: "first frame",
        10: "reconnected",
        20: "reconnected",
    }
    # The vectors are those of the same pictures as before.
    one, other = frames[3].vectors, frames[13].vectors
    assert one is not None and other is not None
    assert np.array_equal(one.displacement_px, other.displacement_px)


@contextmanager
def sending(port: int, size: Size, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """A camera that sends a picture a datagram, while ``when`` says so."""
    image = pan(1, size)[0]
    done, encoded = cv2.imencode(".jpg", image)
    stop = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not stop.wait(0.02):
                if when():
                    out.sendto(encoded.tobytes(), ("127.0.0.1", port))

    assert done
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_camera_that_falls_silent_and_comes_back_as_another_one() -> None:
    port = free_port()
    uri = f"gst:udpsrc port={port} caps=image/jpeg ! appsink"
    with sending(port, (96, 128)):
        source = open_source(uri, timeout_seconds=0.5, reconnect_seconds=LONG)
        taken(source, 5)
    with closing(source), listening() as told:
        there = threading.Event()
        threading.Timer(1.5, there.set).start()
        with sending(port, (48, 64), there.is_set):
            frame = next(frame for frame in source if frame.start)
            came = time.time() - (frame.arrived_seconds or 0.0)
            after = taken(source, 3)
        assert there.is_set() and frame.start == "reconnected" and came < LONG / 10
        assert frame.size == source.info.size == (48, 64) and not any(each.start for each in after)
    ended = f"WARNING {source.info.uri}: nothing came for 0.5 s, so it is opened again"
    assert told == [ended, f"WARNING {source.info.uri}: is back"]


def test_a_camera_that_does_not_come_back_is_an_error_in_time(tmp_path: Path) -> None:
    place = tmp_path / "cam.mkv"
    encode(place, pan(5), fps=25)
    uri = f"gst:filesrc location={place} ! parsebin ! appsink"
    with open_source(uri, timeout_seconds=LONG, reconnect_seconds=1.0) as source:
        taken(source, 5)
        place.unlink()
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"did not come back within 1 s \(the pipeline ended\)"):
            next(source)
        assert time.monotonic() - began >= 1.0


def closed_while_it_waits(source: Source, shown: int) -> bool:
    """Whether a thread that reads on after so many frames ends when the source is closed."""
    taken(source, shown)
    reader = threading.Thread(target=list, args=(source,), daemon=True)
    reader.start()
    time.sleep(0.2)
    assert reader.is_alive()
    source.close()
    reader.join(LONG)
    return not reader.is_alive()


def test_closing_while_a_pipeline_is_away(tmp_path: Path) -> None:
    place = tmp_path / "cam.mkv"
    encode(place, pan(5), fps=25)
    uri = f"gst:filesrc location={place} ! parsebin ! appsink"
    source = open_source(uri, timeout_seconds=LONG, reconnect_seconds=10 * LONG)
    place.unlink()
    assert closed_while_it_waits(source, 5)


def test_closing_while_a_pipeline_is_silent() -> None:
    port = free_port()
    with sending(port, (48, 64)):
        source = open_source(f"gst:udpsrc port={port} caps=image/jpeg ! appsink", timeout_seconds=10 * LONG)
    assert closed_while_it_waits(source, 1)


def test_a_camera_that_comes_back_with_another_codec(tmp_path: Path) -> None:
    place, other = tmp_path / "cam.mkv", tmp_path / "other.mkv"
    encode(place, pan(8), fps=25)
    encode(other, pan(8, (48, 64)), codec="mjpeg", pix_fmt="yuvj420p", fps=25)
    uri = f"gst:filesrc location={place} ! parsebin ! appsink"
    with open_source(uri, timeout_seconds=LONG, reconnect_seconds=LONG) as source:
        assert (source.info.codec, source.info.exports_vectors) == ("h264", True)
        before = taken(source, 8)
        other.replace(place)
        after = taken(source, 8)
        assert (source.info.codec, source.info.exports_vectors) == ("mjpeg", False)
        assert source.info.size == (48, 64)
    assert [frame.index for frame in after] == list(range(8, 16)) and after[0].start == "reconnected"
    assert {frame.motion.provider for frame in before[1:] if frame.motion} == {"codec"}
    assert {frame.motion.provider for frame in after[1:] if frame.motion} == {"flow"}


def test_nothing_grows_when_a_pipeline_is_made_again_and_again() -> None:
    times, process, grown = 200 if SOAK else 5, psutil.Process(), []
    caps = "video/x-raw,format=I420,width=160,height=96,framerate=25/1"
    uri = f"gst:videotestsrc num-buffers=3 ! {caps} ! {X264} ! h264parse ! appsink"
    with open_source(uri, timeout_seconds=LONG, reconnect_seconds=LONG) as source:
        for _ in range(times):
            taken(source, 3)
            grown.append((process.num_fds(), process.num_threads()))
    # One look may meet the threads of a pipeline that is just ending.
    assert grown[-1][0] <= grown[1][0] + 2 and grown[-1][1] <= grown[1][1] + 8


def test_key_frames_of_a_pipeline_in_the_background() -> None:
    caps = "video/x-raw,format=NV12,width=320,height=240,framerate=25/1"
    live = "videotestsrc is-live=true num-buffers=50 pattern=ball"
    toy = toys.segmenter((240, 320), (24, 32))

    def slow(tensors: Mapping[str, Any]) -> Any:
        time.sleep(0.1)
        return toy.graphs["key"](tensors)

    segmenter = replace(toy, graphs={**toy.graphs, "key": slow})
    with (
        segmenter.session("continuous", background=True) as session,
        open_source(f"gst:{live} ! {caps} ! appsink") as source,
    ):
        report = run(source, session)
    assert (report.frames, report.skipped) == (50, 0) and report.keyframes >= 5
    figures = report.timing.figures()
    # Each picture takes 40 ms, and the network 100: no frame waited for it, and no label is its frame's own.
    assert figures.age_ms.p50 > 0
