"""An ONNX file as a graph that a bundle can hold: in order, at an opset that engines read, of float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_vss.converters.readers._protobuf import check_functions, graphs_in, load_model, nodes_in
from edge_vss.errors import MissingExtra, ModelError, one_line

FIRST_WITH_MODES = 11
"""The opset from which Resize says at which places it looks."""
OPSETS = range(18, 21)
"""Opsets of artifacts: the newest that ONNX Runtime on JetPack 6 and OpenVINO both read, and two back."""


def brought(path: Path) -> tuple[Any, Any | None]:
    """The ModelProto of a file: external data inside, opset 18 to 20, functions inlined; and the one that it
    was made of, where that has another opset. Raises ModelError."""
    try:
        import onnxruntime  # noqa: F401
        from onnx import inliner, version_converter
    except ImportError as error:
        raise MissingExtra(error.name or "onnx", "convert", "reading an ONNX model") from None
    model = given = _as_written(path)
    opset = opset_of(given)
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        if opset not in OPSETS:
            wanted = min(max(opset, OPSETS[0]), OPSETS[-1])
            model = version_converter.convert_version(model, wanted)
    except Exception as error:
        raise ModelError(
            f"{path} has opset {opset}, which cannot be brought to {OPSETS[0]}..{OPSETS[-1]} "
            f"({one_line(error)}): export it again with opset {OPSETS[-1]}"
        ) from None
    if opset < FIRST_WITH_MODES:
        _resize_as_before(model)
    return model, None if opset in OPSETS else given


def _as_written(path: Path) -> Any:
    """The ModelProto of a file at its own opset: external data inside, nodes in order, one input."""
    model = load_model(path)
    if not model.graph.node:
        raise ModelError(f"{path} is an ONNX file without a graph")
    names = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    made = {name for node in model.graph.node for name in node.output}
    if copied := [value.name for value in model.graph.output if value.name not in made]:
        raise ModelError(
            f"{path} gives {copied[0]}, which is its input or a weight, and no result: export it without"
        )
    model.ir_version = max(model.ir_version, 4)  # before IR 4 every weight had to be an input as well
    check_functions(path, model)
    in_order(path, model.graph)
    return model


def _resize_as_before(model: Any) -> None:
    """Give each Resize the modes that there was no word for before opset 11.

    onnx's converter leaves them out, and the newer operator then looks at other places.
    """
    import onnx

    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for node in nodes_in(model.graph):
        if node.op_type == "Resize" and not {attribute.name for attribute in node.attribute} & modes.keys():
            node.attribute.extend(onnx.helper.make_attribute(name, mode) for name, mode in modes.items())


def in_order(path: Path, graph: Any) -> None:
    """Put every node behind those whose outputs it reads: some tools write files that are not so.

    A graph inside a node may read what is around that node. Raises ModelError for a circle.
    """
    nodes = list(graph.node)
    maker = {name: at for at, node in enumerate(nodes) for name in node.output}
    before = [{maker[name] for name in reads(node) if name in maker} for node in nodes]
    order: list[int] = []
    done = set[int]()
    # Depth first, in the file's order, so that a file in order stays as it is.
    for first in range(len(nodes)):
        path_down = [first]
        while path_down:
            at = path_down[-1]
            missing = next((other for other in sorted(before[at]) if other not in done), None)
            if missing is None:
                path_down.pop()
                if at not in done:
                    done.add(at)
                    order.append(at)
            elif missing in path_down:
                name = nodes[missing].name or nodes[missing].op_type
                raise ModelError(f"{path} has nodes that wait for each other ({name}): export it again")
            else:
                path_down.append(missing)
    if order != sorted(order):
        copies = [type(nodes[at]).FromString(nodes[at].SerializeToString()) for at in order]
        del graph.node[:]
        graph.node.extend(copies)


def take_floats(model: Any) -> None:
    """Let a graph that takes half precision take float32, which is what a runtime gives."""
    import onnx

    value = model.graph.input[0]
    inner = f"{value.name}/half"
    for node in model.graph.node:
        _read_instead(node, value.name, inner)
    model.graph.node.insert(
        0, onnx.helper.make_node("Cast", [value.name], [inner], to=onnx.TensorProto.FLOAT16)
    )
    value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _read_instead(node: Any, old: str, new: str) -> None:
    for at, name in enumerate(node.input):
        if name == old:
            node.input[at] = new
    for graph in graphs_in(node):
        for inside in graph.node:
            _read_instead(inside, old, new)


def reads(node: Any) -> set[str]:
    """Every name that a node reads, the graphs inside of it included."""
    names = set(node.input)
    for graph in graphs_in(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        own |= {name for inside in graph.node for name in inside.output}
        names |= {name for inside in graph.node for name in reads(inside)} - own
        names |= {value.name for value in graph.output} - own
    return names


def opset_of(model: Any) -> int:
    """The version of ONNX's own operators; 0 where it is not said."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
