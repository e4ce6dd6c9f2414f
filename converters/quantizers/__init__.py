"""One file per target, with the function ``reduce`` and a ``DESCRIPTION``: smaller numbers in graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.plugins import Kind

Samples = Mapping[str, Sequence[Mapping[str, NDArray[Any]]]]
"""Role → the inputs of real calls of its graph, by name."""


class Reduce(Protocol):
    """A quantiser's one function."""

    def __call__(self, folder: Path, graphs: Sequence[GraphSpec], precision: str, samples: Samples) -> None:
        """Rewrites the graph files in ``folder`` in place, at ``fp16`` or ``int8``.

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

LEAST_EXTENT = 16
"""A product with a constant matrix that is narrower than this is no layer, but pooling or resizing: float."""
