"""A source and a sink that say when they are at work, and end when they are told to."""

from __future__ import annotations

import threading
import time

from edge_vss.decisions import Prediction
from edge_vss.runtimes.sinks import Sink
from edge_vss.runtimes.sources import Source
from edge_vss.runtimes.web.watch import Watch
from edge_vss.video import Frame, StreamInfo


class WatchedSource(Source):
    """Another source, watched. ``paced`` gives each frame when its time has come, as a camera would."""

    def __init__(
        self, source: Source, watch: Watch, seconds: float, over: threading.Event, paced: bool
    ) -> None:
        self._source = source
        self._watch = watch
        self._allowed = seconds
        self._over = over
        self._paced = paced
        self._zero: float | None = None

    @property
    def info(self) -> StreamInfo:
        return self._source.info

    @property
    def closed(self) -> bool:
        return self._source.closed

    @property
    def errors(self) -> int:
        return self._source.errors

    @property
    def untold_losses(self) -> int:
        return self._source.untold_losses

    def __next__(self) -> Frame:
        if self._over.is_set():
            raise StopIteration
        with self._watch("source", self._allowed):
            frame = next(self._source)
        if self._paced:
            self._wait_for(frame)
        return frame

    def _wait_for(self, frame: Frame) -> None:
        now = time.monotonic()
        if self._zero is None or frame.start:
            self._zero = now - frame.pts_seconds
        due = self._zero + frame.pts_seconds
        # A recording whose times jump must not stand still for that long.
        if due - now > 1.0 or now - due > 1.0:
            self._zero += now - due
        self._over.wait(max(0.0, min(1.0, due - now)))
        frame.arrived_seconds = time.time()

    def seek(self, seconds: float) -> None:
        self._source.seek(seconds)

    def close(self) -> None:
        self._source.close()


class GuardedSink:
    """Another sink, watched, that a second thread may close while the first one hangs elsewhere."""

    def __init__(self, sink: Sink, watch: Watch, seconds: float) -> None:
        self._sink = sink
        self._watch = watch
        self._allowed = seconds
        self._lock = threading.Lock()
        self._closed = False

    def write(self, frame: Frame, prediction: Prediction) -> None:
        with self._lock:
            if not self._closed:
                with self._watch("sinks", self._allowed):
                    self._sink.write(frame, prediction)

    def close(self) -> None:
        with self._lock:
            closed, self._closed = self._closed, True
            if not closed:
                self._sink.close()

    def cut(self) -> None:
        """Close it from another thread, if it is not at work just now."""
        if self._lock.acquire(timeout=1.0):
            self._lock.release()
            self.close()
