"""Standard operations: what a graph does is known by its name, and may be done in a better way.

A manifest says ``"operation": "warp-labels@1"`` of such a graph. docs/bundle.md tells what each one does, to
the last bit. So it does not matter whether the engine runs the graph or this program does it its own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.runtimes.engines import Array, Tensor
from edge_vss.runtimes.operations import warp_labels
from edge_vss.video import Size


@runtime_checkable
class OwnWay(Protocol):
    """A graph that is a standard operation, done by this program. Several threads may call it at once."""

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        """As a `Graph`."""

    def at(self, tensors: Mapping[str, Tensor], size: Size) -> dict[str, Array]:
        """The outputs as they are after a nearest resize to ``size`` (height, width)."""


OWN = {warp_labels.NAME: warp_labels.load}


def own_way(graph: GraphSpec) -> OwnWay | None:
    """This program's own way to do what a graph does; None where it is no standard operation, or one that is
    not known or cannot be done here, so that an engine has to run it."""
    make = OWN.get(graph.operation)
    return None if make is None else make(graph)


def only_shown(manifest: Manifest) -> frozenset[str]:
    """The roles of the graphs that give label maps which nothing but the viewer reads."""
    read = {spec.name for graph in manifest.graphs for spec in graph.inputs}
    read |= {state.next or state.name for state in manifest.state}
    shown = {head.tensor for head in manifest.maps if not head.is_matte} - read
    return frozenset(
        graph.role for graph in manifest.graphs if {spec.name for spec in graph.outputs} <= shown
    )
