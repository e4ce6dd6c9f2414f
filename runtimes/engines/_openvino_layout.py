"""ONNX graphs whose last maps have their channels last, for OpenVINO.

The converter enlarges scores with the channels last: ONNX Runtime is quicker then. OpenVINO takes ten times
as long for that (480×864, 124 classes, one thread: 757 ms, and 85 turned back). The values are the same.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from edge_vss.vendors import without_telemetry

TURNED = "nchw->nhwc"
"""The equation of the Einsum that turns maps, as the converter writes it."""
_HEIGHT_AND_WIDTH = [1, 2]
"""Axes of a map whose channels are last; one more where they are first."""


def to_compile(core: Any, path: Path) -> Any:
    """What OpenVINO is to compile: the file, or its graph with the channels first again."""
    if path.suffix != ".onnx" or not _is_turned(path):
        return str(path)
    model = core.read_model(str(path))
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Interpolate":
            _enlarge_first(node)
    return model


def _is_turned(path: Path) -> bool:
    # Reading a graph takes longer than looking for this.
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(TURNED.encode()) >= 0


def _enlarge_first(node: Any) -> None:
    """Enlarge a map before it is turned, if it is turned right before."""
    with without_telemetry():
        import openvino.opset13 as ops

    turn, extents = node.input_value(0).get_node(), node.input_value(1).get_node()
    if turn.get_type_name() != "Einsum" or turn.get_attributes().get("equation") != TURNED:
        return
    if node.get_input_size() != 2 or extents.get_type_name() != "Constant":
        return
    # Those about padding are for each axis, and 0.
    names = ("coordinate_transformation_mode", "nearest_mode", "antialias", "cube_coeff")
    attributes = node.get_attributes()
    larger = ops.interpolate(
        turn.input_value(0),
        ops.constant(extents.data[_HEIGHT_AND_WIDTH]),
        attributes["mode"],
        attributes["shape_calculation_mode"],
        axes=ops.constant([axis + 1 for axis in _HEIGHT_AND_WIDTH]),
        **{name: attributes[name] for name in names},
    )
    node.output(0).replace(ops.transpose(larger, ops.constant([0, 2, 3, 1])).output(0))
