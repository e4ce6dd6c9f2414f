"""An OpenVINO model (``.xml`` and ``.bin``) as the network: read, made static, run, and spliced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._artifact import ArtifactNetwork, picture_input
from edge_vss.converters.readers._ir import check_ir
from edge_vss.converters.readers._kinds import refuse_inputs
from edge_vss.converters.readers._metadata import of_model_info, order_alone
from edge_vss.errors import MissingExtra, ModelError, one_line
from edge_vss.vendors import without_telemetry

MODEL_INFO = (
    *("task", "model_type", "labels", "embedded_processing"),
    *("mean_values", "scale_values", "reverse_input_channels"),
)
"""Keys that are read beside a graph."""
_DTYPES = {"f32": "float32", "u8": "uint8"}


def _recognises(head: Head) -> bool:
    return head.start.lstrip().startswith((b"<?xml", b"<net")) and b"<net" in head.start


DESCRIPTION = ReaderDescription(
    "OpenVINO", _recognises, ends=(".xml",), extra="convert-openvino", targets=("openvino",)
)


class OpenVinoNetwork(ArtifactNetwork):
    """An ``openvino.Model`` from a file."""

    description = DESCRIPTION

    def __init__(self, model: Any, chosen: tuple[str, ...] = ()) -> None:
        super().__init__()
        with without_telemetry():
            import openvino as ov

        self.model, self.chosen = model, chosen
        try:
            self.compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        except Exception as error:  # OpenVINO has one class for all of its errors
            raise ModelError(f"OpenVINO cannot run this model ({one_line(error)})") from None

    def run(self, picture: Tensor) -> dict[str, Tensor]:
        results = self.compiled(picture.numpy())
        return {
            _name(port, index): torch.from_numpy(np.array(results[port]))
            for index, port in enumerate(self.compiled.outputs)
        }

    def only(self, *outputs: str) -> OpenVinoNetwork:
        with without_telemetry():
            import openvino as ov

        names = [_name(port, index) for index, port in enumerate(self.model.outputs)]
        results = self.model.get_results()
        kept = [results[names.index(output)] for output in outputs]
        return OpenVinoNetwork(ov.Model(kept, self.model.get_parameters(), self.model.friendly_name), outputs)

    def splice(self, before: Any, after: Any) -> Any:
        """One model of three: ``before`` → this one → ``after``, with their tensors' names."""
        with without_telemetry():
            import openvino as ov

        middle = self.model.clone()
        for result in middle.get_results():
            result.get_output_tensor(0).set_names(set())
        for first, second in ((before, middle), (middle, after)):
            for result, parameter in zip(first.get_results(), second.get_parameters(), strict=True):
                for target in parameter.output(0).get_target_inputs():
                    target.replace_source_output(result.input_value(0))
        return ov.Model(after.get_results(), before.get_parameters(), "key")


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The network of an ``.xml`` with its ``.bin`` beside it.

    Raises ModelError for what is not one network that takes one picture, MissingExtra without OpenVINO.
    """
    try:
        with without_telemetry():
            import openvino as ov
    except ImportError:
        raise MissingExtra("openvino", "openvino", "reading an OpenVINO model") from None
    weights = check_ir(path)
    try:
        # By content: OpenVINO would otherwise guess the format, and the weights' file, from the name.
        model = ov.Core().read_model(path.read_bytes(), ov.Tensor(weights))
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read as an OpenVINO model ({one_line(error)}): "
            "copy it again, and its .bin beside it"
        ) from None
    refuse_inputs(path, [_name(port, index) for index, port in enumerate(model.inputs)])
    said = of_model_info(path, _model_info(model))
    port = model.inputs[0]
    found = port.element_type.to_string()
    shape = port.partial_shape
    extents = [d.get_length() if d.is_static else None for d in shape] if shape.rank.is_static else []
    dtype = _DTYPES.get(found, found)
    size, layout = picture_input(path, dtype, extents, conversion.size, ("float32", "uint8"))
    where = {"N": 1, "C": 3, "H": size[0], "W": size[1]}
    try:
        model.reshape({port: [where[axis] for axis in layout]})
    except Exception as error:
        raise ModelError(f"{path} does not fit {size[0]}x{size[1]} ({one_line(error)})") from None
    if sinks := model.get_sinks():
        raise ModelError(
            f"{path} keeps state inside ({len(sinks)} Assign): convert the model it was made from"
        )
    network = OpenVinoNetwork(model)
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


def _model_info(model: Any) -> dict[str, str]:
    """What Model API and others have written beside the graph, as texts."""
    return {
        key: str(model.get_rt_info(["model_info", key]).value)
        for key in MODEL_INFO
        if model.has_rt_info(["model_info", key])
    }


def _name(port: Any, index: int) -> str:
    return min(port.names, default=str(index))
