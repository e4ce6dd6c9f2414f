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
from edge_vss.errors import BundleError, EngineError, MissingExtra, OptionError
from edge_vss.files import path_of
from edge_vss.one_process import OneProcess
from edge_vss.plugins import LOG
from edge_vss.processor import usable_cores
from edge_vss.runtimes._behind import Behind, QuietGraph
from edge_vss.runtimes.engines import ENGINES, EngineOptions, Graph, engine_for
from edge_vss.runtimes.engines._auto import choose
from edge_vss.runtimes.engines._ways import Taken, Way
from edge_vss.runtimes.operations import own_way
from edge_vss.runtimes.policy import default, parse
from edge_vss.runtimes.session import Session
from edge_vss.values import whole_number

if TYPE_CHECKING:
    from edge_vss.runtimes._requests import Workplace
    from edge_vss.runtimes.budget import Budget
    from edge_vss.runtimes.late_keys import LateSession

OWN_WAY = "opencv"
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
    """The engine that compiled them; several with commas between them."""
    taken: dict[str, Taken] = field(default_factory=dict)
    """Role → what runs the graph: ``opencv`` where it is a standard operation, done without an engine."""

    behind: Mapping[str, Graph] = field(default_factory=dict, repr=False, compare=False)
    """The graphs that only key frames need, for a thread behind the stream: with fewer threads of their own.
    Each is compiled when a session wants it. Empty where ``graphs`` serve for that too."""

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
        key_delay = whole_number("key_delay", key_delay, 0, "give so many frames")
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

        for graph in self.behind.values():
            if isinstance(graph, QuietGraph):
                graph.prepare()
        graphs = {**self.graphs, **self.behind}
        return LateSession(self.manifest, graphs, policy, logits, workplace, closing, budget)

    def chosen(self, policy: str | Policy | None) -> Policy:
        """The policy itself, of what `session` takes. Raises OptionError as that does."""
        self._check_process(self.process)
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

    The engine is the argument, or the environment's EDGE_VSS_ENGINE, or ``auto``: for each graph the one that
    is quickest here. That is measured once, in some seconds, and remembered. Where one engine is installed
    that runs the bundle, or the bundle costs next to nothing, it is the usual one of the bundle's target.
    ``threads`` is how many the engine may use inside one graph; 0 leaves it to the engine.
    ``provider`` is what it computes on, where it has a choice (onnxruntime: ``cpu``, ``cuda``, ``tensorrt``;
    openvino: ``cpu``, ``gpu``, ``npu``, ``auto``), ``hint`` is openvino's ``latency`` or ``throughput``.

    Raises BundleError for a bundle that is missing, altered or too new, OptionError for an engine that is not
    known, that does not run the bundle's target or has no such option, and for threads below 0, MissingExtra
    for an engine that is not installed, EngineError for a graph that the engine refuses.
    """
    path, options = path_of(path, "the bundle"), EngineOptions(threads, provider, hint)
    with bundle.loading(path) as manifest:
        default(manifest.policy, path)
        own = {graph.role: way for graph in manifest.graphs if (way := own_way(graph)) is not None}
        roles = [graph.role for graph in manifest.graphs if graph.role not in own]
        named = engine or os.environ.get(ENGINE_VARIABLE, "")
        taken = choose(path, manifest, options, named, roles)
        graphs: dict[str, Graph] = {**own}
        for role in roles:
            graph = manifest.graph(role)
            graphs[role], taken[role] = _compiled(path, manifest, graph, taken[role], options)
    engines = dict.fromkeys(found.way.engine for found in taken.values())
    behind = _behind(path, manifest, taken, options)
    taken |= dict.fromkeys(own, Taken(Way(OWN_WAY)))
    return Segmenter(manifest, graphs, ", ".join(engines), taken, behind)


def _compiled(
    path: Path, manifest: Manifest, graph: GraphSpec, taken: Taken, options: EngineOptions
) -> tuple[Graph, Taken]:
    """A graph, and what runs it: the usual engine where what was measured once does not run any more."""
    way = taken.way
    own = EngineOptions(way.threads, way.provider, options.hint)
    try:
        return ENGINES.find(way.engine).call(path / graph.file, graph, own), taken
    except (EngineError, MissingExtra, OptionError) as error:
        if taken.milliseconds is None:
            raise
        LOG.warning("%s: %s no longer runs the %s graph (%s)", path, way.shown, graph.role, error)
    usual = engine_for(manifest.target, options)
    return usual.call(path / graph.file, graph, options), Taken(
        Way(usual.name, options.threads, options.provider)
    )


def _behind(
    path: Path, manifest: Manifest, taken: Mapping[str, Taken], options: EngineOptions
) -> dict[str, Graph]:
    """The graphs that only key frames need, in threads of a lower priority, by the engine that runs them in
    the stream too."""
    if options.threads or options.provider not in ("", "cpu"):
        return {}
    # Decoding, motion and the graphs in between get a core; what is left is for key frames.
    threads = max(1, (usable_cores() or 1) - 1)
    quiet, found = Behind(), dict[str, Graph]()
    for graph in manifest.graphs:
        if graph.role in taken and graph.role not in manifest.routes.get("nonkey", ()):
            way = replace(taken[graph.role].way, threads=threads)
            found[graph.role] = quiet.graph(partial(_again, path, manifest, graph, way, options.hint))
    return found


def _again(path: Path, manifest: Manifest, graph: GraphSpec, way: Way, hint: str) -> Graph:
    # Read and checked again: the file may be another by now.
    with bundle.loading(path) as now:
        if now.graphs != manifest.graphs:
            raise BundleError(f"{path} has changed since it was loaded: load it again")
        own = EngineOptions(way.threads, way.provider, hint)
        return ENGINES.find(way.engine).call(path / graph.file, graph, own)
