"""What a graph costs: multiply-accumulates of convolutions and matrix products, counted on the ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss.errors import MissingExtra, ModelError


def gmac(path: Path) -> float:
    """Billions of multiply-accumulates for one call of an ONNX file with static shapes.

    Conv, ConvTranspose, Gemm and MatMul count, as in PyTorch's FlopCounterMode (which counts a
    multiply-accumulate as two). Resizing, warping, normalising and elementwise work do not. Raises ModelError
    for a shape that is not static.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "convert", "counting operations") from None
    model = onnx.load(str(path))
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return _count(inferred.graph, {}, str(path)) / 1e9


def counted(path: Path, part: Any) -> float:
    """What `gmac` counts in a part's ONNX file, or, where its shapes are not static, what torch computes.

    TorchScript's exporter leaves such shapes, and so do networks that look at values.
    """
    try:
        return gmac(path)
    except ModelError:
        return gmac_of(part)


def convolutions(network: Callable[[Any], Any], shape: tuple[int, ...]) -> float:
    """Billions of multiply-accumulates of a network's convolutions for an input of ``shape``, up to its
    scores.

    Nothing is computed but shapes, so that this takes no time however large the picture.
    """
    counted = _flops(network, [(shape, "float32")])
    return sum(count for name, count in counted.items() if "convolution" in name) / 2e9


def products(network: Callable[[Any], Any], shape: tuple[int, ...]) -> float:
    """The same of its matrix products too."""
    return sum(_flops(network, [(shape, "float32")]).values()) / 2e9


def gmac_of(part: Any) -> float:
    """The same count for a part (edge_vss.converters.values.Part)."""
    return sum(_flops(part.module, [(spec.shape, spec.dtype) for spec in part.inputs]).values()) / 2e9


def _flops(network: Callable[..., Any], inputs: list[tuple[tuple[int, ...], str]]) -> dict[str, float]:
    """Operator → its floating point operations, by running on tensors that have nothing but shapes."""
    import torch
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
        FakeTensorMode,
    )
    from torch.utils.flop_counter import FlopCounterMode

    def run() -> None:
        network(*(torch.zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in inputs))

    try:
        with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as counter:
            run()
    except (DataDependentOutputException, DynamicOutputShapeException):  # shapes that follow from values
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run()
    return {str(name): float(count) for name, count in counter.get_flop_counts().get("Global", {}).items()}


def _count(graph: Any, outer: dict[str, tuple[int, ...]], where: str) -> int:
    shapes = dict(outer)
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    total = 0
    for node in graph.node:
        total += _macs(node, shapes, where)
        for attribute in node.attribute:
            if attribute.HasField("g"):  # both sides of an If, so that the count is a bound
                times = shapes[node.output[-1]][0] if node.op_type == "Scan" else 1
                total += times * _count(attribute.g, shapes, where)
    return total


def _macs(node: Any, shapes: dict[str, tuple[int, ...]], where: str) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    try:
        first, second, result = (shapes[name] for name in (node.input[0], node.input[1], node.output[0]))
    except KeyError as error:
        raise ModelError(
            f"{where}: the shape of {error} is not static, so {node.op_type} cannot be counted"
        ) from None
    if node.op_type == "Conv":  # weight (out, in / groups, kernel...)
        return math.prod(result) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":  # weight (in, out / groups, kernel...)
        return math.prod(first) * math.prod(second[1:])
    if node.op_type == "Gemm":
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(result) * first[0 if turned else 1]
    return math.prod(result) * first[-1]
