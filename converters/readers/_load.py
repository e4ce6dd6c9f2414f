"""Model in: what a file is by its content, loading it, and checking that a graph can stand for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.bundle import TensorSpec
from edge_vss.converters.inputs import pictures
from edge_vss.converters.ops.normalize import Normalize
from edge_vss.converters.readers import _untrained as untrained
from edge_vss.converters.readers import _weights as weights
from edge_vss.converters.readers import onnx as onnx_model
from edge_vss.converters.readers import openvino as openvino_model
from edge_vss.converters.readers import tflite as tflite_model
from edge_vss.converters.readers._artifact import GivenNetwork, check_size
from edge_vss.converters.readers._file_kind import sniff
from edge_vss.converters.readers._outputs import Canonical, Select, choose, flatten, form
from edge_vss.converters.silence import quiet
from edge_vss.converters.values import Network, Preprocess
from edge_vss.errors import ModelError, OptionError
from edge_vss.files import sha256
from edge_vss.video import Size

_GIVEN = {"ONNX": onnx_model.load, "OpenVINO": openvino_model.load, "TFLite": tflite_model.load}
_GPU = "it was made on a GPU, and says so inside; move the model to the CPU and save it again"


def load(
    path: Path | None,
    *,
    classes: int,
    size: Size | None,
    ignore: int | None = None,
    preprocess: Preprocess | None = None,
    factory: str | None = None,
    output_name: str | None = None,
    trust_pickle: bool = False,
) -> Network:
    """Load a trained model of ``classes`` classes, ready to be split.

    ``size`` may be None where the file fixes it. ``factory`` is for state dicts: ``file.py:function``. A
    pickled module runs its code when opened, and is refused unless ``trust_pickle``. Without a path, the
    factory's network gets the weights of ``untrained``. Raises ModelError, or OptionError for an option.
    """
    kind = "untrained" if path is None else sniff(path)
    if path is None:
        if factory is None:
            raise OptionError("--untrained builds the network of a function: give --model file.py:function")
        path = Path(f"untrained {re.split('[:.]', factory)[-1]}")
    prepare = preprocess or Preprocess()
    before: torch.nn.Module = Normalize(prepare)
    model: torch.nn.Module
    if factory is not None and kind not in ("torch.save", "untrained"):
        raise OptionError(
            f"--model {factory} is for state dicts, and {path} is a whole model ({kind}): leave it out"
        )
    if kind in _GIVEN:
        model, size, layout, dtype = _GIVEN[kind](path, size)
        if dtype != "float32" and prepare != Preprocess(bgr=prepare.bgr):
            raise OptionError(
                f"{path} takes {dtype} pictures and scales them itself: leave --mean, --std and --scale out"
            )
        before = Normalize(prepare, layout, dtype)
    elif kind == "exported program":
        model, size = _exported_program(path, size)
    elif kind == "TorchScript":
        model = _torchscript(path)
    elif kind == "untrained":
        assert factory is not None
        model = weights.build(factory, classes).cpu().float()
        untrained.fill(model)
    else:
        model, kind = weights.load(path, factory, classes, trust_pickle)
        model = model.cpu().float()
    if size is None:
        raise OptionError(
            "--size is missing: a model of this kind takes pictures of any size, say which with --size HxW"
        )
    if not isinstance(model, GivenNetwork):
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        if kind != "exported program":  # its mode was fixed when it was exported
            model.eval()
    tests = pictures(size, 2)
    tests += [torch.zeros_like(tests[0]), torch.full_like(tests[0], 255)]
    outputs = [_run(path, model, before(test), size) for test in tests]
    _check_stateless(path, model, before, tests, outputs, size)
    name = choose(outputs[0], output_name, classes)
    model = model.only(name) if isinstance(model, GivenNetwork) else Select(model, name)
    chosen = [output[name] for output in outputs]
    after, described = _canonical(path, name, chosen, classes, ignore)
    result = after(chosen[0])
    kind_out = "labels" if result.dtype == torch.uint8 else "scores"
    return Network(
        before=before,
        model=model,
        after=after,
        output=TensorSpec(kind_out, tuple(result.shape), str(result.dtype).removeprefix("torch.")),
        size=size,
        source={"name": path.name, "sha256": "" if kind == "untrained" else sha256(path)},
        notes={"kind": kind, "output": name, "form": described},
    )


def _exported_program(path: Path, size: Size | None) -> tuple[torch.nn.Module, Size | None]:
    try:
        with quiet():
            program = torch.export.load(path)
            signature = program.run_decompositions({}).graph_signature
    except Exception as error:  # a damaged file, or a newer torch: JSON, zip and torch errors
        raise ModelError(
            f"{path} cannot be loaded as an exported program ({_line(error)}): "
            f"{_GPU if 'cuda' in str(error).lower() else 'export it again'}"
        ) from None
    if changed := [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]:
        raise ModelError(_mutates(path, changed))
    nodes = {node.name: node for node in program.graph.nodes}
    inputs = [nodes[name] for name in program.graph_signature.user_inputs if name in nodes]
    shapes = [node.meta["val"] for node in inputs if isinstance(node.meta.get("val"), Tensor)]
    if len(shapes) != 1 or shapes[0].dim() != 4 or shapes[0].dtype != torch.float32:
        have = ", ".join(
            f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}" for value in shapes
        )
        raise ModelError(f"{path} takes ({have}): it has to take one picture, float32 (1, 3, H, W)")
    extents = [extent if isinstance(extent, int) else None for extent in shapes[0].shape]
    if extents[0] not in (None, 1) or extents[1] not in (None, 3):
        raise ModelError(
            f"{path} was exported for {tuple(shapes[0].shape)}: export it with a picture (1, 3, H, W)"
        )
    if size is not None or None not in extents[2:]:
        size = check_size(path, (extents[2], extents[3]), size)
    return program.module(), size


def _torchscript(path: Path) -> torch.nn.Module:
    try:
        with quiet():
            module: torch.nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
            return module.float()
    except Exception as error:  # a damaged file, or an operator of an extension that is not loaded
        raise ModelError(f"{path} cannot be loaded as TorchScript ({_line(error)}): save it again") from None


def _run(path: Path, model: torch.nn.Module, picture: Tensor, size: Size) -> dict[str, Tensor]:
    try:
        with torch.no_grad(), quiet():
            outputs = flatten(model(picture))
    except Exception as error:  # whatever the network trips over
        raise ModelError(
            f"{path} does not run on a picture of {size[0]}x{size[1]} ({_line(error)}): "
            f"{_GPU if 'cuda' in str(error).lower() else 'give the --size that it was made for'}"
        ) from error
    for name, output in outputs.items():
        if output.is_floating_point() and output.isnan().any():
            raise ModelError(
                f"{path} gives NaN in its output {name}: check the weights, and --mean, --std and --scale"
            )
        if output.is_floating_point() and output.isinf().any():
            raise ModelError(
                f"{path} gives infinite numbers in its output {name}, and resizing turns them into NaN: "
                "mask with a large number, such as -1e4, instead"
            )
    return {name: output.clone() for name, output in outputs.items()}


def _check_stateless(
    path: Path,
    model: torch.nn.Module,
    before: torch.nn.Module,
    tests: list[Tensor],
    outputs: list[dict[str, Tensor]],
    size: Size,
) -> None:
    """Refuse a model that remembers: exporters drop the change of a buffer without a word."""
    old = {name: buffer.clone() for name, buffer in model.named_buffers()}
    again = _run(path, model, before(tests[0]), size)
    changed = [
        name
        for name, buffer in model.named_buffers()
        if not torch.equal(buffer, old.get(name, torch.empty(0)))
    ]
    if changed := changed or _mutated_when_exported(model, before(tests[0])):
        raise ModelError(_mutates(path, changed))
    if different := [name for name in again if not torch.equal(again[name], outputs[0][name])]:
        raise ModelError(
            f"{path} gives another {different[0]} for the same picture: it is random (saved in training "
            "mode?) or keeps state; call model.eval() before saving, or make the state an input and output"
        )


def _mutated_when_exported(model: torch.nn.Module, picture: Tensor) -> list[str]:
    # Sees a change that leaves the value as it was on these pictures; what it cannot trace was run
    if isinstance(model, GivenNetwork | torch.jit.ScriptModule | torch.fx.GraphModule):
        return []
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model, (picture,)).run_decompositions({})
    except Exception:
        return []
    return list(program.graph_signature.buffers_to_mutate.values())


def _mutates(path: Path, names: list[str]) -> str:
    more = ", ..." if len(names) > 3 else ""
    return (
        f"{path} changes its buffers as it runs ({', '.join(names[:3])}{more}), and a graph cannot: call "
        "model.eval() before saving if that is BatchNorm, or make the state an input and output"
    )


def _canonical(
    path: Path, name: str, outputs: list[Tensor], classes: int, ignore: int | None
) -> tuple[Canonical, str]:
    kind = form(outputs[0], classes)
    if kind == "labels":
        labels = {int(label) for output in outputs for label in torch.unique(output)}
        if wrong := sorted(labels - {*range(classes), ignore}):
            raise ModelError(f"{path} gives the label {wrong[0]} in {name}: --classes has only {classes}")
        return Canonical(kind), kind
    if kind == "one score":
        # A sigmoid keeps to 0..1 on every picture; logits of four such different ones do not.
        probability = all(float(output.min()) >= 0 and float(output.max()) <= 1 for output in outputs)
        return Canonical(kind, probability), f"one {'probability' if probability else 'logit'}"
    return Canonical(kind), kind


def _line(error: BaseException) -> str:
    text: Any = str(error).strip().splitlines() or [type(error).__name__]
    return str(text[0])[:300]
