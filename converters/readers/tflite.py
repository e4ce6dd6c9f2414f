"""A TFLite file as the network: read, run, and described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.converters.ops.normalize import LEAST, MOST
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._artifact import ArtifactNetwork, picture_input, scales_itself
from edge_vss.converters.readers._kinds import refuse_inputs
from edge_vss.converters.readers._metadata import Said, order_alone
from edge_vss.converters.readers._tflite_metadata import said_by
from edge_vss.converters.targets import _flatbuffer as flatbuffer
from edge_vss.errors import MissingExtra, ModelError, one_line
from edge_vss.files import utf8_name
from edge_vss.text import told_apart

QUANTISED = ("uint8", "int8")
"""Dtypes of a quantised picture."""
USUAL_RANGES = {
    (0.0, 1.0): Preprocess(),
    (-1.0, 1.0): Preprocess((0.5,) * 3, (0.5,) * 3),
    (0.0, 255.0): Preprocess(scale=1.0),
    (-128.0, 127.0): Preprocess((128.0,) * 3, scale=1.0),
}
"""Numbers that pictures consist of, and how pixels become those."""
NEAR = 0.06
"""How far a range may be from a usual one, as a share of its length: calibration saw some pictures only."""
MOST_BYTES = 1 << 31


def _recognises(head: Head) -> bool:
    return head.start[4:8] == flatbuffer.IDENTIFIER


DESCRIPTION = ReaderDescription(
    "TFLite", _recognises, ends=(".tflite",), extra="convert-tflite", targets=("tflite",)
)


class TfliteNetwork(ArtifactNetwork):
    """The network of a TFLite file. Quantised scores are given as the real numbers that they stand for."""

    description = DESCRIPTION

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise MissingExtra("ai-edge-litert", "tflite", "reading a TFLite model") from None
        self.path = path
        try:
            # This checks every offset in the file. What reads it in Python does not.
            self.interpreter = Interpreter(model_path=utf8_name(path))
        except Exception as error:  # ValueError or RuntimeError, with what the runtime says
            raise ModelError(
                f"{path} is a damaged TFLite file ({one_line(error)}): copy or download it again"
            ) from None
        if custom := [name for name in flatbuffer.custom_operators(path) if "edgetpu" in name]:
            raise ModelError(
                f"{path} is compiled for an Edge TPU ({custom[0]}), which no processor can run: "
                "give the model from before that step"
            )
        try:
            self.interpreter.allocate_tensors()
        except Exception as error:
            raise ModelError(
                f"TFLite cannot run {path} ({one_line(error)}): give a float or a quantised TFLite file"
            ) from None
        self.input = self.interpreter.get_input_details()[0]
        details = self.interpreter.get_output_details()
        # Two tensors may have one name, and one tensor may be given twice.
        self.outputs = dict(zip(told_apart(detail["name"] for detail in details), details, strict=True))

    def run(self, picture: Tensor) -> dict[str, Tensor]:
        self.interpreter.set_tensor(self.input["index"], picture.numpy())
        self.interpreter.invoke()
        return {name: torch.from_numpy(self._real(detail)) for name, detail in self.outputs.items()}

    def only(self, *outputs: str) -> TfliteNetwork:
        self.chosen = outputs
        return self

    def _real(self, detail: Any) -> Any:
        values = self.interpreter.get_tensor(detail["index"])
        scale, zero = detail["quantization"]
        if scale == 0 or values.dtype not in (np.uint8, np.int8):
            return values
        return ((values.astype(np.float32) - zero) * np.float32(scale)).astype(np.float32)


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The network of a TFLite file.

    Raises ModelError for what is not one network that takes one picture, MissingExtra without ai-edge-litert.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{path} is larger than a TFLite file can be (2 GiB): do not use this file")
    network = TfliteNetwork(path)
    inputs = network.interpreter.get_input_details()
    refuse_inputs(path, [detail["name"] for detail in inputs])
    said = said_by(path)
    extents = [int(extent) if extent > 0 else None for extent in inputs[0]["shape_signature"]]
    dtype = np.dtype(inputs[0]["dtype"]).name
    size, layout = picture_input(path, dtype, extents, conversion.size, ("float32", *QUANTISED))
    if None in extents[1:]:
        raise ModelError(f"{path} takes pictures of any size: export it for {size[0]}x{size[1]}")
    quantised = _quantised(inputs[0])
    prepare = said.preprocess if quantised is None else _prepared(path, dtype, quantised, said, conversion)
    return ReadModel(
        network,
        DESCRIPTION.title,
        size,
        layout,
        dtype,
        network.only,
        exportable=False,
        preprocess=order_alone(prepare) if quantised is None and dtype in QUANTISED else prepare,
        classes=said.classes,
        quantised=quantised,
    )


def _quantised(detail: Any) -> tuple[float, int] | None:
    scale, zero = detail["quantization"]
    return (float(scale), int(zero)) if scale > 0 else None


def _prepared(
    path: Path, dtype: str, quantised: tuple[float, int], said: Said, conversion: Conversion
) -> Preprocess | None:
    """How pixels become what a quantised picture stands for, as far as the file tells.

    The range of that tells, where it is one that pictures usually have. Else means and deviations are in it.
    Raises OptionError for options that say another range, ModelError where nobody says anything.
    """
    scale, zero = quantised
    low, high = ((limit[dtype] - zero) * scale for limit in (LEAST, MOST))
    given = (conversion.mean, conversion.std, conversion.scale) != (None, None, None)
    for (least, most), prepare in USUAL_RANGES.items():
        if max(abs(low - least), abs(high - most)) <= NEAR * (most - least):
            if given:
                raise scales_itself(path, dtype)
            return prepare
    if said.preprocess is None and not given:
        raise ModelError(
            f"{path} takes pictures as numbers from {low:.3g} to {high:.3g}, which are no pixels as they "
            "are: say what becomes of pixels with --mean, --std and --scale"
        )
    return said.preprocess
