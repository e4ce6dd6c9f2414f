"""Who works on what since when, so that a stage that hangs can be named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from edge_vss.runtimes.engines import Graph, Tensor


class Watch:
    """Notes when each stage of a stream began what it does now. Stages of any thread write, any reads."""

    FIRST_CALL = 10.0
    """How much longer a stage may take the first time: engines build their plans then."""

    def __init__(self) -> None:
        self._since: dict[object, tuple[str, float, float]] = {}
        self._seen: set[str] = set()

    @contextmanager
    def __call__(self, stage: str, seconds: float) -> Iterator[None]:
        """The stage works while the block runs; it hangs if that takes longer than ``seconds``."""
        allowed = seconds if stage in self._seen else seconds * self.FIRST_CALL
        # Two threads may be in one stage: a graph of the stream and of its key frame behind it.
        one = object()
        self._since[one] = (stage, monotonic(), allowed)
        try:
            yield
        finally:
            del self._since[one]
            self._seen.add(stage)

    def graph(self, role: str, graph: Graph, seconds: float) -> Graph:
        """The same graph, watched."""

        def call(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            with self(role, seconds):
                return graph(tensors)

        return call

    def hanging(self, now: Callable[[], float] = monotonic) -> tuple[str, float] | None:
        """The stage that is late, and for how many seconds it has been at work; None where none is."""
        for stage, since, allowed in list(self._since.values()):
            if (spent := now() - since) > allowed:
                return stage, spent
        return None
