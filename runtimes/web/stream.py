"""One camera that is kept going: opened, segmented, and begun anew where it ends, fails or hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

import av.error

from edge_vss.decisions import Prediction
from edge_vss.errors import EdgeVssError, OptionError, one_line
from edge_vss.plugins import LOG
from edge_vss.runtimes._key_workers import Desk
from edge_vss.runtimes.engines import Graph
from edge_vss.runtimes.labelling import is_key
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.session import Session
from edge_vss.runtimes.sinks import Sink, SinkContext
from edge_vss.runtimes.sources import Source
from edge_vss.runtimes.web._watched import GuardedSink, WatchedSource
from edge_vss.runtimes.web.board import Board, facts
from edge_vss.runtimes.web.figures import Figures, StreamReport
from edge_vss.runtimes.web.names import name_of
from edge_vss.runtimes.web.watch import Watch
from edge_vss.video import Frame, StreamInfo

PAUSES_SECONDS = (0.1, 0.5)
"""The first and the longest pause before a camera is tried again: short, so that it is seen at once."""
REFUSED_SECONDS = 30.0
"""The pause where the camera refuses the password: many of them lock an account that is tried often."""
HUNG_SECONDS = (1.0, 60.0)
"""The first and the longest pause after a stage that hung. Its thread may be lost, so they must stay few."""
DOUBT_EVERY = 3
"""Doubt is measured on every third frame in between: it changes slowly, and costs a little."""
_LONG_LIFE_FRAMES = 1000
"""After so many frames with labels, a stage that hangs counts as the first one that did."""
_POLL_SECONDS = 0.1
_STOP_SECONDS = 3.0


@dataclass(frozen=True)
class Keeping:
    """How a stream is kept going."""

    opening: Opening = Opening()
    """How its source is opened. A live one is also opened again by the stream itself, without end."""
    policy: str | None = None
    hang_seconds: float = 30.0
    """How long a stage may take for one frame."""
    silence_seconds: float = 10.0
    """After how many seconds without labels the stream counts as silent."""


class Stream:
    """A source and its labels, from `start` to `stop`. Both may be called from any thread, once."""

    def __init__(
        self,
        uri: str,
        segmenter: Segmenter,
        keeping: Keeping = Keeping(),
        *,
        sinks: Callable[[SinkContext], Sequence[Sink]] = lambda context: (),
        name: str = "",
        reload: Callable[[], Segmenter] | None = None,
        desk: Callable[[], Desk] | None = None,
    ) -> None:
        """``sinks`` are opened besides the board, each time that the source is. ``reload`` gives the bundle
        with other compiled graphs, after one that hung. ``desk`` gives a place at workers that compute key
        frames in the background; without it, frames wait for their key frames."""
        self.name = name or name_of(uri)
        self.board = Board()
        self.figures = Figures()
        self.keeping = keeping
        self._uri = uri
        self._reloading = reload
        self._loaded = segmenter
        self._sinks = sinks
        self._desk = desk
        self._stopping = threading.Event()
        self._problem = "not started"
        self._told = ""
        self._restarts = 0
        self._damaged = 0
        self._info: StreamInfo | None = None
        self._thread = threading.Thread(target=self._keep, name=f"edge-vss keep {self.name}", daemon=True)

    @property
    def segmenter(self) -> Segmenter:
        """The bundle that gives the labels."""
        return self._loaded

    def start(self) -> None:
        """Begin; nothing is waited for."""
        self._thread.start()

    def leave(self) -> None:
        """Begin to end, without waiting."""
        self._stopping.set()

    def stop(self) -> None:
        """End: what is being recorded is whole afterwards. Waits a few seconds at most."""
        self.leave()
        if self._thread.is_alive():
            self._thread.join(2 * _STOP_SECONDS)

    def report(self) -> StreamReport:
        """How it is doing now."""
        info = self._info
        return self.figures.report(
            name=self.name,
            problem=self._problem,
            codec=info.codec if info else "",
            size=info.size if info else (0, 0),
            restarts=self._restarts,
            damaged=self._damaged,
            silence=self.keeping.silence_seconds,
        )

    def _keep(self) -> None:
        pause, hung = PAUSES_SECONDS[0], HUNG_SECONDS[0]
        while not self._stopping.is_set():
            life = _Life(self)
            before = self.figures.labelled
            life.thread.start()
            late: tuple[str, float] | None = None
            while life.thread.is_alive() and not late and not self._stopping.is_set():
                life.thread.join(_POLL_SECONDS)
                late = life.watch.hanging()
            if self._stopping.is_set():
                life.end(_STOP_SECONDS)
                break
            self._restarts += 1
            if self.figures.labelled > before:
                pause = PAUSES_SECONDS[0]
            if self.figures.labelled > before + _LONG_LIFE_FRAMES:
                hung = HUNG_SECONDS[0]
            if late:
                stage, spent = late
                self._problem = f"the stage {stage} hangs for {spent:.0f} s: the stream is begun anew"
                LOG.error("%s: %s", self.name, self._problem)
                life.end(0.0)
                life.give_up()
                self._stopping.wait(hung)
                hung = min(2 * hung, HUNG_SECONDS[1])
                if stage in {graph.role for graph in self._loaded.manifest.graphs}:
                    self._reload()
                continue
            if life.ended_well:
                # A recording begins again at its end; nothing was wrong.
                self._restarts -= 1
                continue
            # A camera may be away for days, and is tried twice a second.
            if self._told != self._problem:
                self._told = self._problem
                LOG.warning("%s: %s", self.name, self._problem)
            self._stopping.wait(REFUSED_SECONDS if life.refused else pause)
            pause = min(2 * pause, PAUSES_SECONDS[1])

    def goes_on(self) -> None:
        """There is a frame: whatever was wrong is over."""
        self._problem = ""
        if self._told:
            self._told = ""
            LOG.warning("%s: is back", self.name)

    def _reload(self) -> None:
        if self._reloading is None:
            return
        try:
            self._loaded = self._reloading()
        except EdgeVssError as error:
            LOG.error("%s: the bundle cannot be loaded anew: %s", self.name, error)


class _Life:
    """One opening of the source, up to its end. Its thread may hang: then it is left alone."""

    def __init__(self, stream: Stream) -> None:
        self.watch = Watch()
        self.refused = self.ended_well = False
        self._stream = stream
        self._over = threading.Event()
        self._sinks: list[GuardedSink] = []
        self._source: Source | None = None
        self._desk: Desk | None = None
        self._anchor = -1
        self._between = 0
        self.thread = threading.Thread(target=self._live, name=f"edge-vss {stream.name}", daemon=True)

    def end(self, seconds: float) -> None:
        """Let nothing of it be seen any more, and give it some seconds to end by itself."""
        self._over.set()
        if self._source is not None:
            self._source.close()
        self.thread.join(seconds)
        for sink in self._sinks:
            sink.cut()

    def give_up(self) -> None:
        """Let nobody wait for a key frame that hangs."""
        if self._desk is not None:
            self._desk.give_up()

    def _live(self) -> None:
        stream = self._stream
        try:
            self._run(stream)
            if self._over.is_set():
                return
            self.ended_well = stream._info is not None and not stream._info.live
            stream._problem = "" if self.ended_well else "the stream ended, and is opened again"
        except Exception as error:
            if not self._over.is_set():
                stream._problem = (
                    str(error) if isinstance(error, EdgeVssError) else one_line(error, named=True)
                )
                self.refused = refused(error)

    def _run(self, stream: Stream) -> None:
        keeping, loaded = stream.keeping, stream._loaded
        hang, how = keeping.hang_seconds, keeping.opening
        with ExitStack() as stack:
            session = stack.enter_context(self._session(stream))
            with self.watch("opening", hang + 2 * how.timeout_seconds):
                source = stack.enter_context(how.open(stream._uri, session))
            if self._over.is_set():
                # Opening took so long that another life has begun, which writes to the same places.
                return
            self._source = source
            stream._info = info = source.info
            # A recording plays at its own speed, as the camera that it was made with.
            watched = WatchedSource(
                source, self.watch, hang + how.timeout_seconds, self._over, paced=not info.live
            )
            context = SinkContext.of(loaded.manifest, info)
            heads, measures = loaded.manifest.maps, session.wants_motion

            def on_frame(frame: Frame, prediction: Prediction | None) -> None:
                if self._over.is_set():
                    raise _OverError
                key = prediction is not None and is_key(prediction, self._anchor)
                doubt = self._doubt(prediction, key) if measures else None
                late = stream.figures.take(frame, prediction, key, doubt)
                stream._damaged = source.errors
                stream.goes_on()
                if frame.start and stream._info is not None and info.live:
                    stream._info = source.info
                if prediction is not None:
                    self._anchor = prediction.anchor_index
                    stream.board.publish(frame, prediction, heads, facts(frame, prediction, key, late, doubt))

            self._sinks = [GuardedSink(sink, self.watch, hang) for sink in stream._sinks(context)]
            with suppress(_OverError):
                run(watched, session, self._sinks, on_frame=on_frame, drop_inference=True)

    def _session(self, stream: Stream) -> Session:
        """With graphs that are watched."""
        loaded, hang = stream._loaded, stream.keeping.hang_seconds

        def watched(graphs: Mapping[str, Graph]) -> dict[str, Graph]:
            return {role: self.watch.graph(role, graph, hang) for role, graph in graphs.items()}

        segmenter = replace(loaded, graphs=watched(loaded.graphs), behind=watched(loaded.behind))
        if stream._desk is None:
            return segmenter.session(stream.keeping.policy)
        self._desk = stream._desk()
        return segmenter.late(segmenter.chosen(stream.keeping.policy), self._desk)

    def _doubt(self, prediction: Prediction | None, key: bool) -> float | None:
        """How far the labels are in doubt, of the frames that this is measured on."""
        if prediction is None or key:
            return None
        turn, place = divmod(self._between, DOUBT_EVERY)
        self._between += 1
        # Another one of the three each time: else an interval of four would only show the freshest.
        return prediction.staleness if place == turn % DOUBT_EVERY else None


class _OverError(Exception):
    """The life that this frame belongs to is over."""


def refused(error: BaseException) -> bool:
    """Whether a source was not opened because of a wrong user or password."""
    cause = error.__context__
    return isinstance(cause, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)) or (
        isinstance(error, OptionError)
    )
