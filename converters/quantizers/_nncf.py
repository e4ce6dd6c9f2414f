"""NNCF in a process of its own: ``python -m edge_vss.converters.quantizers._nncf MODEL.xml FOLDER OUT.xml``.

NNCF reports over the network that it was called, unless an environment variable says that this is a test run.
A library must not set one for the whole program, but may for a child.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.converters.quantizers._openvino_layers import layers_of
from edge_vss.errors import ModelError
from edge_vss.vendors import without_telemetry

SILENT = {"NNCF_CI": "1"}


def quantise(model: Path, calls: Sequence[Mapping[str, NDArray[Any]]], to: Path) -> None:
    """Write the OpenVINO file ``model`` in int8 to ``to``, fitted to the inputs of real calls.

    Raises ModelError with what NNCF says.
    """
    with tempfile.TemporaryDirectory(prefix="edge-vss-nncf-") as name:
        for index, call in enumerate(calls):
            np.savez(Path(name) / f"{index}.npz", allow_pickle=False, **call)
        command = [sys.executable, "-m", __name__, str(model), name, str(to)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **SILENT},
        )
    if done.returncode or not to.is_file():
        last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise ModelError(f"NNCF cannot quantise this graph ({last[:200]})")


def _main(model: str, folder: str, to: str) -> None:
    with without_telemetry():
        import nncf
        import openvino as ov

    network = ov.Core().read_model(model)
    files = sorted(Path(folder).iterdir(), key=lambda file: int(file.stem))
    layers = set(layers_of(network).values())
    ignored = [
        node.get_friendly_name()
        for node in network.get_ops()
        if node.get_friendly_name() not in layers
        and node.get_type_name() not in ("Parameter", "Result", "Constant")
    ]
    made = nncf.quantize(
        network,
        nncf.Dataset(files, lambda file: dict(np.load(file))),
        subset_size=len(files),
        # Weights of 7 bits in all layers, not in the first alone: see ONNX Runtime's quantiser.
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
    )
    ov.save_model(made, to, compress_to_fp16=False)


if __name__ == "__main__":
    _main(*sys.argv[1:])
