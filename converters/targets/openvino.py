"""Target ``openvino``: ``ROLE.xml`` and its weights ``ROLE.bin`` per part, made by way of ONNX.

OpenVINO reads every graph that torch exports as ONNX, torch's own it does not (scans).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_vss.converters.cost import gmac
from edge_vss.converters.split import Artifact, Part, quiet
from edge_vss.converters.targets.onnx import graph, save
from edge_vss.errors import MissingExtra, ModelError


def export(parts: Sequence[Part], folder: Path, metadata: Mapping[str, Mapping[str, str]]) -> list[Artifact]:
    """Write every part into ``folder``, with ``metadata`` of its role as its ``rt_info``.

    Raises MissingExtra without OpenVINO, ModelError for a module or an operator that it cannot express.
    """
    try:
        import openvino  # noqa: F401
    except ImportError:
        raise MissingExtra("openvino", "openvino", "writing OpenVINO graphs") from None
    return [_write(part, folder, metadata.get(part.role, {})) for part in parts]


def _write(part: Part, folder: Path, metadata: Mapping[str, str]) -> Artifact:
    import openvino as ov

    # Not the passes that ONNX Runtime is given: OpenVINO resizes channels-last maps at a tenth of the speed.
    exported = graph(part)
    file = folder / f"{part.role}.xml"
    with tempfile.TemporaryDirectory() as scratch:
        onnx_file = Path(scratch) / f"{part.role}.onnx"
        save(exported, part, onnx_file)
        try:
            with quiet():
                model = ov.convert_model(str(onnx_file))
        except Exception as error:  # OpenVINO has one class for all of its errors, and it is not exported
            raise ModelError(
                f"{part.role}: OpenVINO cannot express this graph ({' '.join(str(error).split())[-300:]}): "
                "change the operator named, or convert with --target onnx"
            ) from None
        for key, value in metadata.items():
            model.set_rt_info(value, [key])
        ov.save_model(model, str(file), compress_to_fp16=False)
        cost = gmac(onnx_file)
    return Artifact(part.role, file.name, cost, f"{part.role}.bin")
