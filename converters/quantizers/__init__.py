"""One file per target, with the function ``reduce`` and a ``DESCRIPTION``: smaller numbers in graphs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.errors import ModelError
from edge_vss.plugins import Kind

Samples = Mapping[str, Sequence[Mapping[str, NDArray[Any]]]]
"""Role → the inputs of real calls of its graph, by name."""


@dataclass(frozen=True)
class Reduced:
    """Graphs that have been looked at, and can be written with smaller numbers."""

    write: Callable[[Collection[str]], None]
    """Writes the graph files over those that were there. The layers named stay float. It may be called again,
    with other layers. Raises ModelError for a graph that cannot be reduced."""
    layers: tuple[str, ...] = ()
    """The layers that ``int8`` is for, as ``role/layer``, in their order."""


class Reduce(Protocol):
    """A quantiser's one function."""

    def __call__(
        self, folder: Path, graphs: Sequence[GraphSpec], precision: str, samples: Samples
    ) -> Reduced:
        """Prepares the graph files in ``folder`` for ``fp16`` or ``int8``; ``int8`` is fitted to ``samples``.

        Raises MissingExtra where a package is missing, ModelError for a graph that cannot be reduced.
        """


@dataclass(frozen=True)
class QuantizerDescription:
    """What a quantiser says of itself. It is called as the target whose graphs it reduces."""

    summary: str
    modules: tuple[str, ...]
    """What it imports, all of them."""
    extra: str

    @property
    def installed(self) -> bool:
        """Whether all that it imports is there."""
        return all(find_spec(module) is not None for module in self.modules)


QUANTIZERS: Kind[Reduce, QuantizerDescription] = Kind("quantizer", __name__, "reduce", QuantizerDescription)

WEIGHT = ".weight"

LEAST_EXTENT = 16
"""A product with a constant matrix that is narrower than this is no layer, but pooling or resizing: float."""


def quantised_already(what: str, precision: str) -> ModelError:
    """The error for a graph that cannot be made smaller once more."""
    return ModelError(f"{what} is quantised already: leave --precision {precision} out")


def of_role(layers: Collection[str], role: str) -> list[str]:
    """The layers of one graph, without its role."""
    return [name.partition("/")[2] for name in layers if name.partition("/")[0] == role]


def named(layers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Layers given as (weight, node), under names that people know: their weight's, as in a state dict, where
    it has one of its own; else the node's. Name → node."""
    found: dict[str, str] = {}
    for weight, node in layers:
        name = weight.removesuffix(WEIGHT)
        found[node if name == weight or name in found else name] = node
    return found
