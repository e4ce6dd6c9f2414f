"""Which nodes of an OpenVINO model are layers with weights."""

from __future__ import annotations

from typing import Any

from edge_vss.converters.quantizers import LEAST_EXTENT

LAYERS = ("Convolution", "GroupConvolution", "MatMul")
CONSTANTS = ("Constant", "Convert", "Multiply", "Subtract", "Reshape", "Transpose")


def layers_of(model: Any) -> set[str]:
    """The convolutions, and the products with a constant matrix that is no narrow one."""
    found = set()
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind not in LAYERS:
            continue
        weights = node.input_value(1)
        narrow = kind == "MatMul" and min(weights.get_shape(), default=0) < LEAST_EXTENT
        if weights.get_node().get_type_name() in CONSTANTS and not narrow:
            found.add(node.get_friendly_name())
    return found
