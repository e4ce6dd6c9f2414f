"""ONNX models that keep a tensor in another file."""

from __future__ import annotations

from typing import Any


def outside() -> Any:
    """A tensor whose numbers are in a file outside of the bundle."""
    from onnx import TensorProto

    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret.bin")
    return tensor


def model(*nodes: Any, initializers: Any = (), **more: Any) -> bytes:
    """A model of these nodes, as a file has it."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info("labels", TensorProto.FLOAT, [4])]
    graph = helper.make_graph(list(nodes), "graph", [], values, list(initializers))
    made: bytes = helper.make_model(graph, **more).SerializeToString()
    return made
