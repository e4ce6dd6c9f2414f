"""Which operator of a graph a converter stumbles over, found by converting less and less of it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import torch
from torch import fx

SECONDS = 60.0
"""No conversion is tried after this time."""


def culprit(module: fx.GraphModule, fails: Callable[[fx.GraphModule], bool]) -> str:
    """The operator and its layer, as ``aten.sort in decoder.head (net.py:31)``; empty where it is not found.

    ``fails`` tells whether a graph cannot be converted. Where the first N operators fail and the first N - 1
    do not, it is the Nth.
    """
    nodes = [node for node in module.graph.nodes if node.op == "call_function"]
    # `low` operators are known to pass, `high` to fail.
    low, high, last = 0, len(nodes), monotonic() + SECONDS
    while high - low > 1:
        if monotonic() > last:
            return ""
        middle = (low + high) // 2
        if fails(_first(module, nodes[:middle])):
            high = middle
        else:
            low = middle
    return _place(nodes[high - 1]) if nodes else ""


def _first(module: fx.GraphModule, nodes: list[fx.Node]) -> fx.GraphModule:
    """The graph of some operators alone. It gives what the others would read."""
    kept, graph, copies = set(nodes), fx.Graph(), dict[fx.Node, fx.Node]()
    for node in module.graph.nodes:
        if node in kept or node.op in ("placeholder", "get_attr"):
            copies[node] = graph.node_copy(node, copies.__getitem__)
    ends = [node for node in nodes if not kept.issuperset(node.users) and _is_tensor(node)]
    graph.output(tuple(copies[node] for node in ends or nodes[-1:]))
    return fx.GraphModule(module, graph)


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _place(node: fx.Node) -> str:
    name = str(node.target).removesuffix(".default")
    modules: Any = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in modules.values() if path]
    layer = paths[-1].removeprefix("L['self'].") if paths else ""
    return f"{name} in {layer}" if layer else name
