"""What is checked of every model, however it came in: it runs, keeps no state, and gives a segmentation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from edge_vss.converters.readers import ReadModel
from edge_vss.converters.readers._outputs import Canonical, flatten, form
from edge_vss.converters.silence import quiet
from edge_vss.errors import ModelError, one_line
from edge_vss.video import Size

MADE_ON_A_GPU = "it was made on a GPU, and says so inside; move the model to the CPU and save it again"


def run(path: Path, model: torch.nn.Module, picture: Tensor, size: Size) -> dict[str, Tensor]:
    try:
        with torch.no_grad(), quiet():
            outputs = flatten(model(picture))
    except Exception as error:  # whatever the network trips over
        raise ModelError(
            f"{path} does not run on a picture of {size[0]}x{size[1]} ({one_line(error)}): "
            f"{MADE_ON_A_GPU if 'cuda' in str(error).lower() else 'give the --size that it was made for'}"
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


def check_stateless(
    path: Path,
    read: ReadModel,
    before: torch.nn.Module,
    tests: list[Tensor],
    outputs: list[dict[str, Tensor]],
    size: Size,
) -> None:
    """Raise ModelError for a model that remembers: exporters drop the change of a buffer without a word."""
    model = read.module
    old = {name: buffer.clone() for name, buffer in model.named_buffers()}
    again = run(path, model, before(tests[0]), size)
    changed = [
        name
        for name, buffer in model.named_buffers()
        if not torch.equal(buffer, old.get(name, torch.empty(0)))
    ]
    if changed := changed or (_mutated_when_exported(model, before(tests[0])) if read.exportable else []):
        raise ModelError(changes_buffers(path, changed))
    if different := [name for name in again if not torch.equal(again[name], outputs[0][name])]:
        raise ModelError(
            f"{path} gives another {different[0]} for the same picture: it is random (saved in training "
            "mode?) or keeps state; call model.eval() before saving, or make the state an input and output"
        )


def _mutated_when_exported(model: torch.nn.Module, picture: Tensor) -> list[str]:
    # Finds a change that leaves the values as they are on these pictures.
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model, (picture,)).run_decompositions({})
    except Exception:
        return []
    return list(program.graph_signature.buffers_to_mutate.values())


def changes_buffers(path: Path, names: list[str]) -> str:
    more = ", ..." if len(names) > 3 else ""
    return (
        f"{path} changes its buffers as it runs ({', '.join(names[:3])}{more}), and a graph cannot: call "
        "model.eval() before saving if that is BatchNorm, or make the state an input and output"
    )


def canonical(
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
