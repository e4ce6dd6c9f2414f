"""Engine ``openvino``: Intel's OpenVINO, on the CPU or any other device that it finds."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.errors import EngineError, MissingExtra, OptionError
from edge_vss.runtimes.engines import (
    HINTS,
    Array,
    EngineDescription,
    EngineOptions,
    Graph,
    Tensor,
    cache_folder,
    input_arrays,
    one_line,
)
from edge_vss.runtimes.engines._memory import OutputMemory
from edge_vss.runtimes.engines._openvino_layout import to_compile
from edge_vss.vendors import without_telemetry

_DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "boolean": "bool"}
_DTYPES |= {f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}
_DTYPES |= {f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}


def load(path: Path, graph: GraphSpec, options: EngineOptions = EngineOptions()) -> Graph:
    """One graph, ready to call: tensors by name in, outputs by name out. Extra tensors are ignored.

    ``provider`` is a device that OpenVINO finds (``cpu``, ``gpu``, ``npu``, ``auto``); ``hint`` is
    ``latency`` or ``throughput`` (for several sessions at once). The compiled graph is kept on disk, so that
    the next start is quick (``cache_folder``).

    Raises MissingExtra without openvino, OptionError for a hint that is not known, EngineError for a device
    that is not there, for a file that is refused or breaks its contract, and for a call that fails.
    """
    try:
        with without_telemetry():
            import openvino as ov
    except ImportError:
        raise MissingExtra("openvino", "openvino", "running an OpenVINO graph") from None
    provider, hint = options.provider, options.hint or "latency"
    if hint not in HINTS:
        raise OptionError(f"no hint is called {hint!r}: choose one of {', '.join(HINTS)}")
    core = ov.Core()
    device = (provider or "cpu").upper()
    if device != "AUTO" and device.partition(".")[0] not in {
        d.partition(".")[0] for d in core.available_devices
    }:
        have = ", ".join(name.lower() for name in core.available_devices)
        raise EngineError(f"OpenVINO finds no {provider} here: it has {have}, auto")
    config: dict[str, Any] = {"PERFORMANCE_HINT": hint.upper()}
    if device == "CPU":
        # Without this, OpenVINO rounds to bfloat16 on every processor that can compute with it.
        config |= {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": options.threads}
        # A pinned worker cannot move to a free core, and would wait while the decoder uses its own.
        config["ENABLE_CPU_PINNING"] = False
    if cache := cache_folder("openvino"):
        # OpenVINO tells files apart by path and time, and would take the compiled graph of another bundle
        # that was unpacked to the same place. A folder of its own for every content.
        digest = hashlib.sha256(f"{graph.sha256} {graph.data_sha256}".encode()).hexdigest()[:16]
        config["CACHE_DIR"] = str(cache / digest)
    try:
        compiled = core.compile_model(to_compile(core, path), device, config)
    except Exception as error:  # OpenVINO has one class for all errors, and it is RuntimeError in the end
        raise EngineError(
            f"OpenVINO refuses {path} ({one_line(error)}): convert the model again, or upgrade openvino"
        ) from None
    inputs = _ports(path, graph.inputs, compiled.inputs)
    outputs = _ports(path, graph.outputs, compiled.outputs)
    if len(inputs) != len(compiled.inputs):
        raise EngineError(
            f"{path} has {len(compiled.inputs)} inputs, the manifest {len(inputs)}: convert the model again"
        )
    memory, own = OutputMemory(graph.outputs), threading.local()

    def call(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        # A request runs one call at a time: each thread has its own.
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        arrays, results = input_arrays(graph, tensors), memory.arrays()
        try:
            # Reads and writes the arrays where they are: nothing is copied.
            for port, array in zip(inputs, arrays, strict=True):
                own.request.set_tensor(port, ov.Tensor(array, shared_memory=True))
            for port, spec in zip(outputs, graph.outputs, strict=True):
                own.request.set_tensor(port, ov.Tensor(results[spec.name], shared_memory=True))
            # Without share_outputs it makes a copy of everything it has written, which nobody reads.
            own.request.infer(share_outputs=True)
        except Exception as error:
            raise EngineError(f"{graph.role}: OpenVINO failed ({one_line(error)})") from None
        return results

    return call


def _ports(path: Path, specs: tuple[TensorSpec, ...], ports: list[Any]) -> list[Any]:
    """The ports of a compiled model, in the manifest's order."""
    found = {
        name: (port, TensorSpec(name, tuple(port.shape), _DTYPES.get(port.element_type.to_string(), "")))
        for port in ports
        for name in port.names
    }
    for spec in specs:
        if spec.name not in found or found[spec.name][1] != spec:
            have = ", ".join(f"{s.name} {s.dtype} {s.shape}" for _, s in found.values())
            raise EngineError(
                f"{path}: the manifest wants {spec.name} {spec.dtype} {spec.shape}, the file has {have}: "
                "convert the model again"
            )
    return [found[spec.name][0] for spec in specs]


def _accelerators() -> list[str]:
    """The devices here that are no CPU."""
    with without_telemetry():
        import openvino as ov

    return [device.lower() for device in ov.Core().available_devices if device != "CPU"]


def _contract(file: Path) -> str | None:
    with without_telemetry():
        import openvino as ov

    model = ov.Core().read_model(str(file))
    return str(model.get_rt_info(["edge_vss"]).astype(str)) if model.has_rt_info(["edge_vss"]) else None


DESCRIPTION = EngineDescription(
    targets=("openvino", "onnx"),
    modules=("openvino",),
    packages=("openvino",),
    extra="openvino",
    options=frozenset({"provider", "hint"}),
    accelerators=_accelerators,
    contract=_contract,
)
