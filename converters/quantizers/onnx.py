"""ONNX graphs in fp16 weights, or int8 by ONNX Runtime's static quantisation (QDQ)."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.converters.quantizers import (
    LEAST_EXTENT,
    QuantizerDescription,
    Reduced,
    Samples,
    named,
    of_role,
    quantised_already,
)
from edge_vss.converters.silence import quiet
from edge_vss.errors import MissingExtra, ModelError, one_line

LARGE = 256
"""Tensors of fewer values stay in fp32."""
LAYERS = ("Conv", "Gemm", "MatMul")
QUANTISED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
        *("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
    }
)
"""Operators that only a quantised graph has."""

DESCRIPTION = QuantizerDescription(
    "ONNX Runtime's static quantiser", modules=("onnxruntime",), extra="convert"
)


def reduce(folder: Path, graphs: Sequence[GraphSpec], precision: str, samples: Samples) -> Reduced:
    """Prepare the files of ``graphs`` in ``folder`` for fp16 weights or int8.

    ``samples`` are the inputs of real calls by role. Everything but convolutions and linear layers stays
    float. Raises ModelError where a graph cannot be written so.
    """

    def halve(_: Collection[str]) -> None:
        for graph in graphs:
            _halve(folder / graph.file)

    def write(keep: Collection[str]) -> None:
        for one in fitted:
            one.write(of_role(keep, one.role))

    if precision == "fp16":
        return Reduced(halve)
    called = [graph for graph in graphs if samples.get(graph.role)]
    fitted = [_fit(folder / graph.file, graph, samples[graph.role]) for graph in called]
    return Reduced(write, tuple(f"{one.role}/{name}" for one in fitted for name in one.layers))


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


@dataclass(frozen=True)
class _Fitted:
    """A graph, and the range of each of its tensors on real calls."""

    file: Path
    role: str
    before: Any
    """The ModelProto that was there."""
    ready: Any
    """The same with all that is constant computed."""
    ranges: Any
    layers: dict[str, str]
    """Name → the node's."""

    def write(self, keep: Collection[str]) -> None:
        """Write the graph in int8, but for the layers in ``keep``."""
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        if set(self.layers) <= set(keep):
            onnx.save(self.before, str(self.file))
            return
        quantised = {node for name, node in self.layers.items() if name not in keep}
        others = [node.name for node in self.ready.graph.node if node.name not in quantised]
        try:
            with quiet():
                # What quantize_static is inside. It would measure the ranges again each time.
                work = QDQQuantizer(
                    copy.deepcopy(self.ready),
                    per_channel=True,
                    # Weights of 7 bits. Where a processor has no instruction for the sum of four products
                    # (x86 without VNNI), pairs of products with 8 bits overflow without a word.
                    reduce_range=True,
                    weight_qType=QuantType.QInt8,
                    activation_qType=QuantType.QUInt8,
                    tensors_range=self.ranges,
                    nodes_to_quantize=[],
                    nodes_to_exclude=others,
                    op_types_to_quantize=list(LAYERS),
                    extra_options={},
                )
                work.quantize_model()
        except Exception as error:  # ONNX Runtime's, onnx's and Python's own
            raise _refused(self.role, error) from None
        model = work.model.model
        del model.metadata_props[:]
        model.metadata_props.extend(self.before.metadata_props)
        model.producer_name, model.ir_version = self.before.producer_name, self.before.ir_version
        onnx.save(model, str(self.file))


def _fit(file: Path, graph: GraphSpec, samples: Sequence[Mapping[str, NDArray[Any]]]) -> _Fitted:
    try:
        from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
        from onnxruntime.quantization.calibrate import create_calibrator
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError:
        raise MissingExtra("onnxruntime", "convert", "int8") from None
    import onnx

    before = onnx.load(str(file))
    if any(node.op_type in QUANTISED for node in before.graph.node):
        raise quantised_already(graph.role, "int8")
    names = [spec.name for spec in graph.inputs]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Mapping[str, NDArray[Any]]] = iter(samples)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            sample = next(self.left, None)
            return None if sample is None else {name: sample[name] for name in names}

    with tempfile.TemporaryDirectory() as scratch, quiet():
        ready, augmented = Path(scratch) / "ready.onnx", Path(scratch) / "augmented.onnx"
        try:
            # The quantiser finds weights only where they are constants. This step computes what is made of
            # constants alone, such as the Cast of weights that were stored in half precision.
            quant_pre_process(str(file), str(ready), skip_symbolic_shape=True)
            calibrator = create_calibrator(
                ready, list(LAYERS), str(augmented), calibrate_method=CalibrationMethod.MinMax
            )
            calibrator.collect_data(Reader())
            ranges, model = calibrator.compute_data(), _named(onnx.load(str(ready)))
        except Exception as error:  # ONNX Runtime's, onnx's and Python's own
            raise _refused(graph.role, error) from None
    return _Fitted(file, graph.role, before, model, ranges, _layers(model.graph))


def _refused(role: str, error: Exception) -> ModelError:
    return ModelError(f"{role}: ONNX Runtime cannot quantise this graph ({one_line(error)})")


def _named(model: Any) -> Any:
    """The same, with a name for each node that no other has: layers are told apart by it."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)
    return model


def _layers(graph: Any) -> dict[str, str]:
    """The convolutions, and the products with a constant matrix that is no narrow one."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return named(
        (node.input[1], node.name)
        for node in graph.node
        if node.op_type in LAYERS
        and (node.op_type != "MatMul" or min(shapes.get(node.input[1], [0]), default=0) >= LEAST_EXTENT)
    )
