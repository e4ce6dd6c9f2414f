"""A bundle with its graphs compiled: loaded once, shared by every session."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_vss import bundle
from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.decisions import Policy
from edge_vss.errors import BundleError, OptionError
from edge_vss.files import path_of
from edge_vss.one_process import OneProcess
from edge_vss.runtimes._behind import Behind
from edge_vss.runtimes.engines import EngineOptions, Graph, engine_for
from edge_vss.runtimes.policy import default, parse
from edge_vss.runtimes.session import Session

if TYPE_CHECKING:
    from edge_vss.runtimes._requests import Workplace
    from edge_vss.runtimes.budget import Budget
    from edge_vss.runtimes.late_keys import LateSession

ENGINE_VARIABLE = "EDGE_VSS_ENGINE"
"""Environment variable that names the engine; the ``engine`` argument goes before it."""


@dataclass(frozen=True)
class Segmenter(OneProcess):
    """A manifest and its compiled graphs. Immutable; sessions made from it share nothing but these."""

    INSTEAD = "load the bundle in each process"

    manifest: Manifest
    graphs: dict[str, Graph]
    """Role (``key``, ``nonkey``, ``state``) → compiled graph."""

    engine: str = ""
    """The engine that compiled them."""

    behind: Mapping[str, Graph] = field(default_factory=dict, repr=False, compare=False)
    """The graphs that only key frames need, for a thread behind the stream: with fewer threads of their own.
    Each is compiled when it is called for the first time. Empty where ``graphs`` serve for that too."""

    process: int = field(default_factory=os.getpid, repr=False, compare=False)
    """The process that compiled the graphs."""

    def session(
        self,
        policy: str | Policy | None = None,
        logits: bool = False,
        *,
        background: bool = False,
        key_delay: int = 0,
        budget_ms: float | None = None,
    ) -> Session:
        """A session for one video; by default with the bundle's own policy.

        ``policy`` is a policy or the spelling of one (``interval:5``). With ``logits``, predictions carry the
        scores where the frame's route computes them.

        With ``background``, key frames are computed by a thread behind the stream. No frame waits for them
        but the first, and those where the state begins anew. Close such a session, or use it in a ``with``
        block. With ``key_delay``, every key frame's labels come exactly so many frames late, as a background
        network would give them that takes so long: for figures and tests. With ``budget_ms``, frames wait for
        background key frames as long as 95 % of them have labels so many milliseconds after their packet; the
        policy is then ``continuous`` where none is given.

        Raises OptionError for a policy that is not known, where the bundle gives no scores, for a bundle
        whose key frames cannot come late, and in a process that was forked after loading.
        """
        policy = self.chosen(policy if policy is not None or budget_ms is None else "continuous")
        background = background or budget_ms is not None
        if background and key_delay:
            raise OptionError(f"key_delay {key_delay} stands for a network in the background: leave one out")
        if isinstance(key_delay, bool) or not isinstance(key_delay, int) or key_delay < 0:
            raise OptionError(f"key_delay wants a whole number of frames, 0 or more, got {key_delay!r}")
        if background:
            from edge_vss.runtimes._key_workers import KeyWorkers
            from edge_vss.runtimes.budget import Budget

            workers, budget = KeyWorkers(), None if budget_ms is None else Budget(budget_ms)
            return self.late(policy, workers.desk(), logits, workers.close, budget)
        if key_delay:
            from edge_vss.runtimes._key_delay import Delay

            return self.late(policy, Delay(key_delay), logits)
        return Session(self.manifest, self.graphs, policy, logits)

    def late(
        self,
        policy: Policy,
        workplace: Workplace,
        logits: bool = False,
        closing: Callable[[], None] = lambda: None,
        budget: Budget | None = None,
    ) -> LateSession:
        """A session whose key frames ``workplace`` computes. ``closing`` is called when it is closed."""
        from edge_vss.runtimes.late_keys import LateSession

        graphs = {**self.graphs, **self.behind}
        return LateSession(self.manifest, graphs, policy, logits, workplace, closing, budget)

    def chosen(self, policy: str | Policy | None) -> Policy:
        """The policy itself, of what `session` takes. Raises OptionError as that does."""
        if os.getpid() != self.process:
            # An engine's threads do not come along into a process that was forked: it would wait for ever.
            raise OptionError(f"this bundle was loaded by process {self.process}: {self.INSTEAD}")
        if policy is None or isinstance(policy, str):
            policy = parse(policy or self.manifest.policy)
        if not callable(policy) or isinstance(policy, type):
            raise OptionError(
                f"a policy is a callable or a spelling such as interval:5, got {policy!r}: "
                "give an object, as in Interval(5)"
            )
        return policy


def load(
    path: str | Path, engine: str | None = None, threads: int = 0, provider: str = "", hint: str = ""
) -> Segmenter:
    """Reads and checks a bundle and compiles its graphs.

    The engine is the argument, or the environment's EDGE_VSS_ENGINE, or the usual one of the bundle's
    target. ``threads`` is how many the engine may use inside one graph; 0 leaves it to the engine.
    ``provider`` is what it computes on, where it has a choice (onnxruntime: ``cpu``, ``cuda``, ``tensorrt``;
    openvino: ``cpu``, ``gpu``, ``npu``, ``auto``), ``hint`` is openvino's ``latency`` or ``throughput``.

    Raises BundleError for a bundle that is missing, altered or too new, OptionError for an engine that is not
    known, that does not run the bundle's target or has no such option, and for threads below 0, MissingExtra
    for an engine that is not installed, EngineError for a graph that the engine refuses.
    """
    path, options = path_of(path, "the bundle"), EngineOptions(threads, provider, hint)
    with bundle.loading(path) as manifest:
        default(manifest.policy, path)
        found = engine_for(manifest.target, options, engine or os.environ.get(ENGINE_VARIABLE, ""))
        graphs = {graph.role: found.call(path / graph.file, graph, options) for graph in manifest.graphs}

    def compiled(graph: GraphSpec, options: EngineOptions) -> Graph:
        # Read and checked again: the file may be another by now.
        with bundle.loading(path) as now:
            if now.graphs != manifest.graphs:
                raise BundleError(f"{path} has changed since it was loaded: load it again")
            return found.call(path / graph.file, graph, options)

    behind: dict[str, Graph] = {}
    if not threads and provider in ("", "cpu"):
        # Decoding, motion and the graphs in between get a core; what is left is for key frames.
        quiet = Behind()
        fewer = replace(options, threads=max(1, cores() - 1))
        between = manifest.routes.get("nonkey", ())
        for graph in manifest.graphs:
            if graph.role not in between:
                behind[graph.role] = quiet.graph(partial(compiled, graph, fewer))
    return Segmenter(manifest, graphs, found.name, behind)


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
