"""Streams that hang, fail, end and record: each is named, begun anew, and leaves the others alone."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge_vss.decisions import Decision, Prediction
from edge_vss.errors import OptionError, SinkError
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sinks import SinkContext, open_sink
from edge_vss.runtimes.sinks.ring import Ring
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.web.notify import notify, watchdog_seconds
from edge_vss.runtimes.web.stream import Keeping, Stream
from edge_vss.runtimes.web.watch import Watch
from edge_vss.video import Frame
from tests.helpers import toys
from tests.helpers.logs import listening
from tests.helpers.page import LONG, until

SIZE = (96, 128)


class Hanging:
    """A graph that hangs from its n-th call on, until it is let go."""

    def __init__(self, graph: Callable[[Mapping[str, Any]], Any], after: int) -> None:
        self._graph = graph
        self._left = after
        self.go_on = threading.Event()
        self.calls = 0

    def __call__(self, tensors: Mapping[str, Any]) -> Any:
        self._left -= 1
        self.calls += 1
        if self._left < 0:
            # Longer than any test waits for what has to go on meanwhile.
            self.go_on.wait(10 * LONG)
        return self._graph(tensors)


def toy() -> Segmenter:
    return toys.segmenter(SIZE, (24, 32))


def kept(path: Path | str, segmenter: Segmenter | None = None, **options: Any) -> Stream:
    keeping = options.pop("keeping", Keeping(hang_seconds=0.5))
    return Stream(str(path), segmenter or toy(), keeping, **options)


@pytest.mark.parametrize("stage", ["key", "state"])
def test_a_graph_that_hangs_is_named_and_the_stream_begun_anew(p_only: Path, stage: str) -> None:
    whole = toy()
    hanging = Hanging(whole.graphs[stage], after=2)
    other = kept(p_only)
    stream = kept(p_only, replace(whole, graphs={**whole.graphs, stage: hanging}), reload=toy)
    with listening() as told:
        for each in (stream, other):
            each.start()
        until(lambda: stream.report().restarts == 1)
        until(lambda: stream.report().labelled > 40)
        found = stream.report()
        hanging.go_on.set()
        for each in (stream, other):
            each.stop()
    assert found.ok and found.problem == ""
    (line,) = [line for line in told if line.startswith("ERROR")]
    assert f"the stage {stage} hangs for" in line and "begun anew" in line
    assert other.report().restarts == 0
    assert hanging.calls == 3, "the new stream has graphs of its own"


def test_a_sink_that_hangs_is_named(p_only: Path) -> None:
    go_on = threading.Event()

    class Stuck:
        def __init__(self, first: bool) -> None:
            self.first = first

        def write(self, frame: Frame, prediction: Prediction) -> None:
            if self.first and frame.index == 3:
                go_on.wait(LONG)

        def close(self) -> None:
            pass

    opened: list[Stuck] = []

    def sinks(context: SinkContext) -> list[Stuck]:
        opened.append(Stuck(not opened))
        return [opened[-1]]

    stream = kept(p_only, sinks=sinks)
    stream.start()
    with listening() as told:
        until(lambda: stream.report().restarts == 1 and len(opened) == 2)
        until(lambda: any("sinks hangs" in line for line in told))
    before = stream.report().labelled
    until(lambda: stream.report().labelled > before + 5)
    go_on.set()
    stream.stop()


def test_a_stage_may_take_longer_the_first_time() -> None:
    watch, now = Watch(), [0.0]
    for seconds, hangs in ((5.0, False), (11.0, True)):
        with watch("key", 1.0):
            begun = time.monotonic()
            assert (watch.hanging(lambda: begun + seconds) is not None) is hangs  # noqa: B023
            watch._seen.clear()
    with watch("key", 1.0):
        pass
    with watch("key", 1.0):
        found = watch.hanging(lambda: time.monotonic() + 2.0)
    assert found is not None and found[0] == "key" and found[1] >= 2.0
    assert watch.hanging(lambda: now[0] + 1e9) is None


def test_a_policy_that_fails_is_told_and_the_others_go_on(p_only: Path) -> None:
    whole = toy()

    def torn(tensors: Mapping[str, Any]) -> Any:
        raise RuntimeError("no such kernel")

    broken = kept(p_only, replace(whole, graphs={**whole.graphs, "state": torn}))
    good = kept(p_only)
    for each in (broken, good):
        each.start()
    until(lambda: broken.report().restarts > 1 and good.report().labelled > 10)
    until(lambda: "no such kernel" in broken.report().problem)
    assert good.report().restarts == 0
    for each in (broken, good):
        each.stop()


def test_stopping_ends_the_threads(p_only: Path) -> None:
    before = threading.active_count()
    streams = [kept(p_only) for _ in range(3)]
    for stream in streams:
        stream.start()
    until(lambda: all(stream.report().labelled for stream in streams))
    for stream in streams:
        stream.stop()
    until(lambda: threading.active_count() <= before)


def test_a_camera_that_refuses_the_password_is_not_asked_again_at_once() -> None:
    asked = 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def refuse() -> None:
            nonlocal asked
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    while data := connection.recv(4096):
                        sequence = data.split(b"CSeq: ")[1].split(b"\r\n")[0]
                        if data.startswith(b"OPTIONS"):
                            connection.sendall(
                                b"RTSP/1.0 200 OK\r\nCSeq: %s\r\nPublic: DESCRIBE\r\n\r\n" % sequence
                            )
                            continue
                        asked += 1
                        refusal = b'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="cam"\r\n'
                        connection.sendall(refusal + b"CSeq: %s\r\n\r\n" % sequence)

        threading.Thread(target=refuse, daemon=True).start()
        stream = kept(f"rtsp://admin:hunter2@127.0.0.1:{port}/cam")
        with listening() as told:
            stream.start()
            until(lambda: "user and password" in stream.report().problem)
            first = asked
            time.sleep(1.0)
            stream.stop()
        server.shutdown(socket.SHUT_RDWR)
    assert asked == first
    assert "hunter2" not in "".join(told) + stream.report().problem + stream.name


def test_a_camera_that_is_away_is_told_once_and_that_it_is_back(p_only: Path, tmp_path: Path) -> None:
    place = tmp_path / "camera.mp4"
    stream = kept(place)
    with listening() as told:
        stream.start()
        until(lambda: stream.report().restarts > 4)
        os.link(p_only, place)
        until(lambda: stream.report().labelled > 0)
        stream.stop()
    away, back = (line for line in told if line.startswith("WARNING"))
    assert "no such file" in away and "camera.mp4" in away and back.endswith("is back")


def predictions(path: Path, count: int) -> list[tuple[Frame, Prediction]]:
    with open_source(path, motion="none") as source:
        labels = np.zeros(SIZE, np.uint8)
        return [
            (frame, Prediction(labels, Decision("key", "first"), 0, frame.index, frame.pts_seconds))
            for frame, _ in zip(source, range(count), strict=False)
        ]


def context() -> SinkContext:
    return SinkContext(("dark", "light"), ((0, 0, 0), (255, 255, 255)), None, SIZE, 25.0)


def played(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_ring_keeps_the_newest_and_stays_below_its_limit(p_only: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    limit = 120_000
    ring = Ring(tmp_path, context(), limit, seconds=LONG)
    frames = predictions(p_only, 30)
    sizes = []
    for turn in range(20):
        for frame, prediction in frames:
            ring.write(frame, replace(prediction, pts_seconds=turn * 1.2 + prediction.pts_seconds))
        sizes.append(sum(path.stat().st_size for path in tmp_path.glob("*.mp4")))
    ring.close()
    parts = sorted(tmp_path.glob("*.mp4"))
    assert len(parts) >= 3 and max(sizes) <= limit
    assert sizes[-1] > limit / 3
    assert all(played(part) > 0 for part in parts)
    assert (tmp_path / "note.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(p.name for p in parts), "note.txt"])


def test_a_ring_goes_on_when_the_disk_is_full(
    p_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = predictions(p_only, 30)
    ring = Ring(tmp_path, context(), 10**9, seconds=0.0)
    for frame, prediction in frames[:5]:
        ring.write(frame, prediction)
    before = sorted(tmp_path.glob("*.mp4"))
    assert len(before) == 5
    real, left = Ring._add, [2]

    def full(self: Ring, frame: Frame, prediction: Prediction) -> None:
        if left[0]:
            left[0] -= 1
            try:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                raise SinkError("cannot write x.mp4 (No space left on device): make room there") from None
        real(self, frame, prediction)

    monkeypatch.setattr(Ring, "_add", full)
    with listening() as told:
        ring.write(*frames[5])
    ring.close()
    assert [line.endswith("the disk is full, so older parts go") for line in told] == [True, True]
    assert not before[0].exists() and not before[1].exists() and before[2].exists()
    # Where nothing is left to delete, it is an error.
    left[0] = 99
    alone = Ring(tmp_path / "alone", context())
    with pytest.raises(SinkError, match="No space left"):
        alone.write(*frames[0])
    alone.close()


def test_a_ring_is_a_sink_like_any_other(p_only: Path, tmp_path: Path) -> None:
    segmenter = toy()
    place = f"{tmp_path / 'kept'}?mb=1&seconds=0.001"
    with open_source(p_only) as source:
        run(
            source,
            segmenter.session(),
            [open_sink("ring", place, SinkContext.of(segmenter.manifest, source.info))],
        )
    parts = sorted((tmp_path / "kept").glob("*.mp4"))
    assert len(parts) > 3 and sum(map(played, parts)) == 30
    for bad in ("?mb=0", "?mb=x", "?gb=1", "?seconds=nan", "?seconds=-1"):
        with pytest.raises(OptionError, match="a ring has no setting"):
            open_sink("ring", f"{tmp_path}{bad}", context())
    first = open_sink("ring", tmp_path / "kept", context())
    with pytest.raises(SinkError, match="is in use"):
        open_sink("ring", tmp_path / "kept", context())
    first.close()


def test_stopping_a_stream_leaves_a_recording_that_plays(p_only: Path, tmp_path: Path) -> None:
    stream = kept(p_only, sinks=lambda context: [Ring(tmp_path, context)])
    stream.start()
    until(lambda: stream.report().labelled > 5)
    stream.stop()
    assert sum(map(played, tmp_path.glob("*.mp4"))) > 5


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        place = str(tmp_path / "notify")
        manager.bind(place)
        monkeypatch.setenv("NOTIFY_SOCKET", place)
        notify(READY="1", STATUS="2 streams")
        assert manager.recv(1000) == b"READY=1\nSTATUS=2 streams"
    notify(READY="1")
    monkeypatch.setenv("NOTIFY_SOCKET", "")
    notify(READY="1")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_seconds() == 15.0
    monkeypatch.delenv("WATCHDOG_USEC")
    assert watchdog_seconds() is None


def test_a_source_that_hangs_is_named(p_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    real = Opening.open
    opened: list[int] = []

    def stuck(self: Opening, *args: Any, **options: Any) -> Any:
        source = real(self, *args, **options)
        opened.append(1)
        if len(opened) == 1:
            frames = source._frames

            def hanging() -> Any:
                yield next(frames)
                yield next(frames)
                go_on.wait(LONG)

            source._frames = hanging()
        return source

    monkeypatch.setattr(Opening, "open", stuck)
    stream = kept(p_only, keeping=Keeping(Opening(timeout_seconds=0.1), hang_seconds=0.3))
    stream.start()
    with listening() as told:
        until(lambda: any("the stage source hangs" in line for line in told))
        until(lambda: stream.report().labelled > 10)
    go_on.set()
    stream.stop()
