"""RTSP cameras for real: GStreamer's server is started, killed and restarted, with and without a password."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import pairwise

import psutil
import pytest

from edge_vss.errors import SourceError
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import Source, open_source
from edge_vss.runtimes.timing import percentiles, rss_mb
from edge_vss.runtimes.web.stream import Keeping, Stream
from edge_vss.video import Frame
from tests.helpers import toys
from tests.helpers.logs import listening
from tests.helpers.page import LONG, until
from tests.helpers.rtsp import camera, needed

SOAK = bool(os.environ.get("EDGE_VSS_SOAK"))
TIMES = 200 if SOAK else 5
"""How often the camera goes and comes back."""


@pytest.fixture(autouse=True)
def _server() -> None:
    needed()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def url(port: int, user: str = "") -> str:
    return f"rtsp://{user}{'@' if user else ''}127.0.0.1:{port}/cam"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_over_both_transports(port: int, transport: str) -> None:
    options = {"rtsp_transport": transport}
    with camera(port), open_source(url(port), timeout_seconds=LONG, options=options) as source:
        frames = [next(source) for _ in range(30)]
        assert (source.info.codec, source.info.size, source.info.fps) == ("h264", (96, 128), 25.0)
        assert source.info.live and source.info.exports_vectors and source.info.references == 1
    assert [frame.index for frame in frames] == list(range(30))
    assert sum(frame.motion is not None for frame in frames) >= 25
    assert all(frame.arrived_seconds for frame in frames)


def test_capture_times_are_the_cameras_as_soon_as_it_tells(port: int) -> None:
    with camera(port), open_source(url(port), timeout_seconds=LONG) as source:
        frames: list[Frame] = []
        while not frames or frames[-1].capture_clock != "rtcp":
            frames.append(next(source))
        told = [next(source) for _ in range(25)]
    assert frames[0].capture_clock in ("arrival", "rtcp")
    times = [frame.captured_seconds or 0.0 for frame in told]
    assert all(frame.capture_clock == "rtcp" for frame in told)
    # Camera and reader share a clock here; pictures are 40 ms apart.
    assert all(0.0 < later - earlier < 0.2 for earlier, later in pairwise(times))
    arrived = [frame.arrived_seconds or 0.0 for frame in told]
    assert all(-1.0 < came - taken < LONG for came, taken in zip(arrived, times, strict=True))


def test_a_password_lets_in_and_is_never_shown(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with listening() as told, camera(port, user="me:s3cret"):
        with open_source(url(port, "me:s3cret"), timeout_seconds=LONG) as source:
            assert source.info.uri == url(port, "***")
            assert next(source).size == (96, 128)
        for wrong in ("me:wr0ng", "you:s3cret", ""):
            with pytest.raises(SourceError, match="refuses the user and password") as caught:
                open_source(url(port, wrong), timeout_seconds=LONG)
            assert "wr0ng" not in str(caught.value) and "s3cret" not in str(caught.value)
    out = capfd.readouterr()
    assert not any(secret in text for secret in ("s3cret", "wr0ng") for text in (out.out, out.err, *told))


def test_the_program_shows_no_password_either(port: int, tiny_bundle: object) -> None:
    with camera(port, user="me:s3cret"):
        for verb in (["run", str(tiny_bundle)], ["motion"]):
            command = [sys.executable, "-m", "edge_vss", *verb, url(port, "me:wr0ng")]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
            assert "wr0ng" not in done.stderr and "refuses the user and password" in done.stderr


def test_a_camera_that_goes_and_comes_back(port: int) -> None:
    source: Source | None = None
    process, back, grown = psutil.Process(), [], []
    for turn in range(TIMES):
        with camera(port):
            there = time.monotonic()
            if source is None:
                source = open_source(url(port), timeout_seconds=LONG, reconnect_seconds=LONG)
            frame = next(source)
            while turn and not frame.start:
                frame = next(source)
            back.append(time.monotonic() - there)
            assert frame.start == ("reconnected" if turn else "first frame")
            assert frame.motion is None and frame.vectors is None
            # The newest one: nothing waited somewhere meanwhile.
            assert time.time() - (frame.arrived_seconds or 0.0) < LONG / 10
            after = [next(source) for _ in range(4)]
            assert all(not each.start for each in after) and after[-1].motion is not None
        grown.append((process.num_fds(), threading.active_count(), rss_mb()))
    assert source is not None
    source.close()
    assert grown[-1][:2] == grown[min(1, TIMES - 1)][:2]
    if SOAK:
        assert percentiles(back[1:]).p95 < 1000
        assert grown[-1][2] - grown[TIMES // 4][2] < 20


@pytest.mark.parametrize(("codec", "size"), [("h264", "192x160"), ("mjpeg", "128x96")])
def test_another_camera_answers(port: int, codec: str, size: str) -> None:
    width, height = map(int, size.split("x"))
    segmenter = toys.segmenter((96, 128), (24, 32))
    with camera(port):
        source = open_source(url(port), timeout_seconds=LONG, reconnect_seconds=LONG)
        next(source)
    with closing(source), camera(port, codec, size):
        session = segmenter.session()
        frame = next(source)
        while not frame.start:
            frame = next(source)
        assert frame.start in ("reconnected", "size changed") and frame.size == (height, width)
        assert session.step(frame).decision.route == "start"
        later = [next(source) for _ in range(8)]
        # What describes the stream is the new camera's.
        assert (source.info.codec, source.info.size) == (codec, (height, width))
        assert source.info.exports_vectors is (codec != "mjpeg")
        wanted = "flow" if codec == "mjpeg" else "codec"
        found = {part for each in later if each.motion for part in each.motion.provider.split("+")}
        assert wanted in found
        assert all(session.step(each).labels.shape == (height, width) for each in later)


def test_serve_keeps_a_camera_going(port: int) -> None:
    keeping = Keeping(Opening(timeout_seconds=LONG), silence_seconds=LONG)
    stream = Stream(url(port), toys.segmenter((96, 128), (24, 32)), keeping)
    stream.start()
    for turn in range(3):
        with camera(port):
            before = stream.figures.labelled
            until(lambda before=before: stream.figures.labelled > before + 10)  # type: ignore[misc]
        until(lambda turn=turn: stream.report().restarts > turn)  # type: ignore[misc]
        assert stream.report().clock in ("arrival", "rtcp")
    stream.stop()
    assert "hangs" not in stream.report().problem


def test_a_run_over_rtsp_ends_with_its_limit(port: int) -> None:
    segmenter = toys.segmenter((96, 128), (24, 32))
    with camera(port), open_source(url(port), timeout_seconds=LONG) as source:
        report = run(source, segmenter.session(), limit=25)
    assert report.frames + report.skipped == 25 and report.losses == 0
