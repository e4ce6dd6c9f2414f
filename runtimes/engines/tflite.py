"""Engine ``tflite``: LiteRT (ai-edge-litert), or the older tflite-runtime, on the CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.errors import EngineError, MissingExtra
from edge_vss.files import sha256
from edge_vss.runtimes.engines import EngineDescription, EngineOptions, Graph, check_given, one_line


def _problem() -> str:
    # tflite-runtime 2.14 imports with NumPy 2, and fails later with a message that says nothing.
    if not _has_old_runtime() or int(np.__version__.partition(".")[0]) < 2:
        return ""
    return (
        f'tflite-runtime does not work with NumPy {np.__version__}: pip install ai-edge-litert, or "numpy<2"'
    )


def _has_old_runtime() -> bool:
    return find_spec("ai_edge_litert") is None and find_spec("tflite_runtime") is not None


DESCRIPTION = EngineDescription(
    targets=("tflite",),
    modules=("ai_edge_litert", "tflite_runtime"),
    packages=("ai-edge-litert", "tflite-runtime"),
    extra="tflite",
    problem=_problem,
)


class _Shared:
    """An interpreter and the lock that keeps its calls apart: it has one set of buffers."""

    def __init__(self, interpreter: Any) -> None:
        self.interpreter, self.lock = interpreter, threading.Lock()


_OPEN: WeakValueDictionary[tuple[Any, ...], _Shared] = WeakValueDictionary()
"""Interpreters in use: the graphs of a bundle are signatures of one file, and share its weights."""


def load(path: Path, graph: GraphSpec, options: EngineOptions = EngineOptions()) -> Graph:
    """One signature of a file, ready to call: tensors by name in, outputs by name out.

    ``options.threads`` 0 takes one per core. Calls from several threads wait for each other. Raises
    MissingExtra without a TFLite runtime, EngineError for one that does not work with the NumPy here, for a
    file that is refused or breaks its contract, and for a call that fails.
    """
    shared = _shared(path, graph, options.threads or os.cpu_count() or 1)
    try:
        runner = shared.interpreter.get_signature_runner(graph.role)
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
    except Exception as error:
        raise EngineError(
            f"{path} has no signature {graph.role} ({one_line(error)}): convert the model again"
        ) from None
    _compare(path, "inputs", graph.inputs, inputs)
    _compare(path, "outputs", graph.outputs, outputs)

    def call(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        given = check_given(graph, tensors)
        names = [spec.name for spec in graph.inputs]
        try:
            with shared.lock:
                results = runner(**dict(zip(names, given, strict=True)))
        except Exception as error:
            raise EngineError(f"{graph.role}: TFLite failed ({one_line(error)})") from None
        return {spec.name: results[spec.name] for spec in graph.outputs}

    return call


def _shared(path: Path, graph: GraphSpec, threads: int) -> _Shared:
    file = path.stat() if path.exists() else None
    key = (str(path.resolve()), threads, file and (file.st_mtime_ns, file.st_size, file.st_ino))
    shared = _OPEN.get(key)
    if shared is None:
        interpreter = _interpreter()
        # tflite-runtime takes the whole process with it where a file is damaged.
        if "tflite_runtime" in interpreter.__module__ and (file is None or sha256(path) != graph.sha256):
            raise EngineError(f"TFLite refuses {path} (its SHA-256 is not the recorded one): convert again")
        try:
            shared = _Shared(interpreter(model_path=str(path), num_threads=threads))
        except Exception as error:  # ValueError or RuntimeError, with what the runtime has printed
            raise EngineError(f"TFLite refuses {path} ({one_line(error)}): {_way_out(str(error))}") from None
        _OPEN[key] = shared
    return shared


def _interpreter() -> Callable[..., Any]:
    try:
        from ai_edge_litert.interpreter import Interpreter

        found: Callable[..., Any] = Interpreter
        return found
    except ImportError:
        pass
    if problem := _problem():
        raise EngineError(problem)
    try:
        from tflite_runtime.interpreter import Interpreter as Old
    except ImportError:
        raise MissingExtra("ai-edge-litert", "tflite", "running a TFLite graph") from None
    older: Callable[..., Any] = Old
    return older


def _way_out(problem: str) -> str:
    if "edgetpu" in problem.lower():
        return "it is compiled for an Edge TPU; take the model from before that step"
    if "builtin opcode" in problem or "version" in problem:
        return "this runtime is too old for it; upgrade ai-edge-litert"
    return "convert the model again"


def _compare(path: Path, side: str, specs: tuple[TensorSpec, ...], details: Mapping[str, Any]) -> None:
    if unknown := set(details) - {spec.name for spec in specs} if side == "inputs" else set():
        raise EngineError(
            f"{path}: the manifest does not know the input {min(unknown)}: convert the model again"
        )
    for spec in specs:
        entry = details.get(spec.name)
        found = entry and TensorSpec(
            spec.name, tuple(map(int, entry["shape"])), np.dtype(entry["dtype"]).name
        )
        if found != spec:
            have = f"{found.dtype} {found.shape}" if found else f"only {', '.join(details)}"
            raise EngineError(
                f"{path}: the manifest wants {spec.name} {spec.dtype} {spec.shape}, the file has {have}: "
                "convert the model again"
            )
