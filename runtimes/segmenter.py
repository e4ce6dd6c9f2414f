"""A bundle with its graphs compiled: loaded once, shared by every session."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from edge_vss import bundle
from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.decisions import Policy
from edge_vss.errors import EngineError, MissingExtra, OptionError
from edge_vss.files import path_of
from edge_vss.one_process import OneProcess
from edge_vss.plugins import LOG
from edge_vss.runtimes.engines import ENGINES, EngineOptions, Graph, engine_for
from edge_vss.runtimes.engines._auto import choose
from edge_vss.runtimes.engines._ways import Taken, Way
from edge_vss.runtimes.operations import own_way
from edge_vss.runtimes.policy import default, parse
from edge_vss.runtimes.session import Session

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

    def session(self, policy: str | Policy | None = None, logits: bool = False) -> Session:
        """A session for one video; by default with the bundle's own policy.

        ``policy`` is a policy or the spelling of one (``interval:5``). With ``logits``, predictions carry the
        scores where the frame's route computes them. Raises OptionError for a policy that is not known, and
        where the bundle gives no scores.
        """
        if policy is None or isinstance(policy, str):
            policy = parse(policy or self.manifest.policy)
        if not callable(policy) or isinstance(policy, type):
            raise OptionError(
                f"a policy is a callable or a spelling such as interval:5, got {policy!r}: "
                "give an object, as in Interval(5)"
            )
        return Session(self.manifest, self.graphs, policy, logits)


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
    taken |= dict.fromkeys(own, Taken(Way(OWN_WAY)))
    return Segmenter(manifest, graphs, ", ".join(engines), taken)


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
