"""ONNX graphs in fp16 weights, or int8 by ONNX Runtime's static quantisation (QDQ)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.converters.quantizers import LEAST_EXTENT, QuantizerDescription, Samples
from edge_vss.converters.silence import quiet
from edge_vss.errors import MissingExtra, ModelError, one_line

LARGE = 256
"""Tensors of fewer values stay in fp32."""
LAYERS = ("Conv", "Gemm", "MatMul")

DESCRIPTION = QuantizerDescription(
    "ONNX Runtime's static quantiser", modules=("onnxruntime",), extra="convert"
)


def reduce(folder: Path, graphs: Sequence[GraphSpec], precision: str, samples: Samples) -> None:
    """Rewrite the files of ``graphs`` in ``folder`` in fp16 weights or int8.

    ``samples`` are the inputs of real calls by role. Everything but convolutions and linear layers stays
    float. Raises ModelError where a graph cannot be written so.
    """
    for graph in graphs:
        file = folder / graph.file
        if precision == "fp16":
            _halve(file)
        elif samples.get(graph.role):
            _quantise(file, graph, samples[graph.role])


def _halve(file: Path) -> None:
    """Store layers' weights as fp16. The runtime turns them into fp32 when it loads the graph.

    Other constants stay: among them are positions in the picture, and beyond 2048 half precision skips
    whole numbers.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(file))
    weights = {node.input[1] for node in model.graph.node if node.op_type in LAYERS}
    casts = []
    for tensor in model.graph.initializer:
        large = tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= LARGE
        if not large or tensor.name not in weights:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
        to = onnx.TensorProto.FLOAT
        casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], f"{name}_fp32", to=to))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.save(model, str(file))


def _quantise(file: Path, graph: GraphSpec, samples: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError:
        raise MissingExtra("onnxruntime", "convert", "int8") from None
    import onnx

    names = [spec.name for spec in graph.inputs]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Mapping[str, NDArray[Any]]] = iter(samples)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            sample = next(self.left, None)
            return None if sample is None else {name: sample[name] for name in names}

    before = onnx.load(str(file))
    with tempfile.TemporaryDirectory() as scratch, quiet():
        ready, made = f"{scratch}/ready.onnx", f"{scratch}/made.onnx"
        try:
            # The quantiser finds weights only where they are constants. This step computes what is made of
            # constants alone, such as the Cast of weights that were stored in half precision.
            quant_pre_process(str(file), ready, skip_symbolic_shape=True)
            quantization.quantize_static(
                ready,
                made,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(LAYERS),
                nodes_to_exclude=_floats(onnx.load(ready).graph),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            model = onnx.load(made)
        except Exception as error:  # ONNX Runtime's, onnx's and Python's own
            raise ModelError(
                f"{graph.role}: ONNX Runtime cannot quantise this graph ({one_line(error)})"
            ) from None
    del model.metadata_props[:]
    model.metadata_props.extend(before.metadata_props)
    model.producer_name, model.ir_version = before.producer_name, before.ir_version
    onnx.save(model, str(file))


def _floats(graph: Any) -> list[str]:
    """The matrix products that are no layers: their right side is no constant, or a narrow one."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and min(shapes.get(node.input[1], [0]), default=0) < LEAST_EXTENT
    ]
