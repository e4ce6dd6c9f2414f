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
from edge_vss.converters.readers._onnx_graph import OPSETS, brought, opset_of, take_floats
from edge_vss.converters.readers._protobuf import graphs_in, looks_like_onnx
from edge_vss.errors import ModelError, one_line
from edge_vss.video import Size

OFF, MOST_OFF = 0.01, 0.01
"""Once a file has another opset, so many numbers may be off by more than OFF of the largest one: ties, and
sums in another order."""


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
        return opset_of(self.model)

    def run(self, picture: Tensor) -> dict[str, Tensor]:
        feed = {self.session.get_inputs()[0].name: picture.numpy()}
        names = [node.name for node in self.session.get_outputs()]
        results = [torch.from_numpy(_plain(array)) for array in self.session.run(names, feed)]
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
    model, given = brought(path)
    said = of_texts(path, {entry.key: entry.value for entry in model.metadata_props})
    size, layout, dtype = make_static(path, model, conversion.size, said.size)
    network = OnnxNetwork(model)
    if given is not None:
        _check_brought(path, network, given, size)
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


def _plain(array: Any) -> Any:
    """A copy that torch takes: ONNX Runtime's uint64 is another type of the same bytes."""
    copy = np.array(array)
    return copy.view(copy.dtype.str)


def _check_brought(path: Path, network: OnnxNetwork, given: Any, size: Size) -> None:
    """Raise ModelError where a network that got another opset gives other numbers than its file, ``given``.

    A file that ONNX Runtime does not run as it is cannot be asked.
    """
    try:
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
                f"{path} gives other numbers in {name} once it is brought from opset {opset_of(given)} to "
                f"{network.opset}: export it again with opset {OPSETS[-1]}"
            )


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
