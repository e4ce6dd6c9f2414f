from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest

from edge_vss.decisions import Prediction
from edge_vss.errors import EngineError, OptionError, SinkError, SourceError
from edge_vss.plugins import Plugin
from edge_vss.runtimes._reader import QUEUE_FRAMES
from edge_vss.runtimes._runner import Runner
from edge_vss.runtimes.engines import Graph
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.pipeline import motion_for, run
from edge_vss.runtimes.sinks import SINKS, Sink, SinkContext, open_sink, video
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame, StartReason, StreamInfo
from tests.helpers import toys
from tests.helpers.videos import decoded
from tests.test_session import frames


class Collector:
    """A sink that remembers, and may be slow or fail."""

    def __init__(self, seconds: float = 0.0, fails_at: int = -1, fails_to_close: bool = False) -> None:
        self.indices: list[int] = []
        self.closed = 0
        self._seconds, self._fails_at, self._fails_to_close = seconds, fails_at, fails_to_close

    def write(self, frame: Frame, prediction: Prediction) -> None:
        time.sleep(self._seconds)
        if prediction.index == self._fails_at:
            raise SinkError(f"cannot write frame {prediction.index}")
        self.indices.append(prediction.index)

    def close(self) -> None:
        self.closed += 1
        if self._fails_to_close:
            raise SinkError("cannot close")


def edge_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edge-vss")]


def test_every_frame_in_order_through_every_sink() -> None:
    sinks: list[Sink] = [Collector(), Collector(0.001)]
    seen: list[int] = []

    def on_frame(frame: Frame, prediction: Prediction | None) -> None:
        assert prediction is not None
        assert threading.current_thread() is threading.main_thread()
        seen.append(frame.index)

    report = run(frames(40, step=1), toys.segmenter().session("interval:8"), sinks, on_frame=on_frame)
    for sink in sinks:
        assert isinstance(sink, Collector)
        assert sink.indices == list(range(40))
        assert sink.closed == 1
    assert seen == list(range(40))
    assert (report.frames, report.keyframes, report.skipped) == (40, 5, 0)
    assert report.stages["decode"] == pytest.approx(40 * 0.25)
    assert {"key", "state", "post", "sink", "image", "motion"} <= set(report.stages)
    assert edge_threads() == []


def test_a_video_into_all_sinks(p_only: Path, tmp_path: Path) -> None:
    segmenter = toys.segmenter((96, 128), (24, 32))
    with open_source(p_only) as source:
        context = SinkContext.of(segmenter.manifest, source.info)
        places = {"video": "overlay.mp4", "labels": "labels", "jsonl": "out.jsonl"}
        sinks = [open_sink(name, tmp_path / place, context) for name, place in places.items()]
        report = run(source, segmenter.session(), sinks)
    assert report.frames == 30
    assert report.fps > 0
    assert len(decoded(tmp_path / "overlay.mp4")) == 30
    assert len(list((tmp_path / "labels").glob("*.png"))) == 30
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 30


def test_stages_run_at_once() -> None:
    # All three have to be at work in the same moment for any of them to go on.
    together = threading.Barrier(3, timeout=60)
    session = toys.segmenter().session("interval:1")
    graph, steps = toys.segmenter().graphs["key"], itertools.count()

    def camera() -> Iterator[Frame]:
        for frame in frames(30, step=1):
            if frame.index == 5:
                together.wait()
            yield frame

    def key(tensors: toys.Tensors) -> toys.Tensors:
        if next(steps) == 2:
            together.wait()
        return graph(tensors)

    class Waiting(Collector):
        def write(self, frame: Frame, prediction: Prediction) -> None:
            if frame.index == 0:
                together.wait()
            super().write(frame, prediction)

    session._runner = Runner(toys.manifest(), {**toys.segmenter().graphs, "key": key})
    report = run(camera(), session, [Waiting()])
    assert report.frames == 30 and not together.broken
    assert all(0 < seconds <= report.seconds for seconds in report.busy.values())


def test_losses_that_the_source_noticed_are_counted() -> None:
    for drop in (False, True):
        shown = frames(30, step=1)
        for index in (4, 5, 17):
            shown[index].start = StartReason.LOST_PACKETS
        shown[20].start = StartReason.SEEK
        report = run(shown, toys.segmenter().session("interval:100"), drop_inference=drop)
        assert report.frames + report.skipped == 30 and report.losses == 3


def test_limit_leaves_the_rest_for_later() -> None:
    source = iter(frames(20, step=1))
    session = toys.segmenter().session("interval:100")
    first, second = Collector(), Collector()
    assert run(source, session, [first], limit=7).frames == 7
    assert run(source, session, [second]).frames == 13
    assert first.indices + second.indices == list(range(20))


def failing_source() -> Iterator[Frame]:
    yield from frames(6, step=1)
    raise SourceError("the camera is gone")


def test_an_error_of_the_source_comes_after_the_frames_before_it() -> None:
    sink = Collector()
    with pytest.raises(SourceError, match="camera is gone"):
        run(failing_source(), toys.segmenter().session(), [sink])
    assert sink.indices == list(range(6))
    assert sink.closed == 1
    assert edge_threads() == []


def test_an_error_of_a_sink_ends_the_run_and_closes_the_others() -> None:
    good, bad = Collector(), Collector(fails_at=3)
    session = toys.segmenter().session()
    with pytest.raises(SinkError, match="frame 3"):
        run(frames(1000, step=0), session, [good, bad])
    assert good.indices == [0, 1, 2, 3]
    assert bad.indices == [0, 1, 2]
    assert good.closed == bad.closed == 1
    assert edge_threads() == []


def test_an_error_of_a_graph_keeps_what_was_made_before() -> None:
    segmenter = toys.segmenter()
    calls = []

    def state(tensors: toys.Tensors) -> toys.Tensors:
        calls.append(1)
        if len(calls) == 4:
            raise EngineError("the state graph gave NaN")
        return segmenter.graphs["state"](tensors)

    sink = Collector(0.01)
    broken = replace(segmenter, graphs={**segmenter.graphs, "state": state})
    with pytest.raises(EngineError, match="NaN"):
        run(frames(100, step=0), broken.session("interval:50"), [sink])
    assert sink.indices == [0, 1, 2, 3]
    assert sink.closed == 1


def test_an_error_on_closing_is_told_and_does_not_keep_other_sinks_open() -> None:
    first, second = Collector(fails_to_close=True), Collector()
    with pytest.raises(SinkError, match="cannot close"):
        run(frames(3), toys.segmenter().session(), [first, second])
    assert first.closed == second.closed == 1
    # The first error is the one to know about.
    with pytest.raises(SinkError, match="frame 1"):
        run(frames(3), toys.segmenter().session(), [Collector(fails_at=1, fails_to_close=True)])


def test_an_error_of_the_caller_s_callback() -> None:
    sink = Collector()

    def stop(frame: Frame, prediction: Prediction | None) -> None:
        if frame.index == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(frames(1000, step=0), toys.segmenter().session(), [sink], on_frame=stop)
    assert sink.closed == 1
    assert sink.indices == [0, 1, 2, 3]


def test_a_source_without_frames() -> None:
    sink = Collector()
    report = run([], toys.segmenter().session(), [sink])
    assert (report.frames, sink.closed) == (0, 1)


def test_late_inference_is_dropped_and_motion_is_not() -> None:
    segmenter = toys.segmenter()
    begun, go = threading.Semaphore(0), threading.Semaphore(0)

    def camera() -> Iterator[Frame]:
        """Fills the queue while a graph works, and lets the graph go on then."""
        first, *rest = frames(40, step=1)
        yield first
        for place in range(0, len(rest), QUEUE_FRAMES):
            assert begun.acquire(timeout=60)
            yield from rest[place : place + QUEUE_FRAMES]
            go.release()
        # The last graph has nothing to wait for.
        go.release()

    def slow(name: str) -> Graph:
        def graph(tensors: toys.Tensors) -> toys.Tensors:
            begun.release()
            assert go.acquire(timeout=60)
            return segmenter.graphs[name](tensors)

        return graph

    late = replace(segmenter, graphs={name: slow(name) for name in segmenter.graphs})
    sink, passed = Collector(), []
    results: list[Prediction] = []

    def on_frame(frame: Frame, prediction: Prediction | None) -> None:
        passed.append(frame.index)
        if prediction is not None:
            results.append(prediction)

    report = run(camera(), late.session("interval:100"), [sink], on_frame=on_frame, drop_inference=True)
    assert passed == list(range(40))
    # Of the frames that waited, the newest has labels.
    assert sink.indices == [0, *range(QUEUE_FRAMES, 39, QUEUE_FRAMES), 39]
    assert report.frames + report.skipped == 40 and report.frames == len(sink.indices)
    assert sink.indices == [prediction.index for prediction in results]
    for prediction in results:
        bar = np.flatnonzero(prediction.labels[0])
        # The toy's grid has cells of 4 pixels.
        assert abs(int(bar[0]) - (8 + prediction.index)) <= 4
        assert prediction.frames_since_key == prediction.index


def test_dropping_ends_even_where_frames_never_stop_waiting() -> None:
    sink = Collector()
    report = run(frames(500, step=0), toys.segmenter().session("interval:7"), [sink], drop_inference=True)
    assert report.frames + report.skipped == 500
    assert report.frames >= 500 // 60


class Listed:
    """A live reader of frames that are there already."""

    errors = 0
    info = StreamInfo("a list", "", (48, 64), 30.0, live=True)

    def __init__(self, shown: Iterator[Frame]) -> None:
        self._shown = shown

    def frames(self) -> Iterator[Frame]:
        return self._shown

    def listen(self, listener: Listener) -> None:
        pass

    def seek(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Wants:
    wants_motion: bool


def test_motion_is_measured_where_somebody_looks_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert motion_for(Wants(True)) == "auto"
    assert motion_for(Wants(True), "flow", ["jsonl"]) == "flow"
    assert motion_for(Wants(False), "codec", ["jsonl", "video", "labels"]) == "none"
    drawn = Plugin("drawn", video.open, replace(video.DESCRIPTION, motion=True))
    monkeypatch.setattr(type(SINKS), "find", lambda kind, name: drawn)
    assert motion_for(Wants(False), "codec", ["drawn"]) == "codec"


INTERRUPTED = """
import signal, sys, threading, _thread, time
from tests.helpers import toys
from tests.helpers.videos import pan
from edge_vss.runtimes._runner import Runner
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sinks import SinkContext, open_sink
from edge_vss.runtimes.sources import open_source
# A shell starts what it puts into the background with SIGINT ignored, and that is handed down to here.
signal.signal(signal.SIGINT, signal.default_int_handler)
def camera():
    images = pan(20)
    for i in range(100000):
        time.sleep(0.002)
        yield images[i % 20]
        if i == 100:
            print("ready", flush=True)
segmenter = toys.segmenter((96, 128), (24, 32))
with open_source(camera(), motion="none") as source:
    context = SinkContext.of(segmenter.manifest, source.info)
    sinks = [open_sink("video", sys.argv[1], context), open_sink("jsonl", sys.argv[2], context)]
    try:
        run(source, segmenter.session(), sinks)
    except KeyboardInterrupt:
        print("interrupted", threading.active_count(), flush=True)
"""


def test_ctrl_c_leaves_playable_files(tmp_path: Path) -> None:
    video, lines = tmp_path / "v.mp4", tmp_path / "v.jsonl"
    command = [sys.executable, "-c", INTERRUPTED, str(video), str(lines)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert output == b"interrupted 1\n", (output, errors)
    assert errors == b""
    count = len(decoded(video))
    assert count >= 90
    assert len(lines.read_text().splitlines()) == count
    # close() made it an ordinary MP4, whose header knows its length.
    with av.open(str(video)) as container:
        assert container.streams.video[0].frames == count


def test_what_gives_no_frames_is_told(p_only: Path) -> None:
    arrays = [frame.image for frame in frames(2)]
    with pytest.raises(OptionError, match=r"a run wants frames, got ndarray of uint8 .*: open it with open_"):
        run(arrays, toys.segmenter().session())  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="limit must be a whole number of 1 or more, got 0"):
        run(frames(2), toys.segmenter().session(), limit=0)
    with open_source(p_only) as source:
        pass
    with pytest.raises(OptionError, match=r"p_only\.mp4 is closed: open it again"):
        run(source, toys.segmenter().session())
