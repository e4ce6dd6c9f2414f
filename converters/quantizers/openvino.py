"""OpenVINO graphs in fp16 weights, or int8 by NNCF's post-training quantisation."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec
from edge_vss.converters.quantizers import QuantizerDescription, Reduced, Samples, of_role, quantised_already
from edge_vss.converters.quantizers._nncf import quantise
from edge_vss.converters.quantizers._openvino_layers import give_back, layers_of, weights_of
from edge_vss.errors import MissingExtra, ModelError
from edge_vss.vendors import without_telemetry

DESCRIPTION = QuantizerDescription("NNCF", modules=("nncf",), extra="convert-openvino")


def reduce(folder: Path, graphs: Sequence[GraphSpec], precision: str, samples: Samples) -> Reduced:
    """Prepare the files of ``graphs`` in ``folder`` for fp16 weights or int8.

    ``samples`` are the inputs of real calls by role. Everything but convolutions and linear layers stays
    float. Raises MissingExtra without NNCF, ModelError where a graph cannot be written so.
    """
    if precision == "int8" and not DESCRIPTION.installed:
        raise MissingExtra("nncf", "convert-openvino", "int8 for OpenVINO")

    if precision == "fp16":
        return Reduced(lambda _: _halve(folder, graphs))
    fitted = [
        fit
        for graph in graphs
        if samples.get(graph.role) and (fit := _fit(folder, graph, samples[graph.role])) is not None
    ]

    def write(keep: Collection[str]) -> None:
        for one in fitted:
            one.write(of_role(keep, one.graph.role))

    return Reduced(write, tuple(f"{one.graph.role}/{name}" for one in fitted for name in one.layers))


@dataclass(frozen=True)
class _Fitted:
    """A graph as it was, and in int8."""

    folder: Path
    graph: GraphSpec
    before: Any
    """OpenVINO models in memory: those files are written over."""
    made: Any
    layers: dict[str, str]
    """Name → the node's."""
    weights: dict[str, NDArray[Any]]
    """Of each layer before, by the node's name."""

    def write(self, keep: Collection[str]) -> None:
        """Write the graph in int8, but for the layers in ``keep``.

        They are given back what they had. To quantise again would take minutes where a search wants seconds.
        """
        with without_telemetry():
            import openvino as ov

        model = self.made.clone()
        give_back(model, self.before, {self.layers[name]: self.weights[self.layers[name]] for name in keep})
        with tempfile.TemporaryDirectory() as scratch:
            ov.save_model(model, str(Path(scratch) / self.graph.file), compress_to_fp16=False)
            _move(self.graph, Path(scratch), self.folder)


def _fit(folder: Path, graph: GraphSpec, samples: Sequence[Mapping[str, NDArray[Any]]]) -> _Fitted | None:
    """None for a graph without layers."""
    with without_telemetry():
        import openvino as ov

    def in_memory(place: Path) -> Any:
        weights = (place / graph.data).read_bytes()
        return ov.Core().read_model((place / graph.file).read_bytes(), weights)

    before = in_memory(folder)
    if any(node.get_type_name() == "FakeQuantize" for node in before.get_ops()):
        raise quantised_already(graph.role, "int8")
    layers = layers_of(before)
    if not layers:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            quantise(folder / graph.file, _inputs(graph, samples), Path(scratch) / graph.file)
        except ModelError as error:
            raise ModelError(f"{graph.role}: {error}") from None
        weights = weights_of(before, layers.values())
        return _Fitted(folder, graph, before, in_memory(Path(scratch)), layers, weights)


def _move(graph: GraphSpec, scratch: Path, folder: Path) -> None:
    for name in (graph.file, graph.data):
        (folder / name).write_bytes((scratch / name).read_bytes())


def _inputs(
    graph: GraphSpec, samples: Sequence[Mapping[str, NDArray[Any]]]
) -> list[Mapping[str, NDArray[Any]]]:
    names = [spec.name for spec in graph.inputs]
    return [{name: sample[name] for name in names} for sample in samples]


def _halve(folder: Path, graphs: Sequence[GraphSpec]) -> None:
    """Keep layers' weights as fp16; OpenVINO turns them back where it computes in fp32.

    OpenVINO's own compression takes all constants. Some are positions in the picture, and beyond 2048 half
    precision skips whole numbers.
    """
    with without_telemetry():
        import openvino as ov
        from openvino import opset13 as opset

    for graph in graphs:
        model = ov.Core().read_model(str(folder / graph.file))
        layers = set(layers_of(model).values())
        for node in model.get_ops():
            if node.get_friendly_name() not in layers:
                continue
            weights = node.input_value(1).get_node()
            if weights.get_type_name() == "Constant" and weights.data.dtype == np.float32:
                half = opset.constant(weights.data.astype(np.float16))
                node.input(1).replace_source_output(opset.convert(half, "f32").output(0))
        with tempfile.TemporaryDirectory() as scratch:
            # Not over the file that the model is still read from.
            ov.save_model(model, str(Path(scratch) / graph.file), compress_to_fp16=False)
            del model
            _move(graph, Path(scratch), folder)
