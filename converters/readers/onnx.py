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
from edge_vss.converters.readers._protobuf import check_functions, load_model, looks_like_onnx
from edge_vss.errors import MissingExtra, ModelError, one_line
from edge_vss.video import Size

OPSETS = range(18, 21)
"""Opsets of artifacts: the newest that ONNX Runtime on JetPack 6 and OpenVINO both read, and two back."""


def _recognises(head: Head) -> bool:
    return looks_like_onnx(head.start)


DESCRIPTION = ReaderDescription("ONNX", _recognises, ends=(".onnx",), targets=("onnx", "openvino"))


class OnnxNetwork(ArtifactNetwork):
    """A graph from an ONNX file."""

    description = DESCRIPTION

    def __init__(self, model: Any, chosen: str | None = None) -> None:
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

    def only(self, output: str) -> OnnxNetwork:
        """The same graph with one output."""
        kept = [value for value in self.model.graph.output if value.name == output]
        del self.model.graph.output[:]
        self.model.graph.output.extend(kept)
        return OnnxNetwork(self.model, output)

    def splice(self, before: Any, after: Any) -> Any:
        """One graph of three: ``before`` → this one → ``after``. Prefixes keep their names apart."""
        import onnx
        from onnx import compose

        middle = onnx.ModelProto()
        middle.CopyFrom(self.model)
        for model in (before, middle, after):
            model.ir_version = 10
        before = compose.add_prefix(before, "before/", rename_inputs=False)
        middle = compose.add_prefix(middle, "model/")
        after = compose.add_prefix(after, "after/", rename_outputs=False)
        try:
            joined = compose.merge_models(
                before, middle, [(before.graph.output[0].name, middle.graph.input[0].name)]
            )
            return compose.merge_models(
                joined, after, [(middle.graph.output[0].name, after.graph.input[0].name)]
            )
        except Exception as error:
            raise ModelError(
                f"the ONNX model cannot be joined with its pre- and postprocessing ({one_line(error)})"
            ) from None


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The network of an ONNX file, at its opset where that is allowed.

    Raises ModelError for what is not one network that takes one picture, MissingExtra without onnx.
    """
    model = model_of(path)
    size, layout, dtype = make_static(path, model, conversion.size)
    network = OnnxNetwork(model)
    return ReadModel(network, DESCRIPTION.title, size, layout, dtype, network.only, exportable=False)


def model_of(path: Path) -> Any:
    """The ModelProto of a file: external data inside, opset 18 to 20, functions inlined. Raises
    ModelError."""
    try:
        import onnxruntime  # noqa: F401
        from onnx import inliner, version_converter
    except ImportError as error:
        raise MissingExtra(error.name or "onnx", "convert", "reading an ONNX model") from None
    model = load_model(path)
    if not model.graph.node:
        raise ModelError(f"{path} is an ONNX file without a graph")
    names = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # before IR 4 every weight had to be an input as well
    check_functions(path, model)
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        if _opset(model) not in OPSETS:
            wanted = min(max(_opset(model), OPSETS[0]), OPSETS[-1])
            model = version_converter.convert_version(model, wanted)
    except Exception as error:
        raise ModelError(
            f"{path} has opset {_opset(model)}, which cannot be brought to {OPSETS[0]}..{OPSETS[-1]} "
            f"({one_line(error)}): export it again with opset {OPSETS[-1]}"
        ) from None
    return model


def make_static(path: Path, model: Any, size: Size | None) -> tuple[Size, str, str]:
    """Fix the input's shape to ``size``, or find that in it. Gives the size, the layout and the dtype.

    The layout is ``NCHW`` or ``NHWC``, the dtype ``float32`` or ``uint8``. Raises ModelError for any other
    input.
    """
    import onnx

    if len(model.graph.input) != 1:
        names = ", ".join(value.name for value in model.graph.input)
        raise ModelError(
            f"{path} takes {len(model.graph.input)} inputs ({names}): it has to take one picture"
        )
    kind = model.graph.input[0].type.tensor_type
    dtype = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UINT8: "uint8"}.get(kind.elem_type, "")
    extents: list[int | None] = [
        dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim
    ]
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
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


def _opset(model: Any) -> int:
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
