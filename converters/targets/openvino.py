"""Target ``openvino``: ``ROLE.xml`` and its weights ``ROLE.bin`` per part, made by way of ONNX.

OpenVINO reads every graph that torch exports as ONNX, torch's own it does not (scans).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from edge_vss.converters.cost import counted
from edge_vss.converters.readers._artifact import around
from edge_vss.converters.readers.openvino import OpenVinoNetwork
from edge_vss.converters.silence import quiet
from edge_vss.converters.targets import TargetDescription
from edge_vss.converters.targets._onnx_passes import argmax_channels_last
from edge_vss.converters.targets.onnx import export_module, graph, save
from edge_vss.converters.values import Artifact, Part
from edge_vss.errors import MissingExtra, ModelError, one_line
from edge_vss.vendors import without_telemetry

DESCRIPTION = TargetDescription(
    "OpenVINO, an .xml and a .bin per graph",
    modules=("onnx", "onnxscript", "openvino"),
    extra="convert-openvino",
)


def export(parts: Sequence[Part], folder: Path, metadata: Mapping[str, Mapping[str, str]]) -> list[Artifact]:
    """Write every part into ``folder``, with ``metadata`` of its role as its ``rt_info``.

    Raises MissingExtra without OpenVINO, ModelError for a module or an operator that it cannot express.
    """
    try:
        with without_telemetry():
            import openvino  # noqa: F401
    except ImportError:
        raise MissingExtra("openvino", "openvino", "writing OpenVINO graphs") from None
    return [_write(part, folder, metadata.get(part.role, {})) for part in parts]


def _write(part: Part, folder: Path, metadata: Mapping[str, str]) -> Artifact:
    with without_telemetry():
        import openvino as ov

    file = folder / f"{part.role}.xml"
    chain = around(part.module, part.role, "openvino")
    if chain is not None and isinstance(chain[1], OpenVinoNetwork):
        model, cost = _around_artifact(part, *chain)
    else:
        # Without ONNX Runtime's passes: OpenVINO resizes channels-last maps at a tenth of the speed.
        exported = graph(part)
        argmax_channels_last(exported)
        model, cost = _from_onnx(exported, part)
    for key, value in metadata.items():
        model.set_rt_info(value, [key])
    try:
        ov.save_model(model, str(file), compress_to_fp16=False)
    except Exception as error:
        raise ModelError(f"{part.role}: OpenVINO cannot write this graph ({one_line(error)})") from None
    return Artifact(part.role, file.name, cost, f"{part.role}.bin")


def _from_onnx(exported: Any, part: Part) -> tuple[Any, float]:
    """An ONNX graph as OpenVINO's own, and its cost in GMAC."""
    with without_telemetry():
        import openvino as ov

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{part.role}.onnx"
        save(exported, part, file)
        try:
            with quiet():
                # Not convert_model, which starts a process to report that it was called.
                return ov.Core().read_model(str(file)), counted(file, part)
        except ModelError:
            raise
        except Exception as error:  # OpenVINO has one class for all of its errors, and it is not exported
            raise ModelError(
                f"{part.role}: OpenVINO cannot express this graph ({one_line(error)}): "
                "change the operator named, or convert with --target onnx"
            ) from None


def _around_artifact(part: Part, before: Any, network: OpenVinoNetwork, after: Any) -> tuple[Any, float]:
    inputs = part.zeros()
    with torch.no_grad():
        first = before(*inputs)
        given = network(first)
    middle = given if isinstance(given, tuple) else (given,)
    between = ["network_output", *(f"network_output_{at}" for at in range(1, len(middle)))]
    ends = []
    for module, examples, names, outputs in (
        (before, inputs, [spec.name for spec in part.inputs], ["network_input"]),
        (after, middle, between, [spec.name for spec in part.outputs + part.hidden]),
    ):
        ends.append(_from_onnx(export_module(part.role, module, examples, names, outputs), part)[0])
    model = network.splice(*ends)
    hidden = {spec.name for spec in part.hidden}
    for result in model.get_results():
        if hidden & result.get_output_tensor(0).get_names():
            model.remove_result(result)
    return model, convolution_gmac(model)


def convolution_gmac(model: Any) -> float:
    """Billions of multiply-accumulates in the convolutions and matrix products of an OpenVINO model."""
    total = 0
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind in ("Convolution", "GroupConvolution"):
            weights = list(node.input(1).get_shape())
            total += math.prod(node.output(0).get_shape()) * math.prod(weights[2 if kind[0] == "G" else 1 :])
        elif kind == "MatMul":
            turned = node.get_attributes().get("transpose_a", False)
            total += (
                math.prod(node.output(0).get_shape()) * list(node.input(0).get_shape())[-2 if turned else -1]
            )
    return total / 1e9
