"""One file per inference engine: the function ``load`` compiles a graph, ``DESCRIPTION`` says what it runs.

Here are the types of both, and what the engines share.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.errors import EngineError, OptionError
from edge_vss.errors import one_line as one_line
from edge_vss.plugins import Kind, Plugin

Array: TypeAlias = NDArray[Any]


class Graph(Protocol):
    """A compiled graph. May be called by several threads at once."""

    def __call__(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Takes what it needs from ``tensors`` by name, and gives its outputs by name, as new arrays.

        Raises EngineError for a tensor that is missing or of another shape or dtype, and where the engine
        fails.
        """


@dataclass(frozen=True)
class EngineOptions:
    """How a graph is to be run. An engine that has no choice of something is not given it."""

    threads: int = 0
    """Threads inside one graph; 0 leaves the number to the engine."""
    provider: str = ""
    """What computes (``cpu``, ``cuda``, ``gpu``, ...); empty is the engine's usual one."""
    hint: str = ""
    """``latency`` or ``throughput``; empty is the engine's usual one."""


class Load(Protocol):
    """An engine's one function."""

    def __call__(self, path: Path, graph: GraphSpec, options: EngineOptions = ...) -> Graph:
        """Compiles the graph file at ``path``.

        Raises MissingExtra where the engine is not installed, OptionError for an option of a value that makes
        no sense, EngineError for a file that is refused or that breaks the contract of ``graph``.
        """


def no_accelerators() -> list[str]:
    """For engines that compute on the CPU alone."""
    return []


@dataclass(frozen=True)
class EngineDescription:
    """What an engine says of itself. Reading it imports no vendor's library."""

    targets: tuple[str, ...]
    """The artifact formats that it runs; it is the usual engine of the first."""
    modules: tuple[str, ...]
    """What it imports: it is installed where one of these can be found."""
    packages: tuple[str, ...]
    """The distributions that bring one of these; the first is the usual one."""
    extra: str
    """The extra of edge-vss that installs the usual one."""
    options: frozenset[str] = frozenset()
    """Which of ``provider`` and ``hint`` it has a choice of."""
    accelerators: Callable[[], list[str]] = no_accelerators
    """The values of ``provider`` here that are no CPU. Imports the vendor's library."""
    reference: bool = False
    """True for an engine that is right and slow: never the usual one, never recommended."""

    @property
    def installed(self) -> bool:
        """Whether what it imports is there. Nothing is imported to find that out."""
        return any(find_spec(module) is not None for module in self.modules)


ENGINES: Kind[Load, EngineDescription] = Kind("engine", __name__, "load", EngineDescription)


def usual_engine(target: str) -> str:
    """The name of the engine for an artifact format, where the user names none.

    Raises OptionError where no engine runs it.
    """
    found = [plugin for plugin in ENGINES.all() if target in plugin.description.targets]
    ranked = sorted(found, key=lambda plugin: _rank(plugin, target))
    if not ranked:
        known = sorted({target for plugin in ENGINES.all() for target in plugin.description.targets})
        raise OptionError(
            f"no engine here runs {target!r} graphs, only {', '.join(known)}: upgrade edge-vss, or convert "
            "the model with --target"
        )
    return ranked[0].name


def _rank(plugin: Plugin[Load, EngineDescription], target: str) -> tuple[bool, bool, bool]:
    description = plugin.description
    # Not by what is installed: a bundle should not change its engine because a package was added.
    return description.reference, description.targets[0] != target, not description.installed


def engine_for(name: str, target: str, options: EngineOptions) -> Load:
    """The function of the engine ``name``.

    Raises OptionError for an engine that is not known, does not run ``target``, or has no choice of an option
    that is given.
    """
    plugin = ENGINES.find(name)
    targets = plugin.description.targets
    if target not in targets:
        raise OptionError(
            f"the engine {name} runs {' and '.join(targets)}, and this bundle is for {target}: "
            f"leave --engine out, or convert with --target {targets[0]}"
        )
    given = {name for name in ("provider", "hint") if getattr(options, name)}
    if unknown := sorted(given - plugin.description.options):
        raise OptionError(f"the engine {name} has no choice of {unknown[0]}: leave --{unknown[0]} out")
    return plugin.call


HINTS = ("latency", "throughput")
CACHE_VARIABLE = "EDGE_VSS_CACHE"
"""Environment variable that names the folder for compiled graphs; empty keeps none."""


def cache_folder(engine: str) -> Path | None:
    """Where an engine may keep what it has compiled; None where it may not, or nothing can be written."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "edge-vss"
    named = os.environ.get(CACHE_VARIABLE)
    if named == "":
        return None
    folder = (Path(named) if named else usual) / engine
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a read-only system starts slowly, and runs
        return None
    return folder if os.access(folder, os.W_OK) else None


def check_given(graph: GraphSpec, tensors: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """The graph's inputs in order, each as one block of memory. EngineError for one that is missing or of
    another shape or dtype, for engines that would not notice."""
    given = []
    for spec in graph.inputs:
        if spec.name not in tensors:
            raise EngineError(f"{graph.role}: the tensor {spec.name!r} is not given")
        array = tensors[spec.name]
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise EngineError(
                f"{graph.role}: {spec.name} is {array.dtype} {array.shape}, "
                f"and has to be {spec.dtype} {spec.shape}"
            )
        given.append(np.ascontiguousarray(array))
    return given
