"""Live sources for real: one process encodes and sends MPEG-TS over loopback, this one segments it.

Nothing here depends on how fast the machine is. Senders go on until they are stopped. A time has to pass only
where that is what is tested.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sinks import SinkContext, open_sink
from edge_vss.runtimes.sources import Source, open_source
from edge_vss.runtimes.sources._decoding import Decoding
from edge_vss.video import Frame
from tests.helpers import toys
from tests.helpers.hanging_up import answering, gone
from tests.helpers.logs import listening
from tests.helpers.videos import remux

LONG = 120
"""Seconds that nothing takes which goes well."""
ENDLESS = 1_000_000
"""More frames than anybody waits for."""

SENDER = """
import sys, time
from fractions import Fraction
import av
from tests.helpers.videos import P_ONLY, pan
url, count, fps, gop, stay = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5])
images = pan(40)
with av.open(url, "w", format="mpegts", options={"flush_packets": "1"}) as container:
    stream = container.add_stream("libx264", rate=fps)
    stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
    stream.options = {**P_ONLY, "g": gop, "tune": "zerolatency", "x264-params": "repeat-headers=1"}
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / fps - time.monotonic()))
        picture = av.VideoFrame.from_ndarray(images[number % 40], "rgb24")
        picture.pts, picture.time_base = number, Fraction(1, fps)
        container.mux(stream.encode(picture))
    time.sleep(stay)
    container.mux(stream.encode(None))
"""


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def sender(url: str, count: int, fps: int = 50, gop: int = 10, stay: float = 0.0) -> Iterator[None]:
    """Another process that sends ``count`` frames, is silent for ``stay`` seconds, and ends."""
    command = [sys.executable, "-c", SENDER, url, str(count), str(fps), str(gop), str(stay)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def test_segmenting_a_stream_over_udp(tmp_path: Path) -> None:
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    segmenter = toys.segmenter((96, 128), (24, 32), "interval:10")
    seen: list[Prediction] = []

    def on_frame(frame: Frame, prediction: Prediction | None) -> None:
        if prediction is not None:
            seen.append(prediction)

    with sender(f"{url}?pkt_size=1316", ENDLESS), open_source(url, timeout_seconds=LONG) as source:
        assert source.info.live
        assert source.info.codec == "h264"
        assert source.info.size == (96, 128)
        assert source.info.references == 1
        sinks = [open_sink("video", tmp_path / "v.mp4", SinkContext.of(segmenter.manifest, source.info))]
        report = run(source, segmenter.session(), sinks, on_frame=on_frame, limit=60)
    assert report.frames + report.skipped == 60
    assert report.frames == len(seen) >= 1
    assert seen[0].decision.route == "start"
    assert np.all(np.diff([prediction.pts_seconds for prediction in seen]) > 0)
    assert {prediction.labels.shape for prediction in seen} == {(96, 128)}


def test_a_stream_over_tcp_that_ends() -> None:
    port = free_port(socket.SOCK_STREAM)
    segmenter = toys.segmenter((96, 128), (24, 32))
    frames: list[Frame] = []
    url = f"tcp://127.0.0.1:{port}"
    with sender(f"{url}?listen=1", 60, fps=100), open_when_there(url) as source:
        assert source.info.live
        report = run(source, segmenter.session(), on_frame=lambda frame, prediction: frames.append(frame))
    assert len(frames) == report.frames + report.skipped == 60
    assert [frame.start for frame in frames] == ["first frame", *[""] * 59]
    moving = [frame for frame in frames if frame.vectors is not None]
    assert len(moving) >= 50


def open_when_there(url: str, timeout_seconds: float = LONG, reconnect_seconds: float = 0.0) -> Source:
    """Opens what another process is about to offer."""
    while True:
        with suppress(SourceError):
            return open_source(url, timeout_seconds=timeout_seconds, reconnect_seconds=reconnect_seconds)
        time.sleep(0.1)


def test_a_stream_that_falls_silent_is_an_error_in_time() -> None:
    url = f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    shown: list[int] = []
    # All frames are sent at once: only their end is a silence.
    with (
        sender(f"{url}?listen=1", 30, fps=1000, stay=LONG),
        open_when_there(url, 2.0) as source,
        pytest.raises(SourceError, match="fell silent"),
    ):
        shown.extend(frame.index for frame in source)
    # What came before the silence was handed out.
    assert shown[-1] >= 28


def test_a_camera_that_comes_back_starts_anew() -> None:
    port = free_port(socket.SOCK_STREAM)
    url = f"tcp://127.0.0.1:{port}"
    frames: list[Frame] = []
    with sender(f"{url}?listen=1", 30, fps=100):
        source = open_when_there(url, LONG, LONG)
        frames += [next(source) for _ in range(30)]
    with listening() as told, source, sender(f"{url}?listen=1", 30, fps=100):
        frames += [next(source) for _ in range(30)]
    assert told == [
        f"WARNING {url}: the stream ended, so it is opened again",
        f"WARNING {url}: is back",
    ]
    assert {frame.index: frame.start for frame in frames if frame.start} == {
        0: "first frame",
        30: "reconnected",
    }
    assert frames[30].motion is None
    assert frames[31].motion is not None


@pytest.fixture(scope="module")
def sent(p_only: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a camera sends: 30 frames in 1.2 s."""
    path = tmp_path_factory.mktemp("sent") / "v.ts"
    return remux(p_only, path, lambda number, content: content).read_bytes()


def test_a_camera_that_lets_in_and_sends_no_frame_has_not_come_back(sent: bytes) -> None:
    answers: list[int] = []

    def answer(connection: socket.socket, number: int) -> bool:
        answers.append(number)
        # Tables, and the beginning of a key frame.
        connection.sendall(sent[: 188 * 6] if number else sent)
        return number < 200

    with listening() as told, answering(answer) as port:
        url = f"tcp://127.0.0.1:{port}"
        with open_source(url, timeout_seconds=LONG, reconnect_seconds=1.0) as source:
            shown: list[int] = []
            failed: SourceError | None = None
            try:
                shown.extend(frame.index for frame in source)
            except SourceError as error:
                failed = error
    assert len(shown) == 30
    assert "did not come back within 1 s" in str(failed)
    # There are pauses between two tries, and nothing is back.
    assert 2 <= len(answers) <= 10
    assert [line for line in told if "again" in line or "back" in line] == [
        f"WARNING {url}: the stream ended, so it is opened again"
    ]


def test_closing_while_a_camera_is_away(sent: bytes) -> None:
    with gone(sent) as port, listening() as told:
        url = f"tcp://127.0.0.1:{port}"
        source = open_source(url, timeout_seconds=LONG, reconnect_seconds=10 * LONG)
        reader = threading.Thread(target=list, args=(source,), daemon=True)
        reader.start()
        deadline = time.monotonic() + LONG
        while not any("opened again" in line for line in told) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert reader.is_alive()
        source.close()
        reader.join(LONG / 4)
        assert not reader.is_alive()


def test_closing_while_packets_make_no_frames(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    over, blind = threading.Event(), threading.Event()

    def answer(connection: socket.socket, number: int) -> bool:
        while not over.is_set():
            connection.sendall(sent)
        return False

    def withholds(decoding: Decoding, whole: bool) -> bool:
        return blind.is_set()

    monkeypatch.setattr(Decoding, "withholds", withholds)
    with answering(answer) as port:
        source = open_source(f"tcp://127.0.0.1:{port}", timeout_seconds=LONG)
        next(source)
        blind.set()
        reader = threading.Thread(target=list, args=(source,), daemon=True)
        reader.start()
        source.close()
        reader.join(LONG / 4)
        ended = not reader.is_alive()
        over.set()
    assert ended


def test_nobody_there() -> None:
    with pytest.raises(SourceError, match="Connection refused"):
        open_source(f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}")
    with pytest.raises(SourceError, match=r"gave nothing within 0\.5 s"):
        open_source(f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", timeout_seconds=0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        with pytest.raises(SourceError, match=r"gave nothing within 0\.5 s"):
            open_source(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/cam", timeout_seconds=0.5)
        with pytest.raises(SourceError, match=r"gave nothing within 0\.5 s"):
            open_source(f"http://127.0.0.1:{mute.getsockname()[1]}/cam.mp4", timeout_seconds=0.5)


def test_closing_from_another_thread_while_nothing_comes() -> None:
    url = f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    shown = threading.Semaphore(0)

    def read() -> None:
        for _ in source:
            shown.release()

    with sender(f"{url}?listen=1", 30, fps=100, stay=LONG):
        source = open_when_there(url)
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        # A decoder may keep a frame or two back.
        assert all(shown.acquire(timeout=LONG) for _ in range(28))
        source.close()
        # The reader still waits for a packet, and close() has not waited for the reader.
        assert reader.is_alive()
    # The sender has gone, which ends the wait.
    reader.join(LONG)
    assert not reader.is_alive()


def test_no_seeking_in_a_live_stream(p_only: Path) -> None:
    with open_source(p_only, live=True) as source, pytest.raises(OptionError, match="live"):
        source.seek(1)
