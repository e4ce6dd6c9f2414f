"""Which nodes of an OpenVINO model are layers with weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.converters.quantizers import LEAST_EXTENT, named
from edge_vss.vendors import without_telemetry

LAYERS = ("Convolution", "GroupConvolution", "MatMul")
CONSTANTS = ("Constant", "Convert", "Multiply", "Subtract", "Reshape", "Transpose")


def layers_of(model: Any) -> dict[str, str]:
    """The convolutions, and the products with a constant matrix that is no narrow one, in their order: name →
    the node's."""
    found = []
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in LAYERS:
            continue
        weights = node.input_value(1)
        narrow = kind == "MatMul" and min(weights.get_shape(), default=0) < LEAST_EXTENT
        if _is_constant(weights.get_node()) and not narrow:
            found.append((_constant(weights.get_node()), node.get_friendly_name()))
    return named(found)


def _is_constant(node: Any) -> bool:
    """Whether it is made of constants alone. Attention multiplies two tensors that depend on the picture, and
    one of them may come through a Reshape or Transpose too."""
    kind = node.get_type_name()
    return kind == "Constant" or (
        kind in CONSTANTS and all(_is_constant(value.get_node()) for value in node.input_values())
    )


def _constant(node: Any) -> str:
    """The name of the constant that weights are made of."""
    while node.get_type_name() != "Constant" and node.get_input_size():
        node = node.input_value(0).get_node()
    return str(node.get_friendly_name())


def weights_of(model: Any, nodes: Collection[str]) -> dict[str, NDArray[Any]]:
    """The weights of layers, by the node's name."""
    with without_telemetry():
        import openvino as ov

    found = {}
    for node in model.get_ops():
        if node.get_friendly_name() not in nodes:
            continue
        value = node.input_value(1)
        if value.get_node().get_type_name() == "Constant":
            found[node.get_friendly_name()] = value.get_node().data.copy()
        else:
            alone = ov.compile_model(ov.Model([value], []), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            found[node.get_friendly_name()] = np.array(alone([])[0])
    return found


def give_back(model: Any, before: Any, weights: Mapping[str, NDArray[Any]]) -> None:
    """Let layers of an int8 model compute in float again, as in the model that it was made of: with these
    ``weights`` and the biases of before, and with inputs that are not rounded."""
    with without_telemetry():
        from openvino import opset13 as opset

    originals = {node.get_friendly_name(): node for node in before.get_ops()}
    for node in model.get_ops():
        name = node.get_friendly_name()
        if name not in weights:
            continue
        node.input(1).replace_source_output(opset.constant(weights[name]).output(0))
        given = node.input_value(0).get_node()
        if given.get_type_name() == "FakeQuantize":
            node.input(0).replace_source_output(given.input_value(0))
        for reader in node.output(0).get_target_inputs():
            follower = reader.get_node()
            bias = 1 - reader.get_index()
            if follower.get_type_name() != "Add" or _kind(follower, bias) != "Constant":
                continue
            # NNCF has moved the bias by what int8 shifts the layer's mean by, or put one there.
            own = originals.get(follower.get_friendly_name())
            shape = follower.input_value(bias).get_shape()
            values = np.zeros(list(shape), np.float32)
            if own is not None and _kind(own, bias) == "Constant":
                values = own.input_value(bias).get_node().data.reshape(values.shape)
            follower.input(bias).replace_source_output(opset.constant(values.copy()).output(0))
    model.validate_nodes_and_infer_types()


def _kind(node: Any, index: int) -> str:
    return str(node.input_value(index).get_node().get_type_name())
