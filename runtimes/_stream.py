"""One stream of a fleet: its threads, and what its reader takes of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic
from typing import Any

from edge_vss.decisions import Prediction
from edge_vss.plugins import LOG
from edge_vss.report import Report
from edge_vss.runtimes._channel import QUEUE_BYTES
from edge_vss.runtimes._reader import QUEUE_FRAMES, Backlog, Reader
from edge_vss.runtimes.late_keys import KeyFigures, LateSession
from edge_vss.runtimes.motion import Measure
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.sources import Source
from edge_vss.runtimes.timeliness import Timeliness, Timing
from edge_vss.video import Frame

Shown = tuple[str, Frame, Prediction]


@dataclass(frozen=True)
class StreamReport(Report):
    """What became of one stream of a fleet."""

    timeliness: Timeliness
    keys: KeyFigures
    ended: bool
    """Whether it has ended."""
    error: str
    """Why it ended, where that was an error; else empty."""


@dataclass(frozen=True)
class Reading:
    """How a stream is read."""

    opening: Opening
    motion: str | Measure
    pace: float | None
    limit: int | None


class Out:
    """What all streams have ready, for one reader. Each stream has room of its own."""

    def __init__(self, streams: int) -> None:
        self._changed = threading.Condition()
        self._items: deque[tuple[Shown, int]] = deque()
        self._held: dict[str, list[int]] = {}
        self._live = streams
        self._closed = False

    def put(self, item: Shown, nbytes: int) -> bool:
        """Waits for room among the stream's own; False when nobody takes anything any more."""
        with self._changed:
            held = self._held.setdefault(item[0], [])
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or not held
                    or (len(held) < QUEUE_FRAMES and sum(held) + nbytes <= QUEUE_BYTES)
                )
            )
            if not self._closed:
                held.append(nbytes)
                self._items.append((item, nbytes))
                self._changed.notify_all()
            return not self._closed

    def get(self) -> Shown | None:
        """Waits for what comes first; None when all streams have ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items) or not self._live)
            if self._closed or not self._items:
                return None
            item, nbytes = self._items.popleft()
            self._held[item[0]].remove(nbytes)
            self._changed.notify_all()
            return item

    def end(self) -> None:
        """One stream has ended."""
        with self._changed:
            self._live -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes anything any more."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


@dataclass
class Stream:
    """A source, its session, and its two threads."""

    name: str
    uri: Any
    session: LateSession
    reading: Reading
    out: Out
    source: Source | None = None
    error: BaseException | None = None
    ended: bool = False
    timing: Timing = field(default_factory=Timing)
    reader: Reader | None = None
    threads: list[threading.Thread] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Start the threads."""
        # A daemon thread: a silent camera must not keep the program from ending.
        thread = threading.Thread(target=self._labels, name=f"edge-vss {self.name} labels", daemon=True)
        self.threads.append(thread)
        thread.start()

    def _labels(self) -> None:
        try:
            frames, fps, live = self._opened()
            self._run(frames, fps, live or self.reading.pace is not None)
        except BaseException as error:
            if not self.stopped.is_set():
                self.error = error
                LOG.warning("the stream %s has ended: %s", self.name, error)
        finally:
            if self.reader is not None:
                self.reader.close()
            if self.source is not None:
                self.source.close()
            self.session.close()
            self.ended = True
            self.out.end()

    def _opened(self) -> tuple[Iterable[Frame], float, bool]:
        uri = self.uri
        if isinstance(uri, Source):
            self.source = uri
        else:
            if isinstance(uri, Iterator):
                # Frames, or arrays that are yet to become some.
                first = next(uri, None)
                uri = chain([] if first is None else [first], uri)
                if isinstance(first, Frame):
                    return uri, 0.0, False
            opening, motion = self.reading.opening, self.reading.motion
            self.source = opening.open(uri, self.session, None if motion == "auto" else motion)
        return self.source, self.source.info.fps, self.source.info.live

    def _run(self, frames: Iterable[Frame], fps: float, live: bool) -> None:
        failed: list[BaseException] = []
        self.reader = reader = Reader(
            frames,
            fps=fps,
            pace=self.reading.pace,
            limit=self.reading.limit,
            drop_inference=live,
            failed=failed.append,
            name=f"edge-vss {self.name} decode",
        )
        if self.stopped.is_set():
            # It was stopped while its source was opened. Who stops looks for the reader after that.
            return
        backlog = Backlog(reader, quick=True)
        reader.start()
        self.threads.append(reader.thread)
        while (frame := reader.get()) is not None:
            if (backlog.passes() and live) or not self.session.can_step(frame):
                self.session.skip(frame)
                self.timing.miss()
                reader.since(frame)
                continue
            prediction = self.session.step(frame)
            backlog.labelled()
            self.timing.shown(prediction, reader.since(frame))
            if not self.out.put((self.name, frame, prediction), frame.nbytes + prediction.nbytes):
                return
        if failed:
            raise failed[0]

    def report(self) -> StreamReport:
        """How it went, up to now."""
        error = "" if self.error is None else str(self.error)
        return StreamReport(self.timing.figures(), self.session.figures, self.ended, error)

    def stop(self) -> None:
        """End it, without waiting for that."""
        self.stopped.set()
        if self.reader is not None:
            self.reader.close()

    def join(self, deadline: float) -> None:
        """Wait until it has ended, up to this time of ``time.monotonic``."""
        for thread in list(self.threads):
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - monotonic()))
