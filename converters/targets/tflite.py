"""Target ``tflite``: all parts in one file, a signature per role, weights shared, by LiteRT's own converter.

Its tensors get their names back in the signatures, which every TFLite runtime since 2.5 reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.converters.cost import gmac_of
from edge_vss.converters.ops.selective_scan import in_chunks
from edge_vss.converters.readers._artifact import around
from edge_vss.converters.readers.tflite import TfliteNetwork
from edge_vss.converters.silence import quiet
from edge_vss.converters.targets import TargetDescription
from edge_vss.converters.targets import _flatbuffer as flatbuffer
from edge_vss.converters.targets import _transposed as transposed
from edge_vss.converters.targets._culprit import culprit
from edge_vss.converters.targets._spread import spread
from edge_vss.converters.values import Artifact, Part
from edge_vss.errors import MissingExtra, ModelError, one_line

FILE = "graphs.tflite"
OTHER_TARGET = "convert with --target onnx or openvino"
ELSEWHERE = f"give its state dict and the code that builds it (--model FILE.py:NAME), or {OTHER_TARGET}"

DESCRIPTION = TargetDescription(
    "TFLite, one file with a signature per graph", modules=("litert_torch",), extra="convert-tflite"
)


def export(parts: Sequence[Part], folder: Path, metadata: Mapping[str, Mapping[str, str]]) -> list[Artifact]:
    """Write all parts into ``graphs.tflite``, with ``metadata`` of every role in it.

    Raises MissingExtra without litert-torch, ModelError for a module or an operator that it cannot express.
    """
    chains = {part.role: around(part.module, part.role, "tflite") for part in parts}
    model = _converted({part.role: _traced(part) for part in parts if chains[part.role] is None})
    for part in parts:
        if (chain := chains[part.role]) is not None:
            at = flatbuffer.append(model, _around_artifact(part, *chain))[0]
            flatbuffer.sign(model, part.role, at)
    names = {part.role: ([s.name for s in part.inputs], [s.name for s in part.outputs]) for part in parts}
    flatbuffer.name_tensors(model, names)
    flatbuffer.tell_tensors_apart(model)
    flatbuffer.flatten_biases(model)
    entries = {f"{key}:{role}": value for role, held in metadata.items() for key, value in held.items()}
    flatbuffer.add_metadata(model, entries)
    flatbuffer.write(folder / FILE, model)
    costs = {part.role: 0.0 if chains[part.role] else gmac_of(part) for part in parts}
    return [Artifact(part.role, FILE, costs[part.role]) for part in parts]


def _converted(traced: Mapping[str, tuple[torch.nn.Module, tuple[Tensor, ...]]]) -> Any:
    """Several graphs of torch's operators, as one model that shares their weights."""
    try:
        with quiet():
            import litert_torch  # noqa: F401
    except ImportError:
        raise MissingExtra("litert-torch", "convert-tflite", "writing TFLite") from None
    try:
        return _written(traced)
    except Exception as error:  # the converter's own, MLIR's and torch's
        raise ModelError(_advice(traced, error)) from None


def _written(traced: Mapping[str, tuple[torch.nn.Module, tuple[Tensor, ...]]]) -> Any:
    import litert_torch

    converter: Any = litert_torch
    for role, (module, inputs) in traced.items():
        converter = converter.signature(role, module, inputs)
    with quiet(), tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / FILE
        converter.convert().export(str(file))
        return flatbuffer.read(file)


def _advice(traced: Mapping[str, tuple[torch.nn.Module, tuple[Tensor, ...]]], error: Exception) -> str:
    """What a user reads: the graph, the operator and its layer where they can be found, and what to do."""
    for role, (module, inputs) in traced.items():

        def fails(part: torch.nn.Module, inputs: tuple[Tensor, ...] = inputs) -> bool:
            try:
                _written({"part": (part, inputs)})
            except Exception:
                return True
            return False

        if fails(module):
            place = culprit(module, fails) if isinstance(module, torch.fx.GraphModule) else ""
            what = f"{place} of the {role} graph" if place else f"the {role} graph"
            return (
                f"TFLite cannot express {what} ({one_line(error)}): write this operator another way in the "
                "model, or convert with --target onnx or openvino"
            )
    return f"TFLite cannot express this model ({one_line(error)}): {OTHER_TARGET}"


def _around_artifact(part: Part, before: Any, network: TfliteNetwork, after: Any) -> Any:
    """The artifact's file, with the stages before and after it in its first subgraph."""
    inputs = part.zeros()
    with torch.no_grad():
        first = before(*inputs)
        given = network(first)
    middle = given if isinstance(given, tuple) else (given,)
    model = flatbuffer.read(network.path)
    flatbuffer.only_outputs(model, [list(network.outputs).index(name) for name in network.chosen])
    shown = _Shown(after, len(part.outputs))
    follows = flatbuffer.in_order(_converted({"after": _folded(part.role, shown, middle)}))
    (behind,) = flatbuffer.append(model, follows)
    flatbuffer.join(model, 0, behind)
    if not _gives_back(before, inputs[0]):
        (ahead,) = flatbuffer.append(model, _converted({"before": _folded(part.role, before, inputs)}))
        flatbuffer.join(model, ahead, 0)
        model.subgraphs[0] = model.subgraphs[ahead]
    del model.subgraphs[behind:]
    return model


def _gives_back(before: Any, example: Tensor) -> bool:
    """Whether a network's pixels are those of the picture."""
    picture = torch.randint(0, 256, example.shape, generator=torch.Generator().manual_seed(0))
    picture = picture.to(example.dtype)
    given = before(picture)
    return given.dtype == picture.dtype and torch.equal(given, picture)


def _traced(part: Part) -> tuple[torch.nn.Module, tuple[Tensor, ...]]:
    if any(isinstance(module, torch.jit.ScriptModule) for module in part.module.modules()):
        raise ModelError(f"{part.role}: a TorchScript module cannot be written as TFLite: {ELSEWHERE}")
    return _folded(part.role, _Shown(part.module, len(part.outputs)), part.zeros())


def _folded(
    role: str, module: torch.nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[torch.nn.Module, tuple[Tensor, ...]]:
    """The module as a graph of torch's operators, with all that is constant computed, and its inputs."""
    from torch.fx.experimental.const_fold import split_const_subgraphs

    # What TFLite has no loop for.
    written_out: dict[Any, Any] = {torch.ops.edge_vss.selective_scan.default: in_chunks}
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(module, inputs)
            if any(node.target in written_out for node in program.graph.nodes):
                program = program.run_decompositions(written_out)
            module = program.module()
            spread(module.graph)
            transposed.rewrite(module.graph)
            module.recompile()
            folded: Any = split_const_subgraphs(module)
            folded.run_folding()
    except Exception as error:  # whatever the model made torch's exporter trip over
        raise ModelError(
            f"{role}: torch cannot export the model ({one_line(error)}): {OTHER_TARGET}"
        ) from None
    return folded, inputs


class _Shown(torch.nn.Module):
    """A module without its last outputs."""

    def __init__(self, module: torch.nn.Module, count: int) -> None:
        super().__init__()
        self.module, self.count = module, count

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        results = self.module(*tensors)
        return (results if isinstance(results, tuple) else (results,))[: self.count]
