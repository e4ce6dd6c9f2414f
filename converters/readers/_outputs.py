"""What a model gives: finding the one output that holds the segmentation, and bringing it to one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edge_vss.errors import ModelError

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


def flatten(output: Any, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor in nested tuples, lists and dicts, in order, by its way down (``out``, ``0``,
    ``aux.1``)."""
    if isinstance(output, Tensor):
        return {prefix or "0": output}
    if isinstance(output, Mapping):
        items = [(str(key), value) for key, value in output.items()]
    elif isinstance(output, tuple | list):
        items = [(str(index), value) for index, value in enumerate(output)]
    else:
        return {}
    found: dict[str, Tensor] = {}
    for key, value in items:
        found |= flatten(value, f"{prefix}.{key}" if prefix else key)
    return found


def choose(outputs: Mapping[str, Tensor], wanted: str | None, classes: int) -> str:
    """The output to use: the one asked for (by name or index), the only one, or the only one that fits.

    Raises ModelError listing what there is when that leaves a choice, or none.
    """
    names = list(outputs)
    have = ", ".join(f"{name} {describe(tensor)}" for name, tensor in outputs.items())
    if wanted is not None:
        if wanted in outputs:
            name = wanted
        elif wanted.lstrip("-").isdecimal() and -len(names) <= int(wanted) < len(names):
            name = names[int(wanted)]
        else:
            raise ModelError(
                f"the model has no output {wanted!r}: choose --output from {have or 'none at all'}"
            )
    elif not names:
        raise ModelError(
            "the model gives no tensor: it has to give scores (1, C, h, w) or a label map (1, h, w)"
        )
    else:
        fitting = [name for name in names if form(outputs[name], classes)]
        if len(fitting) > 1:
            raise ModelError(f"the model has several outputs: choose one with --output from {have}")
        name = (fitting or names)[0]
    if not form(outputs[name], classes):
        raise ModelError(
            f"the model's output {name} is {describe(outputs[name])}, neither scores (1, {classes}, h, w) "
            f"nor labels (1, h, w): check --classes ({classes} given), or choose --output from {have}"
        )
    return name


def form(tensor: Tensor, classes: int) -> str:
    """``scores``, ``scores channels-last``, ``one score`` or ``labels``; empty for what is no
    segmentation."""
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4) or shape[0] != 1:
        return ""
    if tensor.dtype in INTEGERS:
        return "labels" if len(shape) == 3 or 1 in (shape[1], shape[3]) else ""
    if len(shape) == 3 or min(shape[1:]) < 1:
        return ""
    if shape[1] == classes and min(shape[2:]) > 1:
        return "scores"
    if shape[3] == classes and min(shape[1:3]) > 1:
        return "scores channels-last"
    return "one score" if classes == 2 and shape[1] == 1 and min(shape[2:]) > 1 else ""


def describe(tensor: Tensor) -> str:
    """``float32 (1, 19, 64, 128)``."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


class Select(torch.nn.Module):
    """A model of which only one output is given."""

    def __init__(self, model: torch.nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, picture: Tensor) -> Tensor:
        return flatten(self.model(picture))[self.name]


class Canonical(torch.nn.Module):
    """An output of any accepted form → scores float32 (1, C, h, w), or labels uint8 (1, h, w).

    A single score per pixel (two classes) becomes two: 0 against a logit, 1 − p against a probability.
    """

    def __init__(self, form: str, probability: bool = False) -> None:
        super().__init__()
        self.form, self.probability = form, probability

    def forward(self, output: Tensor) -> Tensor:
        if self.form == "labels":
            last = output.dim() == 4 and output.shape[1] > 1
            return output.reshape(1, *output.shape[1:3] if last else output.shape[-2:]).to(torch.uint8)
        output = output.to(torch.float32)
        if self.form == "scores channels-last":
            return output.permute(0, 3, 1, 2)
        if self.form == "one score":
            other = 1 - output if self.probability else torch.zeros_like(output)
            return torch.cat((other, output), 1)
        return output
