"""An ONNX file as the model: read, made static, and run so that torch modules can stand around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._artifact import ArtifactNetwork, picture_input
from edge_vss.converters.readers._kinds import refuse_inputs
from edge_vss.converters.readers._metadata import of_texts, order_alone
from edge_vss.converters.readers._protobuf import (
    check_functions,
    graphs_in,
    load_model,
    looks_like_onnx,
    nodes_in,
)
from edge_vss.errors import MissingExtra, ModelError, one_line
from edge_vss.video import Size

FIRST_WITH_MODES = 11
"""The opset from which Resize says at which places it looks."""
OFF, MOST_OFF = 0.01, 0.01
"""Once a file has another opset, so many numbers may be off by more than OFF of the largest one: ties, and
sums in another order."""
OPSETS = range(18, 21)
"""Opsets of artifacts: the newest that ONNX Runtime on JetPack 6 and OpenVINO both read, and two back."""


def _recognises(head: Head) -> bool:
    return looks_like_onnx(head.start)


DESCRIPTION = ReaderDescription("ONNX", _recognises, ends=(".onnx",), targets=("onnx", "openvino"))


class OnnxNetwork(ArtifactNetwork):
    """A graph from an ONNX file."""

    description = DESCRIPTION

    def __init__(self, model: Any, chosen: tuple[str, ...] = ()) -> None:
        super().__init__()
        import onnxruntime as ort

        self.model, self.chosen = model, chosen
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            data = model.SerializeToString()
            self.session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # unknown operators, broken or too large graphs
            raise ModelError(f"ONNX Runtime cannot run this model ({one_line(error)})") from None

    @property
    def opset(self) -> int:
        return _opset(self.model)

    def run(self, picture: Tensor) -> dict[str, Tensor]:
        feed = {self.session.get_inputs()[0].name: picture.numpy()}
        names = [node.name for node in self.session.get_outputs()]
        results = [torch.from_numpy(np.array(array)) for array in self.session.run(names, feed)]
        return dict(zip(names, results, strict=True))

    def only(self, *outputs: str) -> OnnxNetwork:
        """The same graph with these outputs, in this order."""
        named = {value.name: value for value in self.model.graph.output}
        kept = [named[name] for name in outputs]
        del self.model.graph.output[:]
        self.model.graph.output.extend(kept)
        return OnnxNetwork(self.model, outputs)

    def splice(self, before: Any, after: Any) -> Any:
        """One graph of three: ``before`` → this one → ``after``. Prefixes keep their names apart."""
        import onnx
        from onnx import compose

        middle = onnx.ModelProto()
        middle.CopyFrom(self.model)
        self._shape_outputs(middle)
        for model in (before, middle, after):
            model.ir_version = 10
        before = compose.add_prefix(before, "before/", rename_inputs=False)
        _prefix(middle.graph, "model/")
        after = compose.add_prefix(after, "after/", rename_outputs=False)
        try:
            joined = compose.merge_models(
                before, middle, [(before.graph.output[0].name, middle.graph.input[0].name)]
            )
            between = zip(middle.graph.output, after.graph.input, strict=True)
            names = [(one.name, other.name) for one, other in between]
            return _each_import_once(compose.merge_models(joined, after, names))
        except Exception as error:
            raise ModelError(
                f"the ONNX model cannot be joined with its pre- and postprocessing ({one_line(error)})"
            ) from None

    def _shape_outputs(self, model: Any) -> None:
        """Give every output a shape: onnx infers none behind an operator that only an engine knows."""
        without = [v for v in model.graph.output if not v.type.tensor_type.HasField("shape")]
        if without:
            picture = self.session.get_inputs()[0]
            dtype = torch.uint8 if picture.type == "tensor(uint8)" else torch.float32
            found = self.run(torch.zeros(tuple(picture.shape), dtype=dtype))
            for value in without:
                for extent in found[value.name].shape:
                    value.type.tensor_type.shape.dim.add().dim_value = extent


def _each_import_once(model: Any) -> Any:
    """The model with one entry for each set of operators: merging leaves one of each part, and a quantiser
    refuses that."""
    versions = {
        ("" if entry.domain == "ai.onnx" else entry.domain): entry.version for entry in model.opset_import
    }
    del model.opset_import[:]
    for domain, version in versions.items():
        model.opset_import.add(domain=domain, version=version)
    return model


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The network of an ONNX file, at its opset where that is allowed.

    Raises ModelError for what is not one network that takes one picture, MissingExtra without onnx.
    """
    model, brought = model_of(path)
    said = of_texts(path, {entry.key: entry.value for entry in model.metadata_props})
    size, layout, dtype = make_static(path, model, conversion.size, said.size)
    network = OnnxNetwork(model)
    if brought:
        _check_brought(path, network, size)
    return ReadModel(
        network,
        DESCRIPTION.title,
        size,
        layout,
        dtype,
        network.only,
        exportable=False,
        preprocess=said.preprocess if dtype == "float32" else order_alone(said.preprocess),
        classes=said.classes,
    )


def model_of(path: Path) -> tuple[Any, bool]:
    """The ModelProto of a file: external data inside, opset 18 to 20, functions inlined; and whether its own
    opset was another. Raises ModelError."""
    try:
        import onnxruntime  # noqa: F401
        from onnx import inliner, version_converter
    except ImportError as error:
        raise MissingExtra(error.name or "onnx", "convert", "reading an ONNX model") from None
    model = _prepared(path)
    opset = _opset(model)
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
    return model, opset not in OPSETS


def _prepared(path: Path) -> Any:
    """The ModelProto of a file at its own opset: external data inside, nodes in order, one input."""
    model = load_model(path)
    if not model.graph.node:
        raise ModelError(f"{path} is an ONNX file without a graph")
    names = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # before IR 4 every weight had to be an input as well
    check_functions(path, model)
    in_order(path, model.graph)
    return model


def _check_brought(path: Path, network: OnnxNetwork, size: Size) -> None:
    """Raise ModelError where a network that got another opset gives other numbers than its file.

    A file that ONNX Runtime does not run as it is cannot be asked.
    """
    try:
        given = _prepared(path)
        make_static(path, given, size)
        before = OnnxNetwork(given)
        entry = before.session.get_inputs()[0]
        picture = torch.rand(tuple(entry.shape), generator=torch.Generator().manual_seed(0))
        picture = (picture * 255).to(torch.uint8) if entry.type == "tensor(uint8)" else picture
        expected = before.run(picture)
    except ModelError:
        return
    found = network.run(picture)
    for name, value in expected.items():
        one, other = value.double(), found[name].double()
        far = 0.0 if not value.is_floating_point() else OFF * float(one.abs().max())
        if one.shape != other.shape or float(((one - other).abs() > far).double().mean()) > MOST_OFF:
            raise ModelError(
                f"{path} gives other numbers in {name} once it is brought from opset {_opset(given)} to "
                f"{network.opset}: export it again with opset {OPSETS[-1]}"
            )


def _resize_as_before(model: Any) -> None:
    """Give each Resize the modes that there was no word for before opset 11.

    onnx's converter leaves them out, and the newer operator then looks at other places.
    """
    import onnx

    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for node in nodes_in(model.graph):
        if node.op_type == "Resize" and not {attribute.name for attribute in node.attribute} & modes.keys():
            node.attribute.extend(onnx.helper.make_attribute(name, mode) for name, mode in modes.items())


def make_static(
    path: Path, model: Any, size: Size | None, usual: Size | None = None
) -> tuple[Size, str, str]:
    """Fix the input's shape to ``size``, or find that in it; where it is free, it is ``usual``. Gives the
    size, the layout and the dtype.

    The layout is ``NCHW`` or ``NHWC``, the dtype ``float32`` or ``uint8``. Raises ModelError for any other
    input.
    """
    import onnx

    refuse_inputs(path, [value.name for value in model.graph.input])
    kind = model.graph.input[0].type.tensor_type
    if kind.elem_type == onnx.TensorProto.FLOAT16:
        take_floats(model)
    dtype = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UINT8: "uint8"}.get(kind.elem_type, "")
    extents: list[int | None] = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    if size is None and not all(extents[1:]):
        size = usual
    found, layout = picture_input(path, dtype or name, extents, size, ("float32", "uint8"))
    shape = {"N": 1, "C": 3, "H": found[0], "W": found[1]}
    for dim, axis in zip(kind.shape.dim, layout, strict=True):
        dim.dim_value = shape[axis]
    # Shapes written for a free size would now be wrong, or keep engines from planning: they are inferred
    # anew.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        model.CopyFrom(onnx.shape_inference.infer_shapes(model, data_prop=True))
    except Exception as error:
        raise ModelError(f"{path} does not fit {found[0]}x{found[1]} ({one_line(error)})") from None
    return found, layout, dtype


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


def _prefix(graph: Any, prefix: str) -> None:
    """Put ``prefix`` before every name; onnx's own forgets what graphs inside nodes read from around them."""
    for node in graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = name and prefix + name
        node.name = node.name and prefix + node.name
        for inner in graphs_in(node):
            _prefix(inner, prefix)
    named = [*graph.input, *graph.output, *graph.initializer, *graph.value_info]
    for value in (*named, *(sparse.values for sparse in graph.sparse_initializer)):
        value.name = prefix + value.name


def _opset(model: Any) -> int:
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
