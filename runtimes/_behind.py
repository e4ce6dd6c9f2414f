"""Graphs that run behind the stream: in threads of a lower priority, which alone do nothing else.

A thread of a lower priority that runs Python would hold its lock while others have the processor, and the
stream would wait for it. An engine gives the lock away while it computes. So only its calls run there.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue

from edge_vss.runtimes.engines import Graph, Tensor

NICENESS = 10
"""How much lower than the stream's own the priority is."""

_COMPILE_SECONDS = 10.0
"""The longest that the end of a program waits for a graph that is compiled."""

Tensors = Mapping[str, Tensor]


@dataclass(eq=False)
class _Call:
    graph: Graph
    given: Tensors
    done: threading.Event = field(default_factory=threading.Event)
    made: Tensors | None = None
    error: BaseException | None = None

    def carry_out(self) -> None:
        try:
            self.made = self.graph(self.given)
        except BaseException as error:
            self.error = error

    def result(self) -> Tensors:
        self.done.wait()
        if self.error is not None:
            raise self.error
        assert self.made is not None
        return self.made


@dataclass
class _Threads:
    """As many as there are calls at once. They must not know `Behind`: they would keep it alive."""

    calls: SimpleQueue[_Call | None] = field(default_factory=SimpleQueue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    idle: int = 0
    preparing: set[_Call] = field(default_factory=set)
    """Calls that nobody waits for."""

    def take(self, call: _Call) -> None:
        with self.lock:
            if self.idle:
                self.idle -= 1
            else:
                # Daemon threads, which no executor of Python's own has: a graph that hangs must not keep the
                # program from ending.
                name = f"edge-vss graph {self.count}"
                threading.Thread(target=self.work, name=name, daemon=True).start()
                self.count += 1
        self.calls.put(call)

    def work(self) -> None:
        lower_priority()
        while (call := self.calls.get()) is not None:
            call.carry_out()
            # Before the caller goes on: its next call then finds this thread.
            with self.lock:
                self.idle += 1
                self.preparing.discard(call)
            call.done.set()
            del call  # an idle thread holds no tensors

    def end(self) -> None:
        # A thread that compiles when the program ends would be ended within the engine, which aborts it all.
        for call in list(self.preparing):
            call.done.wait(_COMPILE_SECONDS)
        for _ in range(self.count):
            self.calls.put(None)


class Behind:
    """Threads for the graphs of one bundle. Those that an engine starts there have the low priority too."""

    def __init__(self) -> None:
        self._threads = _Threads()
        weakref.finalize(self, self._threads.end)

    def graph(self, compiled: Callable[[], Graph]) -> QuietGraph:
        """A graph that is compiled when it is prepared, or else when it is called for the first time."""
        return QuietGraph(self, compiled)

    def run(self, graph: Graph, tensors: Tensors) -> Tensors:
        """Call a graph on one of the threads, and wait for it."""
        call = _Call(graph, tensors)
        self._threads.take(call)
        return call.result()

    def begin(self, work: Graph) -> None:
        """Prepare something on one of the threads."""
        call = _Call(work, {})
        with self._threads.lock:
            self._threads.preparing.add(call)
        self._threads.take(call)


class QuietGraph:
    """A `Graph` on threads of low priority."""

    def __init__(self, behind: Behind, compiled: Callable[[], Graph]) -> None:
        self._behind, self._compiled = behind, compiled
        self._lock = threading.Lock()
        self._made: Graph | None = None

    def __call__(self, tensors: Tensors) -> Tensors:
        """As a `Graph`. Raises what compiling raises, too."""
        return self._behind.run(self._compute, tensors)

    def prepare(self) -> None:
        """Begin to compile, so that the first key frame need not wait. What goes wrong is told there."""
        if self._made is None:
            self._behind.begin(self._prepared)

    def _compute(self, tensors: Tensors) -> Tensors:
        return self._graph()(tensors)

    def _prepared(self, tensors: Tensors) -> Tensors:
        self._graph()
        return tensors

    def _graph(self) -> Graph:
        with self._lock:
            if self._made is None:
                self._made = self._compiled()
            return self._made


def lower_priority() -> None:
    """Of the thread that calls."""
    if sys.platform == "linux":  # elsewhere this would be the whole program's
        number = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, number, os.getpriority(os.PRIO_PROCESS, number) + NICENESS)
