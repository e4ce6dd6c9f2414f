"""Target ``onnx``: one self-contained file per part, opset 18, IR 10, static shapes, weights inside."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.bundle import TensorSpec
from edge_vss.converters.cost import counted
from edge_vss.converters.readers._artifact import around
from edge_vss.converters.readers._onnx_graph import OPSETS
from edge_vss.converters.silence import quiet
from edge_vss.converters.targets import TargetDescription
from edge_vss.converters.targets._onnx_passes import (
    LAST,
    prelu_as_max,
    prune,
    tidy,
    uncopy,
    upsample_channels_last,
)
from edge_vss.converters.values import Artifact, Part
from edge_vss.errors import MissingExtra, ModelError, one_line

OPSET = 18
"""What torch's exporter writes without converting; every ONNX Runtime from 1.14 on reads it."""
IR_VERSION = 10

DESCRIPTION = TargetDescription("ONNX, one file per graph", modules=("onnx", "onnxscript"), extra="convert")


def export(parts: Sequence[Part], folder: Path, metadata: Mapping[str, Mapping[str, str]]) -> list[Artifact]:
    """Write every part into ``folder``, with ``metadata`` of its role as its ``metadata_props``.

    Tensors keep the parts' names. Raises ModelError for a module that cannot be exported, in one line.
    """
    return [_write(part, folder, metadata.get(part.role, {})) for part in parts]


def _write(part: Part, folder: Path, metadata: Mapping[str, str]) -> Artifact:
    import onnx

    model = graph(part)
    upsample_channels_last(model)
    prelu_as_max(model)
    prune(model)
    onnx.helper.set_model_props(model, dict(metadata))
    file = folder / f"{part.role}.onnx"
    save(model, part, file)
    return Artifact(part.role, file.name, counted(file, part))


def graph(part: Part) -> Any:
    """``part`` as a ModelProto: no outputs but its own, nothing of this machine in it.

    Raises ModelError for a module that cannot be exported.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingExtra("onnx", "convert", "writing ONNX") from None
    model = _graph(part)
    hidden = {spec.name for spec in part.hidden}
    shown = [output for output in model.graph.output if output.name not in hidden]
    del model.graph.output[:]
    model.graph.output.extend(shown)
    uncopy(model, hidden)
    prune(model)
    tidy(model)
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_name = "edge-vss"
    model.producer_version = ""
    del model.metadata_props[:]
    _check_contract(model, part)
    return model


def save(model: Any, part: Part, file: Path) -> None:
    """Write a ModelProto. Raises ModelError for one that is not valid."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString(deterministic=True)
    except Exception as error:  # the checker raises its own, protobuf a ValueError beyond 2 GiB
        raise ModelError(f"{part.role}: the exported graph is not valid ONNX ({one_line(error)})") from None
    file.write_bytes(data)


def reveal(path: Path, specs: tuple[TensorSpec, ...], to: Path) -> None:
    """A copy of an artifact at ``to`` in which the hidden tensors ``specs`` are outputs too."""
    import onnx

    model = onnx.load(str(path))
    for spec in specs:
        if any(spec.name + LAST in node.output for node in model.graph.node):
            model.graph.node.append(
                onnx.helper.make_node("Transpose", [spec.name + LAST], [spec.name], perm=[0, 3, 1, 2])
            )
        model.graph.output.append(_value(spec))
    onnx.save(model, str(to))


def _graph(part: Part) -> Any:
    names = [spec.name for spec in part.inputs]
    results = [spec.name for spec in part.outputs + part.hidden]
    inputs = part.zeros()
    chain = around(part.module, part.role, "onnx")
    if chain is None:
        return export_module(part.role, part.module, inputs, names, results)
    before, network, after = chain
    with torch.no_grad():
        given = network(before(*inputs))
    middle = given if isinstance(given, tuple) else (given,)
    between = ["network_output", *(f"network_output_{at}" for at in range(1, len(middle)))]
    # The artifact keeps its opset where that is allowed. The two small graphs can be written at any.
    return network.splice(
        export_module(part.role, before, inputs, names, ["network_input"], network.opset),
        export_module(part.role, after, middle, between, results, network.opset),
    )


def export_module(
    role: str,
    module: torch.nn.Module,
    inputs: tuple[Tensor, ...],
    names: list[str],
    outputs: list[str],
    opset: int = OPSET,
) -> Any:
    # A TorchScript module can only be traced: torch.export would need its Python source.
    scripted = any(isinstance(child, torch.jit.ScriptModule) for child in module.modules())
    problem: Exception | None = None
    with quiet(), torch.no_grad():
        if not scripted:
            try:
                return _through_torch_export(module, inputs, names, outputs, opset)
            except (
                Exception
            ) as error:  # whatever the model made the exporter trip over; the older one may not
                problem = error
        try:
            return _through_tracing(
                _frozen(module, inputs) if scripted else module, inputs, names, outputs, opset
            )
        except Exception as error:
            problem = problem or error
        if scripted:
            # What was seen first is told.
            with suppress(Exception):
                return _through_torch_export(_replayed(module, inputs), inputs, names, outputs, opset)
    raise ModelError(
        f"{role}: torch cannot export the model to ONNX ({one_line(problem.__cause__ or problem)}): "
        "change the operation named, or give an ONNX file"
    ) from problem


def _through_torch_export(
    module: torch.nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], opset: int
) -> Any:
    from edge_vss.converters.targets._onnx_scan import TRANSLATIONS, type_bodies

    program = torch.onnx.export(
        module,
        inputs,
        dynamo=True,
        opset_version=opset,
        input_names=names,
        output_names=outputs,
        verbose=False,
        custom_translation_table=TRANSLATIONS,
    )
    assert program is not None
    model = program.model_proto
    type_bodies(model)
    return model


def _through_tracing(
    module: torch.nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], opset: int
) -> Any:
    import onnx
    from onnxscript import optimizer

    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/traced.onnx"
        torch.onnx.export(
            module, inputs, file, dynamo=False, opset_version=opset, input_names=names, output_names=outputs
        )
        # What is constant in a static graph, this exporter leaves to be computed on every call.
        return optimizer.optimize(onnx.load(file))


def _check_contract(model: Any, part: Part) -> None:
    for side, values, specs in (
        ("input", model.graph.input, part.inputs),
        ("output", model.graph.output, part.outputs),
    ):
        found, wanted = [_spec(value) for value in values], list(specs)
        if found != wanted:
            raise ModelError(f"{part.role}: the exported {side}s are {found}, and have to be {wanted}")
    if wrong := [entry for entry in model.opset_import if entry.domain == "" and entry.version not in OPSETS]:
        raise ModelError(f"{part.role}: opset {wrong[0].version} is not one that devices read ({OPSETS})")


def _spec(value: Any) -> TensorSpec:
    import onnx

    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return TensorSpec(value.name, tuple(extent.dim_value for extent in kind.shape.dim), dtype)


def _value(spec: TensorSpec) -> Any:
    import numpy as np
    import onnx

    return onnx.helper.make_tensor_value_info(
        spec.name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape
    )


def _replayed(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> torch.nn.Module:
    # The operators of one run. The exporters cannot follow scripted code that computes with sizes.
    from torch.fx.experimental.proxy_tensor import make_fx

    replayed: torch.nn.Module = make_fx(module.eval())(*inputs)
    return replayed


def _frozen(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> torch.nn.Module:
    # Frozen, because the exporter mixes up the weights of a traced module that holds a scripted one (seen
    # with 2.13).
    traced: torch.nn.Module = torch.jit.trace(  # type: ignore[no-untyped-call]
        module.eval(), inputs, check_trace=False
    )
    return torch.jit.freeze(traced.eval())  # type: ignore[no-any-return]
