"""OpenVINO graphs in fp16 weights, or int8 by NNCF's post-training quantisation."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.converters.quantizers import QuantizerDescription, Samples
from edge_vss.converters.quantizers._nncf import quantise
from edge_vss.converters.quantizers._openvino_layers import layers_of
from edge_vss.errors import MissingExtra, ModelError
from edge_vss.vendors import without_telemetry

DESCRIPTION = QuantizerDescription("NNCF", modules=("nncf",), extra="convert-openvino")


def reduce(folder: Path, graphs: Sequence[GraphSpec], precision: str, samples: Samples) -> None:
    """Rewrite the files of ``graphs`` in ``folder`` in fp16 weights or int8.

    ``samples`` are the inputs of real calls by role. Everything but convolutions and linear layers stays
    float. Raises MissingExtra without NNCF, ModelError where a graph cannot be written so.
    """
    with without_telemetry():
        import openvino as ov

    if precision == "int8" and not DESCRIPTION.installed:
        raise MissingExtra("nncf", "convert-openvino", "int8 for OpenVINO")
    for graph in graphs:
        file = folder / graph.file
        model = ov.Core().read_model(str(file))
        with tempfile.TemporaryDirectory() as scratch:
            # Not over the file that the model is still read from.
            made = Path(scratch) / graph.file
            if precision == "fp16":
                _halve(model)
                ov.save_model(model, str(made), compress_to_fp16=False)
            elif samples.get(graph.role) and layers_of(model):
                try:
                    quantise(file, _inputs(graph, samples[graph.role]), made)
                except ModelError as error:
                    raise ModelError(f"{graph.role}: {error}") from None
            else:
                continue
            del model
            for name in (graph.file, graph.data):
                (folder / name).write_bytes((Path(scratch) / name).read_bytes())


def _inputs(
    graph: GraphSpec, samples: Sequence[Mapping[str, NDArray[Any]]]
) -> list[Mapping[str, NDArray[Any]]]:
    names = [spec.name for spec in graph.inputs]
    return [{name: sample[name] for name in names} for sample in samples]


def _halve(model: Any) -> None:
    """Keep layers' weights as fp16; OpenVINO turns them back where it computes in fp32.

    OpenVINO's own compression takes all constants. Some are positions in the picture, and beyond 2048 half
    precision skips whole numbers.
    """
    with without_telemetry():
        from openvino import opset13 as opset

    layers = layers_of(model)
    for node in model.get_ops():
        if node.get_friendly_name() not in layers:
            continue
        weights = node.input_value(1).get_node()
        if weights.get_type_name() == "Constant" and weights.data.dtype == np.float32:
            half = opset.constant(weights.data.astype(np.float16))
            node.input(1).replace_source_output(opset.convert(half, "f32").output(0))
