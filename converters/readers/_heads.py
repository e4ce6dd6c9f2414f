"""Several maps of one network: which outputs they are, and what each holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from edge_vss.bundle import TensorSpec
from edge_vss.classes import ClassSet, apart, find, from_names
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers._checks import canonical
from edge_vss.converters.readers._outputs import (
    SEVERAL,
    Canonical,
    Each,
    Form,
    Wanted,
    describe,
    form_of,
    listed,
    looks_like_a_map,
    named,
)
from edge_vss.converters.values import NetworkHead
from edge_vss.errors import ModelError, OptionError
from edge_vss.video import Size

NAME_LENGTH = 60


@dataclass(frozen=True)
class Asked:
    """An output that the user named."""

    output: str
    """Its name in the network."""
    classes: ClassSet | None
    """None for a matte."""
    named: str = ""
    """What the user calls it, where that is not its name: an index."""


@dataclass(frozen=True)
class Heads:
    """What is made of the outputs that were named."""

    after: torch.nn.Module
    """The output, or the outputs in order → each in its one form."""
    heads: tuple[NetworkHead, ...]
    forms: dict[str, str]
    """Output → how it was understood."""


def ask_which(outputs: Mapping[str, Tensor], size: Size, channels_last: bool) -> None:
    """Raise ModelError where several outputs may be meant, and nothing says which."""
    found = [
        name for name, tensor in outputs.items() if looks_like_a_map(tensor, Wanted(0, size, channels_last))
    ]
    if len(found) > 1:
        raise ModelError(SEVERAL.format(listed(outputs)))


def others(outputs: Mapping[str, Tensor], chosen: str, wanted: Wanted) -> str:
    """The outputs that were not chosen, and hold a map as well; empty where there are none."""
    return listed({name: t for name, t in outputs.items() if name != chosen and looks_like_a_map(t, wanted)})


def asked_for(
    outputs: Mapping[str, Tensor], conversion: Conversion, known: ClassSet | None, size: Size, last: bool
) -> tuple[Asked, ...]:
    """The outputs that ``conversion`` names, label maps first, with the classes of each.

    ``known`` are the classes that the model's own files name: of outputs with so many channels. What nobody
    names classes of has as many as it has channels. Raises ModelError for an output that is not there or is
    no map, OptionError for classes of one that was not named.
    """
    if isinstance(conversion.classes, Mapping) and (
        strange := [name for name in conversion.classes if name not in conversion.outputs]
    ):
        raise OptionError(
            f"--classes {strange[0]}=... is for an output that --output does not name: name it too"
        )
    found: list[Asked] = []
    for name in conversion.outputs:
        output, given = named(outputs, name), conversion.classes_of(name)
        classes = _classes(outputs[output], name, given, known, Wanted(0, size, last))
        found.append(Asked(output, classes, name))
    found += [Asked(named(outputs, name, "--matte"), None, name) for name in conversion.mattes]
    names = [each.output for each in found]
    if twice := [name for at, name in enumerate(names) if name in names[:at]]:
        raise OptionError(f"the output {twice[0]} is named twice: name each output once")
    for each in found:
        wanted = Wanted(1 if each.classes is None else len(each.classes), size, last)
        form, shown = form_of(outputs[each.output], wanted), describe(outputs[each.output])
        if each.classes is None and (form is None or form.kind != "one score"):
            raise ModelError(
                f"--matte {each.named} is {shown}: a matte is one channel of 0 to 1, float (1, 1, h, w)"
            )
        if form is None:
            raise ModelError(
                f"the model's output {each.named} is {shown}, neither scores (1, {wanted.classes}, h, w) nor "
                f"labels (1, h, w): check --classes {each.named}=... ({wanted.classes} given), or choose "
                f"--output from {listed(outputs)}"
            )
    return tuple(found)


def _classes(
    tensor: Tensor, name: str, given: ClassSet | None, known: ClassSet | None, wanted: Wanted
) -> ClassSet:
    if given is not None:
        return given
    axis = (-1 if wanted.channels_last else -3) if tensor.dim() in (3, 4) else None
    channels = tensor.shape[axis] if axis is not None and tensor.is_floating_point() else 0
    if known is not None and len(known) == channels:
        return known
    if channels == 1:
        return from_names((safe_name(name),))
    if not 1 <= channels <= 255:
        raise OptionError(
            f"--classes {name}=... is missing: the output {name} is {describe(tensor)}, which does not tell "
            "how many there are"
        )
    return find(str(channels))


def understood(
    path: Path, asked: Sequence[Asked], outputs: Sequence[Mapping[str, Tensor]], size: Size, last: bool
) -> Heads:
    """What the outputs hold. ``outputs`` are of several pictures. Raises ModelError for labels that are no
    class, and for a matte that is not within 0 to 1."""
    afters: list[torch.nn.Module] = []
    forms: dict[str, str] = {}
    heads: list[NetworkHead] = []
    names = safe_names([each.named or each.output for each in asked])
    for each, name in zip(asked, names, strict=True):
        values = [output[each.output] for output in outputs]
        if each.classes is None:
            class_set, described = None, "matte"
            after = _matte(path, each.output, values, Wanted(1, size, last))
        else:
            class_set = each.classes
            wanted = Wanted(len(class_set), size, last)
            after, described = canonical(path, each.output, values, wanted, class_set.ignore)
            if after.form.kind == "one score":
                class_set, described = two_classes(class_set, described)
        result = after(values[0])
        kind = "matte" if class_set is None else "labels" if result.dtype == torch.uint8 else "scores"
        spec = TensorSpec(kind, tuple(result.shape), str(result.dtype).removeprefix("torch."))
        afters.append(after)
        forms[each.output] = described
        heads.append(NetworkHead(name, spec, class_set))
    sets = iter(apart([head.classes for head in heads if head.classes is not None]))
    heads = [replace(head, classes=None if head.classes is None else next(sets)) for head in heads]
    return Heads(afters[0] if len(afters) == 1 else Each(afters), tuple(heads), forms)


def two_classes(class_set: ClassSet, described: str) -> tuple[ClassSet, str]:
    """Background and foreground of one score, and what to say about it. Background is added to one class."""
    if len(class_set) == 1:
        [name], [colour] = class_set.names, class_set.palette
        made = from_names(("foreground" if name == "background" else "background", name), class_set.ignore)
        # A colour that somebody chose stays.
        chosen = colour not in from_names((name,)).palette
        class_set = replace(made, palette=(made.palette[0], colour if chosen else made.palette[1]))
    background, foreground = class_set.names
    return class_set, f"{described}: {foreground} where it is high, {background} elsewhere"


def _matte(path: Path, name: str, values: Sequence[Tensor], wanted: Wanted) -> Canonical:
    least, most = min(float(each.min()) for each in values), max(float(each.max()) for each in values)
    if least < 0 or most > 1:
        raise ModelError(
            f"{path} gives {least:.3g} to {most:.3g} in {name}, and a matte is 0 to 1: give it a sigmoid, "
            "or name it with --output if it is none"
        )
    form = form_of(values[0], wanted)
    assert form is not None
    return Canonical(Form("matte", form.axes))


def safe_name(output: str) -> str:
    """An output's name as a folder may be called."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", output).strip("._-")[:NAME_LENGTH].strip("._-") or "output"


def safe_names(outputs: Sequence[str]) -> list[str]:
    """The same of several, all different."""
    names: list[str] = []
    for output in outputs:
        name, number = safe_name(output), 2
        while name.casefold() in {other.casefold() for other in names}:
            name, number = f"{safe_name(output)}_{number}", number + 1
        names.append(name)
    return names
