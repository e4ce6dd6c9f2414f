"""Which layers int8 leaves alone: those that the user names, or those that cost most, found by trying."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from time import monotonic

from edge_vss.bundle import Manifest
from edge_vss.converters.calibration import Step, agreement, few, rehashed
from edge_vss.converters.quantizers import Reduced
from edge_vss.errors import OptionError
from edge_vss.runtimes.engines import CACHE_VARIABLE, EngineOptions, engine_for

AUTO = "auto"
GOAL = 0.98
"""Share of labels as in fp32 at which the search is content."""
TRIES = 24
SECONDS = 240.0
"""No try begins after so many, or after this time."""
STRETCHES = 4
"""Parts of the network that are tried first."""

Group = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What a search ended with."""

    kept: frozenset[str]
    tries: list[dict[str, float]]
    """For each try, how many layers were float (``float``) and the share of equal labels
    (``labels_equal``)."""


def chosen(names: Sequence[str], layers: Sequence[str]) -> frozenset[str]:
    """The ``layers`` (``role/layer``) that are called as in ``names``, with their role or without.

    A name may be a pattern (``head.*``), and may leave out the first parts of the
    layer's. Raises OptionError for one that fits no layer.
    """
    kept: set[str] = set()
    for name in names:
        found = {layer for layer in layers if _fits(layer, name)}
        if not found:
            near = get_close_matches(name, layers, 3, 0.3) or layers[:3]
            some = f"some of the {len(layers)} layers are {', '.join(near)}" if layers else "it has none"
            raise OptionError(f"--keep-float {name}: the model has no such layer; {some}")
        kept |= found
    return frozenset(kept)


def _fits(layer: str, name: str) -> bool:
    # The network is wrapped in what prepares its picture: a name may begin where the user's own begins.
    own = layer.partition("/")[2]
    return name in (layer, own) or any(fnmatchcase(text, name) for text in (layer, own, *_tails(own)))


def _tails(name: str) -> Iterator[str]:
    while "." in name:
        name = name.partition(".")[2]
        yield name


def search(folder: Path, manifest: Manifest, reduced: Reduced, steps: Sequence[Step]) -> Found:
    """The layers that cost most, left float until ``GOAL`` is reached on frames that int8 was fitted to.

    Each stretch of the network is made int8 alone, and what costs most is halved and tried again. Then the
    fewest of the costliest pieces that are enough stay float. The graphs in ``folder`` are whatever the last
    try has left there.
    """
    some, tries, last = few(steps, manifest.remembers), list[dict[str, float]](), monotonic() + SECONDS

    def equal(keep: Collection[str]) -> float:
        reduced.write(keep)
        share = _share(folder, manifest, some)
        tries.append({"float": len(keep), "labels_equal": share})
        return share

    def may(reserve: int = 0) -> bool:
        return len(tries) + reserve < TRIES and monotonic() < last

    before = equal(())
    if before >= GOAL or not reduced.layers:
        return Found(frozenset(), tries)
    costs = _costs(reduced.layers, equal, may)
    ordered = sorted(costs, key=lambda group: costs[group] / len(group), reverse=True)
    enough, kept = len(ordered), frozenset(reduced.layers)
    low = 0
    best = (before, frozenset[str]())
    while low + 1 < enough and may():
        middle = (low + enough) // 2
        these = frozenset(layer for group in ordered[:middle] for layer in group)
        share = equal(these)
        best = max(best, (share, these), key=lambda tried: tried[0])
        if share >= GOAL:
            enough, kept = middle, these
        else:
            low = middle
    if enough == len(ordered) and low + 1 < enough:  # time ran out before anything was enough
        kept = best[1]
    return Found(kept, tries)


def _costs(
    layers: Sequence[str], equal: Callable[[Collection[str]], float], may: Callable[[int], bool]
) -> dict[Group, float]:
    """What pieces of the network cost, each int8 alone: small pieces where it costs most."""
    everything, costs = frozenset(layers), dict[Group, float]()
    size = -(-len(layers) // STRETCHES)
    waiting = [tuple(layers[at : at + size]) for at in range(0, len(layers), size)]
    while waiting:
        for group in waiting:
            costs[group] = 1 - equal(everything - set(group)) if may(0) else 0.0
        divisible = [group for group in costs if len(group) > 1]
        worst = max(divisible, key=costs.__getitem__, default=None)
        # A few tries are left for putting the pieces together.
        if worst is None or costs[worst] < (1 - GOAL) / 4 or not may(6):
            break
        del costs[worst]
        half = len(worst) // 2
        waiting = [worst[:half], worst[half:]]
    return costs


def _share(folder: Path, manifest: Manifest, steps: Sequence[Step]) -> float:
    load = engine_for(manifest.target, EngineOptions()).call
    with _nothing_cached():
        graphs = {graph.role: load(folder / graph.file, graph) for graph in rehashed(folder, manifest).graphs}
    return agreement(manifest, graphs, steps)


@contextmanager
def _nothing_cached() -> Iterator[None]:
    """Engines keep what they have compiled. Of a graph that lives for a second, that is waste."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before
