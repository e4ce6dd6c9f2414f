"""Graphs that run behind the stream: in threads of a lower priority, which alone do nothing else.

A thread of a lower priority that runs Python would hold its lock while others have the processor, and the
stream would wait for it. An engine gives the lock away while it computes. So only its calls run there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from edge_vss.runtimes.engines import Graph, Tensor

NICENESS = 10
"""How much lower than the stream's own the priority is."""
_MOST_THREADS = 8


class Behind:
    """Threads for the graphs of one bundle. Those that an engine starts there have the low priority too."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_MOST_THREADS, "edge-vss graph", lower_priority)

    def graph(self, compiled: Callable[[], Graph]) -> Graph:
        """A graph that is compiled when it is called for the first time."""
        lock, made = threading.Lock(), list[Graph]()

        def compute(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            with lock:
                if not made:
                    made.append(compiled())
            return made[0](tensors)

        def call(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            return self._threads.submit(compute, tensors).result()

        return call


def lower_priority() -> None:
    """Of the thread that calls."""
    if sys.platform == "linux":  # elsewhere this would be the whole program's
        number = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, number, os.getpriority(os.PRIO_PROCESS, number) + NICENESS)
