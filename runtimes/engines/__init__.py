"""One file per inference engine: the function ``load`` compiles a graph, ``DESCRIPTION`` says what it runs.

Here are the types of both, and what the engines share. tests/test_engines.py is what every engine has to
pass, another package's too: name it there with ``EDGE_VSS_ENGINES=NAME:TARGET``.
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

MOST_THREADS = 1024
"""More than any machine has cores for one graph."""


class EngineTensor(Protocol):
    """A tensor that an engine keeps its own way, on an accelerator for example. No later call changes it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As numpy's."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As numpy's."""

    def numpy(self) -> Array:
        """What it holds. Later calls do not change the array; it may be read-only."""


Tensor: TypeAlias = Array | EngineTensor
"""What goes into a graph and comes out of it."""


class Graph(Protocol):
    """A compiled graph. May be called by several threads at once."""

    def __call__(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Takes what it needs from ``tensors`` by name, and gives its outputs by name.

        It takes arrays, what it has given itself, and what other engines give (`as_array`). What it gives
        belongs to the caller: later calls leave it as it is, and an array may be written to.

        Raises EngineError for a tensor that is missing or of another shape or dtype, and where the engine
        fails.
        """


class ArrayGraph(Protocol):
    """A compiled graph that gives numpy arrays, whatever its engine keeps."""

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        """As a Graph."""


def as_array(tensor: Tensor) -> Array:
    """A tensor as numpy has it. Copies only what an engine keeps its own way."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.numpy()


def giving_arrays(graph: Graph) -> ArrayGraph:
    """The same graph, for callers that read everything it gives."""

    def call(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        return {name: as_array(tensor) for name, tensor in graph(tensors).items()}

    return call


@dataclass(frozen=True)
class EngineOptions:
    """How a graph is to be run. An engine only gets the options that its description lists."""

    threads: int = 0
    """Threads inside one graph; 0 leaves the number to the engine."""
    provider: str = ""
    """What computes (``cpu``, ``cuda``, ``gpu``, ...); empty is the engine's usual one."""
    hint: str = ""
    """``latency`` or ``throughput``; empty is the engine's usual one."""

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= MOST_THREADS:
            raise OptionError(
                f"threads must be 0 to {MOST_THREADS}, got {self.threads}: 0 leaves the number to the engine"
            )


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


def no_problem() -> str:
    """For engines that work wherever they are installed."""
    return ""


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
    """The extra of edge-vss that installs the usual one; empty where none does."""
    options: frozenset[str] = frozenset()
    """Which of ``provider`` and ``hint`` it has a choice of."""
    accelerators: Callable[[], list[str]] = no_accelerators
    """The values of ``provider`` here that are no CPU. Imports the vendor's library."""
    reference: bool = False
    """True for an engine that is right and slow: never the usual one, never recommended."""
    contract: Callable[[Path], str | None] | None = None
    """Reads the contract (JSON) that the converter put into a file of the first target; None where the engine
    cannot."""
    problem: Callable[[], str] = no_problem
    """What keeps the installed package from working here, with the way out, in one line; empty where nothing
    does. Imports no vendor's library."""

    @property
    def installed(self) -> bool:
        """Whether what it imports is there. Nothing is imported to find that out."""
        return any(find_spec(module) is not None for module in self.modules)

    @property
    def install(self) -> str:
        """The command that installs the usual one."""
        return f'pip install "edge-vss[{self.extra}]"' if self.extra else f"pip install {self.packages[0]}"


ENGINES: Kind[Load, EngineDescription] = Kind("engine", __name__, "load", EngineDescription)


def engine_for(target: str, options: EngineOptions, name: str = "") -> Plugin[Load, EngineDescription]:
    """The engine called ``name`` for graphs of an artifact format; the usual one where no name is given.

    Raises OptionError where no engine runs the format, and for an engine that is not known, does not run it,
    or has no choice of an option that is set.
    """
    plugin = ENGINES.find(name) if name else usual_engine(target)
    targets = plugin.description.targets
    if target not in targets:
        raise OptionError(
            f"the engine {plugin.name} runs {' and '.join(targets)}, and this bundle is for {target}: "
            f"leave --engine out, or convert with --target {targets[0]}"
        )
    chosen = {option for option in ("provider", "hint") if getattr(options, option)}
    if unknown := sorted(chosen - plugin.description.options):
        raise OptionError(f"the engine {plugin.name} has no choice of {unknown[0]}: leave --{unknown[0]} out")
    return plugin


def usual_engine(target: str) -> Plugin[Load, EngineDescription]:
    """The engine that an artifact format is run by where the user names none.

    Raises OptionError where no engine runs it.
    """
    found = [plugin for plugin in ENGINES.all() if target in plugin.description.targets]
    if not found:
        known = sorted({target for plugin in ENGINES.all() for target in plugin.description.targets})
        raise OptionError(
            f"no engine here runs {target!r} graphs, only {', '.join(known)}: upgrade edge-vss, or convert "
            "the model with --target"
        )
    return min(found, key=lambda plugin: _rank(plugin, target))


def _rank(plugin: Plugin[Load, EngineDescription], target: str) -> tuple[bool, bool, bool, bool]:
    """Smallest for the usual engine of a target."""
    engine = plugin.description
    # What is installed comes last: a bundle should not change its engine because a package was added.
    return engine.reference, engine.targets[0] != target, not plugin.built_in, not engine.installed


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


def checked_inputs(graph: GraphSpec, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The graph's inputs in order, for engines that would not notice a wrong one.

    Raises EngineError for one that is missing or of another shape or dtype.
    """
    found = []
    for spec in graph.inputs:
        if spec.name not in tensors:
            raise EngineError(f"{graph.role}: the input {spec.name!r} is missing: hand it in")
        tensor = tensors[spec.name]
        if tensor.shape != spec.shape or tensor.dtype != spec.dtype:
            raise EngineError(
                f"{graph.role}: {spec.name} is {tensor.dtype} {tensor.shape}, "
                f"and has to be {spec.dtype} {spec.shape}"
            )
        found.append(tensor)
    return found


def input_arrays(graph: GraphSpec, tensors: Mapping[str, Tensor]) -> list[Array]:
    """`checked_inputs` as arrays, each in one block of memory. One that is so already is not copied."""
    return [np.ascontiguousarray(as_array(tensor)) for tensor in checked_inputs(graph, tensors)]
