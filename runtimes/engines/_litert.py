"""TFLite graphs by LiteRT's CompiledModel: what a graph gives stays in LiteRT's buffers until it is read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.errors import EngineError
from edge_vss.files import utf8_name
from edge_vss.runtimes.engines import Array, Graph, Tensor, as_array, checked_inputs, one_line

DTYPES = ("float32", "float16", "int32", "int8", "uint8", "bool")
"""What LiteRT's buffers can hold."""
SPARE = 4
"""How many unused buffers an output keeps. One session needs one, a session more in each other thread."""


def compiled(path: Path, graph: GraphSpec, threads: int) -> Graph | None:
    """One signature of a file that is known to be whole: a damaged one would end the process.

    Its calls wait for each other, those of other signatures do not: each has a model of its own. None where
    LiteRT has no CompiledModel, where its buffers cannot hold the graph's types, and where it does not know
    all of the graph's tensors. Raises what LiteRT raises.
    """
    try:
        from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, HardwareAccelerator, Options
    except ImportError:
        return None
    if not all(spec.dtype in DTYPES for spec in graph.inputs + graph.outputs):
        return None
    options = Options(
        hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=threads)
    )
    model = CompiledModel.from_file(utf8_name(path), environment=_environment(), options=options)
    # LiteRT wants a buffer for every output, and the manifest need not name them all.
    names = set(model.get_signature_list()[graph.role]["outputs"])
    # Where a graph gives one tensor under two names, LiteRT knows only one of them.
    if not names >= {spec.name for spec in graph.outputs}:
        return None
    lock = threading.Lock()
    own = {spec.name: model.create_input_buffer_by_name(graph.role, spec.name) for spec in graph.inputs}
    unused: dict[str, deque[Any]] = {spec.name: deque(maxlen=SPARE) for spec in graph.outputs}
    others = {
        name: model.create_output_buffer_by_name(graph.role, name) for name in names if name not in unused
    }

    def output(spec: TensorSpec) -> LiteRtTensor:
        try:
            buffer = unused[spec.name].pop()
        except IndexError:
            buffer = model.create_output_buffer_by_name(graph.role, spec.name)
        return LiteRtTensor(buffer, spec, unused[spec.name])

    def call(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays, inputs = checked_inputs(graph, tensors), {}
        try:
            with lock:
                for spec, tensor in zip(graph.inputs, arrays, strict=True):
                    if isinstance(tensor, LiteRtTensor):
                        inputs[spec.name] = tensor.buffer
                    else:
                        own[spec.name].write(as_array(tensor))
                        inputs[spec.name] = own[spec.name]
                outputs = {spec.name: output(spec) for spec in graph.outputs}
                buffers = {name: tensor.buffer for name, tensor in outputs.items()}
                model.run_by_name(graph.role, inputs, buffers | others)
        except Exception as error:
            raise EngineError(f"{graph.role}: TFLite failed ({one_line(error)})") from None
        return dict(outputs)

    # What XNNPACK refuses comes out in the first call. It packs the weights then, which takes time anyway.
    call({spec.name: np.zeros(spec.shape, spec.dtype) for spec in graph.inputs})
    return call


class LiteRtTensor:
    """An output in a buffer of LiteRT's. The buffer is used again when this is gone."""

    def __init__(self, buffer: Any, spec: TensorSpec, unused: deque[Any]) -> None:
        self.buffer, self.shape, self.dtype = buffer, spec.shape, np.dtype(spec.dtype)
        self._unused = unused

    def numpy(self) -> Array:
        """A copy."""
        size = int(np.prod(self.shape, dtype=np.int64))
        held: Array = self.buffer.read(size, self.dtype)
        return held.reshape(self.shape)

    def __del__(self) -> None:
        self._unused.append(self.buffer)


@cache
def _environment() -> Any:
    # One for all models: each looks for accelerators' libraries, and reports on standard error.
    from ai_edge_litert import compiled_model

    return compiled_model.Environment.create(options=compiled_model.EnvironmentOptions())
