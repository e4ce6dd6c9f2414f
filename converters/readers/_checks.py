"""What is checked of every model, however it came in: it runs, keeps no state, and gives a segmentation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from edge_vss.converters.readers import ReadModel
from edge_vss.converters.readers._outputs import (
    Canonical,
    Form,
    Wanted,
    describe,
    flatten,
    form_of,
    is_turned,
)
from edge_vss.converters.silence import quiet
from edge_vss.errors import ModelError, one_line
from edge_vss.video import Size

MOST_LOGIT = 30.0
"""Beyond this a probability has no more digits to gain; logits that reach it are below 0 elsewhere."""
MASK = 255.0
"""What stands for the foreground in a mask that is made to be looked at."""
MADE_ON_A_GPU = "it was made on a GPU, and says so inside; move the model to the CPU and save it again"


def run(path: Path, model: torch.nn.Module, picture: Tensor, size: Size) -> dict[str, Tensor]:
    try:
        with torch.no_grad(), quiet():
            outputs = flatten(model(picture))
    except Exception as error:  # whatever the network trips over
        raise ModelError(
            f"{path} does not run on a picture of {size[0]}x{size[1]} ({one_line(error)}): "
            f"{MADE_ON_A_GPU if 'cuda' in str(error).lower() else _takes(size)}"
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


def _takes(size: Size) -> str:
    return (
        f"it has to take one picture, float32 (1, 3, {size[0]}, {size[1]}); if it was made for another size, "
        "give that with --size"
    )


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
    path: Path, name: str, outputs: list[Tensor], wanted: Wanted, ignore: int | None
) -> tuple[Canonical, str]:
    """What brings an output to its one form, and that form in words. ``outputs`` are of several pictures.

    Raises ModelError for labels that are no class.
    """
    form = form_of(outputs[0], wanted)
    assert form is not None
    if is_turned(outputs[0], form, wanted.size):
        raise ModelError(
            f"{path} gives {describe(outputs[0])} in {name} for pictures of "
            f"{wanted.size[0]}x{wanted.size[1]} (height x width): it lies on its side; "
            "exchange its height and width"
        )
    if form.kind == "labels":
        known = {*range(wanted.classes), *(() if ignore is None else (ignore,))}
        labels = _values(outputs)
        if not all(label.is_integer() for label in labels):
            raise ModelError(
                f"{path} gives {describe(outputs[0])} in {name}, neither scores (1, {wanted.classes}, h, w) "
                "nor labels (its numbers are no class ids, but as those of a network of distances): check "
                f"--classes ({wanted.classes} given)"
            )
        if wanted.classes <= 2 and labels <= {0.0, MASK} and MASK in labels:
            return _mask(form)
        if wrong := sorted(labels - known):
            raise ModelError(
                f"{path} gives the label {wrong[0]:g} in {name}: --classes has only {wanted.classes}"
            )
    if form.kind == "one score":
        # A sigmoid keeps to 0..1 on every picture; logits of four such different ones do not.
        least, most = (float(find(torch.stack(list(outputs)))) for find in (torch.min, torch.max))
        probability = least >= 0 and most <= 1
        values = _values(outputs) if least == 0 and 1 < most <= MASK else set[float]()
        if values == {0.0, MASK}:
            return _mask(replace(form, kind="labels"))
        if len(values) > 2 and all(value.is_integer() for value in values):
            raise ModelError(
                f"{path} gives whole numbers from 0 to {most:g} in {name}, as class ids are: "
                f"give all of them with --classes ({wanted.classes} given)"
            )
        if least >= 0 and most > MOST_LOGIT:
            raise ModelError(
                f"{path} gives numbers from {least:.3g} to {most:.3g} in {name}, neither probabilities nor "
                "logits of one class: a network of distances does so; give a semantic segmentor"
            )
        return Canonical(form, probability), f"one {'probability' if probability else 'logit'}"
    return Canonical(form), "labels" if form.kind == "labels" else str(form)


def _mask(form: Form) -> tuple[Canonical, str]:
    return Canonical(form, mask=True), "a mask, 255 in the foreground"


def _values(outputs: Iterable[Tensor]) -> set[float]:
    """Every number that occurs."""
    # As doubles: torch does not sort unsigned numbers of more than 8 bits.
    return {float(value) for output in outputs for value in torch.unique(output.double())}
