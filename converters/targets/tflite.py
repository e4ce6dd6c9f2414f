"""Target ``tflite``: all parts in one file, a signature per role, weights shared, by LiteRT's own converter.

Its tensors get their names back in the signatures, which every TFLite runtime since 2.5 reads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from edge_vss.converters.cost import gmac_of
from edge_vss.converters.flatbuffer import name_tensors
from edge_vss.converters.onnx_model import OnnxNetwork
from edge_vss.converters.split import Artifact, Part, quiet
from edge_vss.errors import MissingExtra, ModelError

FILE = "graphs.tflite"
ELSEWHERE = "give the model another way (an exported program or a state dict), or convert with --target onnx"


def export(parts: Sequence[Part], folder: Path, metadata: Mapping[str, Mapping[str, str]]) -> list[Artifact]:
    """Write all parts into ``graphs.tflite``, with ``metadata`` of every role in it.

    Raises MissingExtra without litert-torch, ModelError for a module or an operator that it cannot express.
    """
    try:
        with hushed():
            import litert_torch
    except ImportError:
        raise MissingExtra("litert-torch", "convert-tflite", "writing TFLite") from None
    converter: Any = litert_torch
    for part in parts:
        module, inputs = _exported(part)
        converter = converter.signature(part.role, module, inputs)
    try:
        with quiet(), hushed():
            model = converter.convert()
            model.export(str(folder / FILE))
    except Exception as error:  # the converter's own, MLIR's and torch's
        raise ModelError(f"TFLite cannot express this model ({_line(error)}): {ELSEWHERE}") from None
    names = {
        part.role: ([spec.name for spec in part.inputs], [spec.name for spec in part.outputs])
        for part in parts
    }
    name_tensors(
        folder / FILE,
        names,
        {f"{key}:{role}": value for role in metadata for key, value in metadata[role].items()},
    )
    return [Artifact(part.role, FILE, gmac_of(part)) for part in parts]


def _exported(part: Part) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The part as a graph of torch's operators, with all that is constant computed, and its inputs."""
    from torch.fx.experimental.const_fold import split_const_subgraphs

    modules = list(part.module.modules())
    if any(isinstance(module, OnnxNetwork) for module in modules):
        raise ModelError(f"{part.role}: a given ONNX graph cannot be written as TFLite: {ELSEWHERE}")
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        raise ModelError(f"{part.role}: a TorchScript module cannot be written as TFLite: {ELSEWHERE}")
    inputs = tuple(torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in part.inputs)
    try:
        with quiet(), torch.no_grad():
            graph = torch.export.export(_Shown(part).eval(), inputs).module()
            folded = split_const_subgraphs(graph)
            folded.run_folding()
    except Exception as error:  # whatever the model made torch's exporter trip over
        raise ModelError(
            f"{part.role}: torch cannot export the model ({_line(error)}): {ELSEWHERE}"
        ) from None
    return folded, inputs


class _Shown(torch.nn.Module):
    """A part without its hidden outputs."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.module, self.count = part.module, len(part.outputs)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results = self.module(*tensors)
        return (results if isinstance(results, tuple) else (results,))[: self.count]


@contextmanager
def hushed() -> Iterator[None]:
    """Hold back what native libraries print: the converter reports every step of itself."""
    with tempfile.TemporaryFile() as away:
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(away.fileno(), number)
            yield
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
