"""What a model gives: finding the one output that holds the segmentation, and bringing it to one form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from edge_vss.converters.readers._kinds import kind_by_name, kind_of, refusal
from edge_vss.errors import ModelError
from edge_vss.video import Size

INTEGERS = (
    *(torch.bool, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
SEVERAL = "the model has several outputs: choose one with --output from {}; or several, for a map of each"
MOST_STRETCH = 1.25
"""How much more a map may be reduced along one axis than along the other: rounding, padding to 32."""
Channels = tuple[int, tuple[int, ...]]
"""A number of channels, and the sides of the map that is left without their axis."""


@dataclass(frozen=True)
class Wanted:
    """What the output is looked for with."""

    classes: int
    size: Size
    """Height and width of the picture that the model was given."""
    channels_last: bool = False
    """Whether the model takes its picture with the channels last."""


@dataclass(frozen=True)
class Form:
    """How an output holds a segmentation."""

    kind: Literal["scores", "one score", "labels", "matte"]
    """A score per class, a score of one foreground class, class ids, or a share of foreground."""
    axes: str
    """What its axes are, of N, C, H and W."""

    def __str__(self) -> str:
        return f"{self.kind} ({', '.join(self.axes)})"


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


def choose(outputs: Mapping[str, Tensor], asked: str | None, wanted: Wanted) -> str:
    """The output to use: the one asked for (by name or index), the only one, or the only one that fits.

    Raises ModelError that lists what there is when that leaves a choice, or none, and for a network of
    another kind, by its name.
    """
    names, have = list(outputs), listed(outputs)
    if asked is None:
        refuse_others(outputs, wanted.size)
    if asked is not None:
        name = named(outputs, asked)
    elif not names:
        raise ModelError(
            "the model gives no tensor: it has to give scores (1, C, h, w) or a label map (1, h, w)"
        )
    else:
        fitting = [name for name in names if form_of(outputs[name], wanted)]
        if len(fitting) > 1:
            fitting = [name for name in fitting if not kind_by_name(name)]
            scores = [name for name in fitting if _gives_scores(outputs[name], wanted)]
            # One number per pixel beside them is something else, as a centre or an edge.
            if len(scores) == 1 and all(outputs[name].is_floating_point() for name in fitting):
                fitting = scores
        if len(fitting) > 1:
            raise ModelError(SEVERAL.format(have))
        name = (fitting or names)[0]
    if form_of(outputs[name], wanted) is None:
        raise ModelError(
            f"the model's output {name} is {describe(outputs[name])}, neither scores "
            f"(1, {wanted.classes}, h, w) nor labels (1, h, w): check --classes ({wanted.classes} given), or "
            f"choose --output from {have}"
        )
    return name


def _gives_scores(tensor: Tensor, wanted: Wanted) -> bool:
    form = form_of(tensor, wanted)
    return form is not None and form.kind == "scores"


def named(outputs: Mapping[str, Tensor], asked: str, option: str = "--output") -> str:
    """The output that is asked for, by name or index. Raises ModelError where there is none."""
    names = list(outputs)
    if asked in outputs:
        return asked
    if asked.lstrip("-").isdecimal() and -len(names) <= int(asked) < len(names):
        return names[int(asked)]
    have = listed(outputs) or "none at all"
    raise ModelError(f"the model has no output {asked!r}: choose {option} from {have}")


def listed(outputs: Mapping[str, Tensor]) -> str:
    """The names and shapes of outputs."""
    return ", ".join(f"{name} {describe(tensor)}" for name, tensor in outputs.items())


def looks_like_a_map(tensor: Tensor, wanted: Wanted) -> bool:
    """Whether a tensor may hold a segmentation into any number of classes."""
    counts = {2} if tensor.dim() not in (3, 4) else {tensor.shape[-3], tensor.shape[-1]} & {*range(1, 256)}
    forms = (
        form_of(tensor, Wanted(max(count, 2), wanted.size, wanted.channels_last)) for count in counts or {2}
    )
    return any(
        _has_shape_of(wanted.size, tuple(tensor.shape[form.axes.index(axis)] for axis in "HW"))
        for form in forms
        if form is not None
    )


def form_of(tensor: Tensor, wanted: Wanted) -> Form | None:
    """How a tensor holds a segmentation; None where it does not.

    Channels come last only where the picture's do, or where the map's sides then have the picture's shape and
    otherwise have not.
    """
    shape = tuple(tensor.shape)
    if tensor.dtype in INTEGERS:
        form = _labels(shape)
        if form is None:
            return None
        sides = tuple(shape[form.axes.index(axis)] for axis in "HW")
        return form if min(sides) > 1 and _has_shape_of(wanted.size, sides) else None
    if not tensor.is_floating_point() or min(shape, default=0) < 1:
        return None
    if len(shape) == 4 and shape[0] == 1:
        first, last = (shape[1], shape[2:]), (shape[3], shape[1:3])
        return _scored(first, last, ("NCHW", "NHWC"), wanted)
    if len(shape) == 3 and shape[0] == 1:
        kind: Literal["one score", "labels"] = "labels" if wanted.classes > 2 else "one score"
        return Form(kind, "NHW") if _has_shape_of(wanted.size, shape[1:]) else None
    if len(shape) == 3:
        return _scored((shape[0], shape[1:]), (shape[2], shape[:2]), ("CHW", "HWC"), wanted)
    if len(shape) == 2 and _has_shape_of(wanted.size, shape):
        return Form("labels" if wanted.classes > 2 else "one score", "HW")
    return None


def _labels(shape: tuple[int, ...]) -> Form | None:
    if len(shape) == 4 and shape[0] == 1 and 1 in (shape[1], shape[3]):
        return Form("labels", "NCHW" if shape[1] == 1 else "NHWC")
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        return Form("labels", "NHW" if shape[0] == 1 else "HWC")
    return Form("labels", "HW") if len(shape) == 2 else None


def _scored(first: Channels, last: Channels, axes: tuple[str, str], wanted: Wanted) -> Form | None:
    """The form of a tensor that may be read with its channels first or last."""
    possible = {
        name: (channels, sides)
        for name, (channels, sides) in zip(axes, (first, last), strict=True)
        if _one(channels, wanted) and min(sides) > 1
    }
    shaped = [name for name, (_, sides) in possible.items() if _has_shape_of(wanted.size, sides)]
    usual = axes[1] if wanted.channels_last else axes[0]
    name = usual if usual in possible and (usual in shaped or not shaped) else next(iter(shaped), None)
    return None if name is None else _kind(possible[name][0], name, wanted)


def _one(channels: int, wanted: Wanted) -> bool:
    """Whether so many channels can be scores of the classes, or their ids."""
    return channels in (wanted.classes, 1)


def _kind(channels: int, axes: str, wanted: Wanted) -> Form:
    if channels == wanted.classes and channels > 1:
        return Form("scores", axes)
    # Ids of more than two classes may come as floats.
    return Form("one score" if wanted.classes <= 2 else "labels", axes)


def _has_shape_of(size: Size, sides: tuple[int, ...]) -> bool:
    """Whether a map is the picture reduced (or enlarged) by much the same along both axes."""
    down, across = size[0] / sides[0], size[1] / sides[1]
    return abs(math.log(down / across)) <= math.log(MOST_STRETCH)


def is_turned(tensor: Tensor, form: Form, size: Size) -> bool:
    """Whether a map has the picture's shape once its height and width are exchanged, and else has not."""
    down, across = (int(tensor.shape[form.axes.index(axis)]) for axis in "HW")
    return not _has_shape_of(size, (down, across)) and _has_shape_of(size, (across, down))


def refuse_others(outputs: Mapping[str, Tensor], size: Size) -> None:
    """Raise ModelError for a network of another kind, by its name. ``size`` is the picture's."""
    maps: list[str] = []
    lists: list[str] = []
    for name, tensor in outputs.items():
        shape = tuple(tensor.shape)
        if sum(extent > 1 for extent in shape) < 2:
            continue
        if not tensor.is_floating_point():
            maps.append(name)
        elif len(shape) == 4:
            # SSD's list of boxes has four axes too: 1, 1, boxes, 7.
            (lists if shape[1] == 1 and shape[3] == 7 else maps).append(name)
        elif len(shape) == 2:
            (lists if 4 <= shape[1] <= 7 else maps).append(name)
        else:
            (maps if shape[0] > 1 or _has_shape_of(size, shape[1:]) else lists).append(name)
    if kind := kind_of(outputs, maps, lists):
        raise ModelError(refusal("this", kind, listed(outputs)))


def counted(outputs: Mapping[str, Tensor], asked: str | None, size: Size, channels_last: bool) -> int | None:
    """How many classes the scores among outputs are of, or those of the output ``asked`` for; None where that
    leaves a choice. Raises ModelError where there is no such output."""
    asked = None if asked is None else named(outputs, asked)
    found = set[int]()
    for name, tensor in outputs.items():
        if asked in (None, name) and tensor.dim() in (3, 4):
            for channels in {tensor.shape[-3], tensor.shape[-1]} & set(range(2, 256)):
                form = form_of(tensor, Wanted(channels, size, channels_last))
                if form is not None and form.kind == "scores":
                    sides = tuple(int(tensor.shape[form.axes.index(axis)]) for axis in "HW")
                    found |= {channels} if _has_shape_of(size, sides) else set()
    return found.pop() if len(found) == 1 else None


def describe(tensor: Tensor) -> str:
    """``float32 (1, 19, 64, 128)``."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


class Select(torch.nn.Module):
    """A model of which only some outputs are given: one as a tensor, several as a tuple."""

    def __init__(self, model: torch.nn.Module, *names: str) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, picture: Tensor) -> Any:
        outputs = flatten(self.model(picture))
        chosen = tuple(outputs[name] for name in self.names)
        return chosen[0] if len(chosen) == 1 else chosen


class Each(torch.nn.Module):
    """One module for each of several tensors."""

    def __init__(self, modules: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.each = torch.nn.ModuleList(modules)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(module(tensor) for module, tensor in zip(self.each, tensors, strict=True))


class Canonical(torch.nn.Module):
    """An output of any accepted form → scores float32 (1, C, h, w), or labels uint8 (1, h, w).

    One score per pixel becomes two classes, of which the foreground is the second: 0 against a logit, 1 − p
    against a probability. So does a ``mask``, whose foreground is 255. A matte stays what it is, float32
    (1, 1, h, w).
    """

    def __init__(self, form: Form, probability: bool = False, mask: bool = False) -> None:
        super().__init__()
        self.form, self.probability, self.mask = form, probability, mask

    def forward(self, output: Tensor) -> Tensor:
        axes = self.form.axes
        if self.form.kind == "labels":
            sides = [int(output.shape[axes.index(axis)]) for axis in "HW"]
            output = output.reshape(1, *sides)
            return (output != 0 if self.mask else output).to(torch.uint8)
        output = output.to(torch.float32)
        for missing in (axis for axis in "NC" if axis not in axes):
            output = output.unsqueeze(0 if missing == "N" else 1)
        if axes in ("NHWC", "HWC"):
            output = output.permute(0, 3, 1, 2)
        if self.form.kind == "one score":
            other = 1 - output if self.probability else torch.zeros_like(output)
            return torch.cat((other, output), 1)
        return output
