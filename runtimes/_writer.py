"""The last stage of a run: sinks have a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from time import perf_counter

from edge_vss.decisions import Prediction
from edge_vss.runtimes._channel import Channel
from edge_vss.runtimes._reader import QUEUE_FRAMES, Reader
from edge_vss.runtimes.sinks import Sink
from edge_vss.video import Frame


class Writer:
    """Hands frames on to all sinks, in a thread that `start` begins. An error ends the reader as well, and
    is kept in ``errors``."""

    def __init__(self, sinks: Sequence[Sink], reader: Reader, errors: list[BaseException]) -> None:
        self._sinks = sinks
        self._reader = reader
        self._errors = errors
        self._predicted: Channel[tuple[Frame, Prediction]] = Channel(QUEUE_FRAMES)
        self._thread = threading.Thread(target=self._write, name="edge-vss write", daemon=True)
        self.busy_seconds = 0.0
        """What the sinks took, up to now."""

    def start(self) -> None:
        """Begin to take frames."""
        self._thread.start()

    def put(self, item: tuple[Frame, Prediction]) -> bool:
        """Waits for room. False where nobody takes frames any more."""
        return self._predicted.put(item, item[0].nbytes + item[1].nbytes)

    def close(self) -> None:
        """Waits until all is written, then closes every sink."""
        self._predicted.close()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            with ExitStack() as closing:
                for sink in self._sinks:
                    closing.callback(sink.close)
        except BaseException as error:
            self._errors.append(error)

    def _write(self) -> None:
        try:
            while (item := self._predicted.get()) is not None:
                began = perf_counter()
                for sink in self._sinks:
                    sink.write(*item)
                self.busy_seconds += perf_counter() - began
        except BaseException as error:
            self._errors.append(error)
            self._predicted.close(discard=True)
            self._reader.close()
