"""Operators that repeat a tensor, written in a way that LiteRT's converter keeps right.

It turns pictures to channels last, and forgets to turn the counts of ``repeat`` and the extents of ``expand``
with them (litert-torch 0.10): the conversion fails, or channels and columns change places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx

_aten = torch.ops.aten
REPEATING = {
    operator.default
    for operator in (_aten.expand, _aten.expand_as, _aten.broadcast_to, _aten.repeat, _aten.tile)
}
ELEMENTWISE = {operator.Tensor for operator in (_aten.add, _aten.sub, _aten.mul, _aten.div)}
"""Operators that repeat the smaller of their tensors by themselves."""


def spread(graph: fx.Graph) -> None:
    """Write each operator that repeats a tensor as products and concatenations, in place."""
    for node in list(graph.nodes):
        if node.target not in REPEATING:
            continue
        with replacing(graph, node):
            if all(_spreads_itself(user, node) for user in node.users):
                node.replace_all_uses_with(node.args[0])
            else:
                take_over(node, _written_out(graph, node))


@contextmanager
def replacing(graph: fx.Graph, node: fx.Node) -> Iterator[None]:
    """Nodes made in the block belong to the layer that ``node`` belongs to. It is erased afterwards."""
    before = set(graph.nodes)
    with graph.inserting_before(node):
        yield
    known = {key: value for key, value in node.meta.items() if key not in ("val", "tensor_meta")}
    for made in graph.nodes:
        if made not in before:
            made.meta.update(known)
    graph.erase_node(node)


def take_over(node: fx.Node, made: fx.Node) -> None:
    """Let all that reads ``node`` read ``made``, which has its shape and type."""
    made.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(made)


def _spreads_itself(user: fx.Node, node: fx.Node) -> bool:
    """Whether ``user`` gives the same where it gets what ``node`` repeats."""
    if user.target not in ELEMENTWISE:
        return False
    other = next((value for value in user.args if value is not node), None)
    return isinstance(other, fx.Node) and _shape(other) == _shape(user)


def _written_out(graph: fx.Graph, node: fx.Node) -> fx.Node:
    x, wanted = node.args[0], _shape(node)
    assert isinstance(x, fx.Node)
    dtype = x.meta["val"].dtype
    shape = (1,) * (len(wanted) - len(_shape(x))) + _shape(x)
    if shape != _shape(x):
        x = graph.call_function(_aten.reshape.default, (x, list(shape)))
    ones = [most if have == 1 else 1 for have, most in zip(shape, wanted, strict=True)]
    if max(ones) > 1:
        times = _aten.logical_and.default if dtype == torch.bool else _aten.mul.Tensor
        constant = graph.call_function(_aten.full.default, (ones, 1), {"dtype": dtype})
        x = graph.call_function(times, (x, constant))
    for axis, (have, most) in enumerate(zip(shape, wanted, strict=True)):
        if 1 < have < most:
            x = graph.call_function(_aten.cat.default, ([x] * (most // have), axis))
    return x


def _shape(node: fx.Node) -> tuple[int, ...]:
    value: Any = node.meta["val"]
    return tuple(int(extent) for extent in value.shape)
