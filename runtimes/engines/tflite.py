"""Engine ``tflite``: LiteRT (ai-edge-litert), or the older tflite-runtime, on the CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.errors import EngineError, MissingExtra
from edge_vss.files import sha256, utf8_name
from edge_vss.plugins import LOG
from edge_vss.runtimes.engines import (
    Array,
    EngineDescription,
    EngineOptions,
    Graph,
    Tensor,
    input_arrays,
    one_line,
)
from edge_vss.runtimes.engines._litert import compiled


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


def load(path: Path, graph: GraphSpec, options: EngineOptions = EngineOptions()) -> Graph:
    """One signature of a file, ready to call: tensors by name in, outputs by name out.

    ``options.threads`` 0 takes one per core. Calls of one graph from several threads wait for each other;
    different graphs run at the same time. A graph that XNNPACK refuses runs without it, with a warning in the
    log. Raises MissingExtra without a TFLite runtime, EngineError for one that does not work with the NumPy
    here, for a file that is refused or breaks its contract, and for a call that fails.
    """
    threads = options.threads or os.cpu_count() or 1
    runner = _runner(path, graph, threads)
    _compare(path, "inputs", graph.inputs, runner.get_input_details())
    _compare(path, "outputs", graph.outputs, runner.get_output_details())
    try:
        return compiled(path, graph, threads) or _interpreted(graph, runner)
    except Exception as error:
        refusal = error
    try:
        plain = _interpreted(graph, _runner(path, graph, threads, accelerated=False))
    except Exception:
        raise _refused(path, refusal) from None
    LOG.warning(
        "XNNPACK refuses the %s graph of %s (%s): TFLite runs it without, which is slower",
        graph.role,
        path,
        one_line(refusal),
    )
    return plain


def _runner(path: Path, graph: GraphSpec, threads: int, accelerated: bool = True) -> Any:
    """The graph's signature in an interpreter. Reads the whole file, and refuses one that is damaged.

    ``accelerated`` False leaves out XNNPACK.
    """
    interpreter, resolvers, old = _interpreter()
    # A damaged file ends the whole process in tflite-runtime.
    if old and (not path.exists() or sha256(path) != graph.sha256):
        raise EngineError(f"TFLite refuses {path} (its SHA-256 is not the recorded one): convert again")
    resolver = resolvers.AUTO if accelerated else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        made = interpreter(
            model_path=utf8_name(path), num_threads=threads, experimental_op_resolver_type=resolver
        )
    except Exception as error:  # ValueError or RuntimeError, with what the runtime has printed
        raise _refused(path, error) from None
    try:
        return made.get_signature_runner(graph.role)
    except Exception as error:
        raise EngineError(
            f"{path} has no signature {graph.role} ({one_line(error)}): convert the model again"
        ) from None


def _interpreted(graph: GraphSpec, runner: Any) -> Graph:
    """By the interpreter, which copies what goes in and what comes out.

    Raises what TFLite raises where it cannot run the graph: that comes out in the first call, made here.
    """
    names, lock = [spec.name for spec in graph.inputs], threading.Lock()
    runner(**{spec.name: np.zeros(spec.shape, spec.dtype) for spec in graph.inputs})

    def call(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        arrays = input_arrays(graph, tensors)
        try:
            with lock:
                results = runner(**dict(zip(names, arrays, strict=True)))
        except Exception as error:
            raise EngineError(f"{graph.role}: TFLite failed ({one_line(error)})") from None
        return {spec.name: results[spec.name] for spec in graph.outputs}

    return call


def _refused(path: Path, error: Exception) -> EngineError:
    return EngineError(f"TFLite refuses {path} ({one_line(error)}): {_way_out(str(error))}")


def _interpreter() -> tuple[Callable[..., Any], Any, bool]:
    """The class that runs TFLite files, what its operators may come from, and whether it is
    tflite-runtime's."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        return Interpreter, OpResolverType, False
    except ImportError:
        pass
    if problem := _problem():
        raise EngineError(problem)
    try:
        from tflite_runtime.interpreter import Interpreter as Old
        from tflite_runtime.interpreter import OpResolverType as OldResolvers
    except ImportError:
        raise MissingExtra("ai-edge-litert", "tflite", "running a TFLite graph") from None
    return Old, OldResolvers, True


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
