"""Engine ``onnxruntime``: ONNX Runtime on the CPU, or on what else its build brings (CUDA, TensorRT)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.errors import EngineError, MissingExtra
from edge_vss.files import utf8_name
from edge_vss.runtimes.engines import (
    Array,
    EngineDescription,
    EngineOptions,
    Graph,
    Tensor,
    as_array,
    checked_inputs,
    input_arrays,
    one_line,
)
from edge_vss.runtimes.engines._memory import OutputMemory

CPU = "CPUExecutionProvider"
SCAN = b'"\x04Scan'
"""How a node's operator is written in an ONNX file: field 4, four bytes."""
DEVICES = {"cuda": "cuda", "tensorrt": "cuda"}
"""Provider → what ONNX Runtime calls its memory, where outputs stay in it until somebody reads them."""

_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}


def load(path: Path, graph: GraphSpec, options: EngineOptions = EngineOptions()) -> Graph:
    """One graph, ready to call: tensors by name in, outputs by name out. Extra tensors are ignored.

    ``threads`` 0 leaves the number to ONNX Runtime (one per core). ``provider`` is what computes: ``cpu``, or
    what this build of ONNX Runtime has (``cuda``, ``tensorrt``). What the provider cannot run, the CPU runs.
    With ``cuda`` and ``tensorrt`` the outputs stay in the GPU's memory until they are read.

    Raises MissingExtra without onnxruntime, EngineError for a provider that is not there, if ONNX Runtime
    refuses the file, the file breaks its contract, or a call fails.
    """
    try:
        import onnxruntime as ort
    except ImportError:
        raise MissingExtra("onnxruntime", "onnxruntime", "running an ONNX graph") from None
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    # A worker thread that waits in a busy loop ("spins") takes a core from the decoder. But a graph with a
    # scan is thousands of short operations: waking a thread for each of them would cost more than spinning.
    scans = SCAN in path.read_bytes()
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if scans else "0")
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    # With this on, ONNX Runtime plans one large block after the first run and keeps the first run's memory
    # as well: 2.0 GB instead of 1.1 with the largest network. No graph here runs faster with it.
    settings.enable_mem_pattern = False
    chosen = _provider(options.provider or "cpu", ort.get_available_providers())
    try:
        session = ort.InferenceSession(
            utf8_name(path), settings, providers=list(dict.fromkeys((chosen, CPU)))
        )
    except Exception as error:  # ONNX Runtime has a class per status and no base class of its own
        raise EngineError(
            f"ONNX Runtime refuses {path} ({one_line(error)}): convert the model again"
        ) from None
    # Where the provider's own libraries are missing, ONNX Runtime uses the CPU and says nothing.
    if session.get_providers()[0] != chosen:
        raise EngineError(
            f"ONNX Runtime has {options.provider}, and cannot start it: check its driver and libraries, or "
            "leave --provider out"
        )
    _compare(path, "inputs", graph.inputs, session.get_inputs())
    _compare(path, "outputs", graph.outputs, session.get_outputs())

    device = DEVICES.get((options.provider or "cpu").lower())
    return _on_device(session, graph, device) if device else _on_cpu(session, graph)


def _on_cpu(session: Any, graph: GraphSpec) -> Graph:
    memory = OutputMemory(graph.outputs)

    def call(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        inputs, outputs = input_arrays(graph, tensors), memory.arrays()
        try:
            # Reads and writes the arrays where they are: nothing is copied.
            binding = session.io_binding()
            for spec, array in zip(graph.inputs, inputs, strict=True):
                binding.bind_cpu_input(spec.name, array)
            for name, array in outputs.items():
                binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            session.run_with_iobinding(binding)
        except Exception as error:
            raise _failed(graph, error) from None
        return outputs

    return call


class _DeviceTensor:
    """An output in the memory of the device that computed it."""

    def __init__(self, value: Any, spec: TensorSpec) -> None:
        self.value, self.shape, self.dtype = value, spec.shape, np.dtype(spec.dtype)

    def numpy(self) -> Array:
        """A copy in the computer's own memory."""
        return np.array(self.value.numpy())


def _on_device(session: Any, graph: GraphSpec, device: str) -> Graph:
    def call(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        inputs = checked_inputs(graph, tensors)
        try:
            binding = session.io_binding()
            for spec, tensor in zip(graph.inputs, inputs, strict=True):
                if isinstance(tensor, _DeviceTensor):
                    binding.bind_ortvalue_input(spec.name, tensor.value)
                else:
                    binding.bind_cpu_input(spec.name, np.ascontiguousarray(as_array(tensor)))
            for spec in graph.outputs:
                binding.bind_output(spec.name, device)
            session.run_with_iobinding(binding)
            values = binding.get_outputs()
        except Exception as error:
            raise _failed(graph, error) from None
        return {
            spec.name: _DeviceTensor(value, spec) for spec, value in zip(graph.outputs, values, strict=True)
        }

    return call


def _failed(graph: GraphSpec, error: Exception) -> EngineError:
    return EngineError(f"{graph.role}: ONNX Runtime failed ({one_line(error)})")


def _short(providers: list[str]) -> dict[str, str]:
    return {entry.removesuffix("ExecutionProvider").lower(): entry for entry in providers}


def _provider(name: str, present: list[str]) -> str:
    short = _short(present)
    if name.lower() not in short:
        raise EngineError(f"ONNX Runtime has no provider {name} here: it has {', '.join(short)}")
    return short[name.lower()]


def _compare(path: Path, side: str, specs: tuple[TensorSpec, ...], nodes: list[Any]) -> None:
    found = {
        # "tensor(float)" is numpy's float32; other types share their names
        TensorSpec(node.name, tuple(node.shape), _DTYPES.get(node.type, node.type[7:-1]))
        for node in nodes
    }
    if wrong := [spec for spec in specs if spec not in found]:
        have = ", ".join(
            f"{spec.name} {spec.dtype} {spec.shape}" for spec in sorted(found, key=lambda s: s.name)
        )
        want = f"{wrong[0].name} {wrong[0].dtype} {wrong[0].shape}"
        raise EngineError(
            f"{path}: the manifest's {side} want {want}, the file has {have}: convert the model again"
        )
    if side == "inputs" and len(found) != len(specs):
        raise EngineError(
            f"{path} has {len(found)} inputs, the manifest has {len(specs)}: convert the model again"
        )


def _accelerators() -> list[str]:
    """The providers of this build that are no CPU."""
    import onnxruntime as ort

    return [
        name
        for name in _short(ort.get_available_providers())
        if name in ("cuda", "tensorrt", "rocm", "migraphx", "coreml", "dml")
    ]


def _contract(file: Path) -> str | None:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    # Only the metadata is read: nothing has to be optimised for that.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    held = (
        ort.InferenceSession(utf8_name(file), settings, providers=[CPU]).get_modelmeta().custom_metadata_map
    )
    contract: str | None = held.get("edge_vss")
    return contract


DESCRIPTION = EngineDescription(
    targets=("onnx",),
    modules=("onnxruntime",),
    packages=("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    extra="onnxruntime",
    options=frozenset({"provider"}),
    accelerators=_accelerators,
    contract=_contract,
)
