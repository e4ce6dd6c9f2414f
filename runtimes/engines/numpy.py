"""Engine ``numpy``: ONNX's reference evaluator. Slow and plain: for tests, and to check other engines by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.errors import EngineError, MissingExtra
from edge_vss.runtimes.engines import (
    Array,
    EngineDescription,
    EngineOptions,
    Graph,
    Tensor,
    input_arrays,
    one_line,
)

DESCRIPTION = EngineDescription(
    targets=("onnx",), modules=("onnx",), packages=("onnx",), extra="convert", reference=True
)


def load(path: Path, graph: GraphSpec, options: EngineOptions = EngineOptions()) -> Graph:
    """One graph, ready to call: tensors by name in, outputs by name out. ``options.threads`` has no effect.

    Raises MissingExtra without onnx, EngineError if the file or a call fails, or a result breaks the
    contract.
    """
    try:
        from onnx.reference import ReferenceEvaluator
        from onnx.reference.op_run import OpRun
    except ImportError:
        raise MissingExtra("onnx", "convert", "the numpy engine") from None

    class GatherElements(OpRun):
        # onnx's own goes through numpy.choose, which takes at most 64 elements along an axis.
        op_domain = ""

        def _run(
            self, data: NDArray[np.generic], indices: NDArray[np.int64], axis: int = 0
        ) -> tuple[NDArray[np.generic]]:
            return (np.take_along_axis(data, indices, axis),)

    try:
        evaluator = ReferenceEvaluator(str(path), new_ops=[GatherElements])
    except Exception as error:  # protobuf, onnx and numpy each raise their own
        raise EngineError(
            f"{path} is not a graph that onnx can evaluate ({one_line(error)}): convert again"
        ) from None
    inputs = [spec.name for spec in graph.inputs]
    outputs = [spec.name for spec in graph.outputs]
    if evaluator.input_names != inputs or not set(outputs) <= set(evaluator.output_names):
        raise EngineError(
            f"{path} has inputs {evaluator.input_names} and outputs {evaluator.output_names}, "
            f"the manifest has {inputs} and {outputs}: convert the model again"
        )

    def call(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        arrays = input_arrays(graph, tensors)
        try:
            results = evaluator.run(outputs, dict(zip(inputs, arrays, strict=True)))
        except Exception as error:
            raise EngineError(f"{graph.role}: the reference evaluator failed ({one_line(error)})") from None
        return dict(zip(outputs, results, strict=True))

    return call
