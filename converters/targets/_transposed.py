"""Transposed convolutions as those that LiteRT's converter can write.

It knows them without padding, and with the padding that makes the extents ``stride`` times as large. The
others are computed without padding, and cut out of that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edge_vss.converters.targets._spread import replacing, take_over

aten = torch.ops.aten
Pair = tuple[int, int]
PLACES = ("stride", "padding", "output_padding", "groups", "dilation")
USUAL: dict[str, Any] = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}


def rewrite(graph: fx.Graph) -> None:
    """Rewrite the transposed convolutions of a graph that need it, in place."""
    for node in list(graph.nodes):
        if node.target is not aten.conv_transpose2d.input:
            continue
        given = {**USUAL, **dict(zip(PLACES, node.args[3:], strict=False)), **node.kwargs}
        stride, padding, more, dilation = (
            _pair(given[name]) for name in ("stride", "padding", "output_padding", "dilation")
        )
        weight: Any = node.args[1]
        kernel: Pair = (int(weight.meta["val"].shape[2]), int(weight.meta["val"].shape[3]))
        if more == (0, 0) and (stride == (1, 1) or (dilation == (1, 1) and _known(kernel, stride, padding))):
            continue
        with replacing(graph, node):
            take_over(node, _cut_out(graph, node, kernel, stride, padding, dilation, given["groups"]))


def _known(kernel: Pair, stride: Pair, padding: Pair) -> bool:
    return all(p in (0, (k - s) / 2) for k, s, p in zip(kernel, stride, padding, strict=True))


def _cut_out(
    graph: fx.Graph, node: fx.Node, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> fx.Node:
    x, weight = node.args[:2]
    bias = node.args[2] if len(node.args) > 2 else node.kwargs.get("bias")
    assert isinstance(x, fx.Node) and isinstance(weight, fx.Node)
    shape = [int(extent) for extent in weight.meta["val"].shape]
    for axis, apart in zip((2, 3), dilation, strict=True):
        weight = _spaced(graph, weight, shape, axis, apart)
    begins, wanted = padding, [int(extent) for extent in node.meta["val"].shape[2:]]
    whole = [(int(e) - 1) * s + k for e, s, k in zip(x.meta["val"].shape[2:], stride, shape[2:], strict=True)]
    short = [max(0, b + w - all_) for b, w, all_ in zip(begins, wanted, whole, strict=True)]
    # Rows that no input reaches hold the bias alone.
    later = bias if any(short) and bias is not None else None
    made = graph.call_function(
        aten.conv_transpose2d.input,
        (x, weight, None if later is not None else bias, list(stride), [0, 0], [0, 0], groups, [1, 1]),
    )
    if any(short):
        made = graph.call_function(aten.constant_pad_nd.default, (made, [0, short[1], 0, short[0]], 0.0))
    for axis, begin, count in zip((2, 3), begins, wanted, strict=True):
        made = graph.call_function(aten.slice.Tensor, (made, axis, begin, begin + count))
    if later is not None:
        flat = graph.call_function(aten.reshape.default, (later, [1, -1, 1, 1]))
        made = graph.call_function(aten.add.Tensor, (made, flat))
    return made


def _spaced(graph: fx.Graph, weight: fx.Node, shape: list[int], axis: int, apart: int) -> fx.Node:
    """The kernel with zeros between its taps; ``shape`` becomes its own. It is constant, and folded later."""
    if apart == 1:
        return weight
    taps = shape[axis]
    split = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
    weight = graph.call_function(aten.reshape.default, (weight, split))
    zeros = graph.call_function(aten.full.default, ([*split[: axis + 1], apart - 1, *split[axis + 2 :]], 0.0))
    weight = graph.call_function(aten.cat.default, ([weight, zeros], axis + 1))
    shape[axis] = taps * apart
    weight = graph.call_function(aten.reshape.default, (weight, list(shape)))
    shape[axis] = apart * (taps - 1) + 1
    return graph.call_function(aten.slice.Tensor, (weight, axis, 0, shape[axis]))


def _pair(value: Any) -> Pair:
    values = [value] if isinstance(value, int) else list(value)
    return int(values[0]), int(values[-1])
