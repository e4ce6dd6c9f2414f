"""Passes over an exported ONNX graph: each changes a ModelProto in place, and keeps every result."""

from __future__ import annotations

from typing import Any

import numpy as np

LAST = "_channels_last"
"""What ``upsample_channels_last`` puts behind the name of a tensor that it turns."""


def upsample_channels_last(model: Any) -> None:
    """Move linear upsampling that only an ArgMax over classes reads to channels-last.

    ONNX Runtime then resizes and compares whole class rows (720p, 19 classes, one thread: 35 → 15 ms). The
    sum that becomes ``score_check`` is taken before the upsampling: NaN survives interpolation either way.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    outputs = {value.name for value in graph.output}
    for index in reversed(range(len(graph.node))):
        resize = graph.node[index]
        if resize.op_type != "Resize" or _attribute(resize, "mode", b"nearest") != b"linear":
            continue
        resized = resize.output[0]
        readers = [node for node in graph.node if resized in node.input]
        best = [node for node in readers if _is_best_class(node)]
        sums = [node for node in readers if _gives_check(node, graph)]
        ratios = _ratios(resize, constants)
        if not best or len(best) + len(sums) != len(readers) or resized in outputs or ratios is None:
            continue
        name = resized + LAST
        last = numpy_helper.from_array(ratios[[0, 2, 3, 1]], f"{name}_ratios")
        graph.initializer.append(last)
        is_size = ratios.dtype == np.int64
        # Not a Transpose: ONNX Runtime would move that behind the Resize again.
        turn = helper.make_node(
            "Einsum", [resize.input[0]], [f"{name}_in"], f"{name}_in", equation="nchw->nhwc"
        )
        turned = helper.make_node(
            "Resize", [f"{name}_in", "", *(["", last.name] if is_size else [last.name])], [name], name
        )
        turned.attribute.extend(a for a in resize.attribute if a.name != "axes")
        for node in sums:
            node.input[0] = resize.input[0]
        for node in best:
            node.input[0] = name
            _set_axis(node, 3)
        del graph.node[index]
        for offset, node in enumerate((turn, turned)):
            graph.node.insert(index + offset, node)


def prelu_as_max(model: Any) -> None:
    """Write a PRelu whose slopes are 1 or less as the larger of x and slope · x, which it then is.

    Of finite x: 0 times infinity is NaN. ONNX Runtime's own PRelu takes one value at a time (a network like
    ESPNet, one thread: 80 → 65 ms). OpenVINO
    takes as long for both.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    slopes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        slope = slopes.get(node.input[1]) if node.op_type == "PRelu" else None
        # A NaN is not at most 1 either.
        if slope is None or slope.dtype.kind != "f" or not (slope <= 1).all():
            continue
        name = f"{node.output[0]}_sloped"
        sloped = helper.make_node("Mul", list(node.input), [name], name)
        largest = helper.make_node("Max", [node.input[0], name], list(node.output), node.name)
        del graph.node[index]
        for offset, made in enumerate((sloped, largest)):
            graph.node.insert(index + offset, made)


def argmax_channels_last(model: Any) -> None:
    """Turn what an ArgMax over classes reads, so that a pixel's scores lie together: OpenVINO looks for the
    largest along the second axis at half the speed (720x960, 12 classes, one thread: 30 ms, turned first 16).
    """
    from onnx import helper

    graph = model.graph
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if not _is_best_class(node):
            continue
        if _rank(graph, node.input[0]) != 4:
            continue
        name = f"{node.output[0]}_last"
        turn = helper.make_node("Transpose", [node.input[0]], [name], name, perm=[0, 2, 3, 1])
        node.input[0] = name
        _set_axis(node, 3)
        graph.node.insert(index, turn)


def _rank(graph: Any, name: str) -> int:
    known = {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}
    return len(known[name].type.tensor_type.shape.dim) if name in known else 0


def uncopy(model: Any, names: set[str]) -> None:
    """Where a tensor of ``names`` is a copy of another, let that bear its name and drop the copy."""
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    copies = [node for node in graph.node if node.op_type == "Identity" and node.output[0] in names]
    for copy in copies:
        old, new = copy.input[0], copy.output[0]
        if old in fixed or all(old not in node.output for node in graph.node):
            continue
        graph.node.remove(copy)
        for node in graph.node:
            for side in (node.input, node.output):
                side[:] = [new if name == old else name for name in side]


def prune(model: Any) -> None:
    """Drop nodes and weights that no output needs: ONNX Runtime would run them all the same."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if needed.isdisjoint(node.output):
            del graph.node[index]
        else:
            needed |= _reads(node)
    for kept in (graph.initializer, graph.value_info):
        entries = [entry for entry in kept if entry.name in needed]
        del kept[:]
        kept.extend(entries)


def tidy(model: Any) -> None:
    """Drop what exporters leave behind: stack traces (with the user's paths), source lines, module names."""
    model.doc_string = model.graph.doc_string = ""
    entries: list[Any] = [*model.graph.node, *model.graph.initializer, *model.graph.value_info, model.graph]
    entries += [*model.graph.input, *model.graph.output, *model.functions]
    for function in model.functions:
        entries += [*function.node]
    for entry in entries:
        entry.doc_string = ""
        del entry.metadata_props[:]


def _is_best_class(node: Any) -> bool:
    # One that keeps its axis would leave it in another place.
    return (
        node.op_type == "ArgMax" and _attribute(node, "axis", 0) == 1 and not _attribute(node, "keepdims", 1)
    )


def _gives_check(node: Any, graph: Any) -> bool:
    # A sum over everything that nothing but score_check is made of
    if node.op_type != "ReduceSum" or len([name for name in node.input if name]) != 1:
        return False
    return _only_makes_check(node.output[0], graph)


def _only_makes_check(name: str, graph: Any) -> bool:
    if name == "score_check":
        return True
    readers = [node for node in graph.node if name in node.input]
    return bool(readers) and all(_only_makes_check(made, graph) for node in readers for made in node.output)


def _ratios(resize: Any, constants: dict[str, Any]) -> Any:
    # Output sizes or scales of a Resize that leaves batch and channels alone, or None.
    if _attribute(resize, "axes", None) is not None or _attribute(resize, "antialias", 0):
        return None
    if _attribute(resize, "coordinate_transformation_mode", b"half_pixel") == b"tf_crop_and_resize":
        return None
    inputs = list(resize.input) + [""] * 4
    values = constants.get(inputs[3] or inputs[2])
    if values is None or values.shape != (4,):
        return None
    return values


def _reads(node: Any) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node if attribute.HasField("g") else ():  # a body sees the names around it
            names |= _reads(inner)
        if attribute.HasField("g"):
            names |= {value.name for value in attribute.g.output}
    return names


def _attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def _set_axis(node: Any, axis: int) -> None:
    from onnx import helper

    kept = [attribute for attribute in node.attribute if attribute.name != "axis"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("axis", axis)])
