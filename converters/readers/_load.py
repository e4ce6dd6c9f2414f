"""A model in: read, tried on pictures, and checked that a graph can stand for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from edge_vss.classes import ClassSet, find
from edge_vss.converters.conversion import Conversion, Preprocess, fingerprint
from edge_vss.converters.inputs import pictures
from edge_vss.converters.ops.normalize import Normalize
from edge_vss.converters.readers import ReadModel
from edge_vss.converters.readers import _untrained_weights as untrained_weights
from edge_vss.converters.readers._artifact import scales_itself
from edge_vss.converters.readers._checks import check_stateless, run
from edge_vss.converters.readers._factory import NO_CLASSES, build, class_count, parsed, trained
from edge_vss.converters.readers._heads import Asked, Heads, ask_which, asked_for, others, understood
from edge_vss.converters.readers._outputs import Select, Wanted, choose, counted, refuse_others
from edge_vss.converters.readers._recognise import reader_of
from edge_vss.converters.values import Network
from edge_vss.errors import ModelError, OptionError
from edge_vss.video import Size


def load_network(conversion: Conversion) -> Network:
    """Load the model of a conversion, ready to be split. Classes that neither the user nor the model's own
    files name are counted.

    Without a model, the factory's network gets weights that nobody trained. Raises ModelError, or OptionError
    for an option.
    """
    path = conversion.path or Path(_named(conversion))
    read = _read(conversion, path)
    size, last = read.size, read.layout == "NHWC"
    if size is None:
        raise OptionError(
            "--size is missing: a model of this kind takes pictures of any size, say which with --size HxW"
        )
    _check_multiple(path, size, read.multiple)
    prepare = conversion.preprocess(read.preprocess)
    pixels = read.dtype != "float32" and read.quantised is None
    if pixels and prepare != Preprocess(bgr=prepare.bgr):
        raise scales_itself(path, read.dtype)
    before, model = Normalize(prepare, read.layout, read.dtype, read.quantised), read.module
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if read.has_mode:
        model.eval()
    tests = pictures(size, 2)
    tests += [torch.zeros_like(tests[0]), torch.full_like(tests[0], 255)]
    outputs = [run(path, model, before(tests[0]), size)]
    # Asked before all that takes long.
    notes = dict(read.notes)
    if conversion.several:
        asked = asked_for(outputs[0], conversion, read.classes, size, last)
    else:
        output = next(iter(conversion.outputs), None)
        class_set = conversion.class_set or read.classes
        if class_set is None:
            class_set = _counted(outputs[0], output, size, last)
            notes["classes"] = f"{len(class_set)}, counted: name them with --classes"
        if class_set is read.classes:
            _check_own_names(path, class_set, counted(outputs[0], output, size, last))
        asked = (Asked(choose(outputs[0], output, Wanted(len(class_set), size, last)), class_set),)
    notes |= _from_model(read, conversion, asked)
    outputs += [run(path, model, before(test), size) for test in tests[1:]]
    check_stateless(path, read, before, tests, outputs, size)
    names = [each.output for each in asked]
    model = read.select(*names) if read.select else Select(model, *names)
    found = understood(path, asked, outputs, size, last)
    return Network(
        before=before,
        model=model,
        after=found.after,
        heads=found.heads,
        size=size,
        source=_source(conversion, path),
        notes={"kind": read.kind, **_chosen(conversion, found, names, outputs[0], size, last), **notes},
        preprocess=prepare,
    )


def _chosen(
    conversion: Conversion,
    found: Heads,
    names: list[str],
    outputs: Mapping[str, torch.Tensor],
    size: Size,
    last: bool,
) -> dict[str, Any]:
    """Which outputs were taken, and how they were understood."""
    if conversion.several:
        asked = {"outputs": list(conversion.outputs), "mattes": list(conversion.mattes)}
        return {**asked, "form": found.forms}
    left = others(outputs, names[0], Wanted(0, size, last)) if not conversion.outputs else ""
    return {"output": names[0], "form": found.forms[names[0]], **({"left": left} if left else {})}


def _named(conversion: Conversion) -> str:
    """What stands for the file's name where there is no file."""
    if conversion.factory is None:
        return "untrained"
    factory = parsed(conversion.factory)
    return factory.shown if conversion.own_weights else f"untrained {factory.name}"


def _source(conversion: Conversion, path: Path) -> dict[str, str]:
    if conversion.path is None:
        return {"name": str(path), "sha256": ""}
    return {"name": path.name, "sha256": fingerprint(path)}


def _from_model(read: ReadModel, conversion: Conversion, asked: Sequence[Asked]) -> dict[str, str]:
    """What the model's own files said, and nobody else."""
    said = []
    if read.classes is not None and any(each.classes is read.classes for each in asked):
        said.append(f"{len(read.classes)} class name{'s' if len(read.classes) > 1 else ''}")
    if read.preprocess is not None:
        pixels = ("mean", "std", "scale", "bgr")
        said += [name for name in pixels if getattr(conversion, name) is None]
    return {"from_model": ", ".join(said)} if said else {}


def _counted(
    outputs: Mapping[str, torch.Tensor], asked: str | None, size: Size, channels_last: bool
) -> ClassSet:
    if asked is None:
        refuse_others(outputs, size)
    count = counted(outputs, asked, size, channels_last)
    if count is None:
        if asked is None:
            ask_which(outputs, size, channels_last)
        raise OptionError(NO_CLASSES)
    return find(str(count))


def _check_own_names(path: Path, classes: ClassSet, count: int | None) -> None:
    """Raise ModelError where the model's own files name another number of classes than it has scores of."""
    if count not in (None, len(classes)):
        raise ModelError(
            f"{path} gives scores of {count} classes, and its own files name {len(classes)}: say which they "
            f"are with --classes FILE, or only how many with --classes {count}"
        )


def _check_multiple(path: Path, size: Size, multiple: int) -> None:
    if all(extent % multiple == 0 for extent in size):
        return
    lower, upper = (
        tuple(max(step(extent, multiple), 1) * multiple for extent in size)
        for step in (int.__floordiv__, lambda extent, by: -(-extent // by))
    )
    raise OptionError(
        f"{path} takes pictures whose sides are multiples of {multiple}, and --size is {size[0]}x{size[1]}: "
        f"give {lower[0]}x{lower[1]} or {upper[0]}x{upper[1]}"
    )


def _read(conversion: Conversion, path: Path) -> ReadModel:
    factory = conversion.factory
    if conversion.path is None:
        if factory is None:
            raise OptionError("--untrained builds the network of a function: give --model file.py:function")
        if conversion.own_weights:
            return ReadModel(trained(conversion), "trained network", conversion.size)
        if conversion.class_set is None and not conversion.several:
            raise OptionError(NO_CLASSES)
        network = build(factory, class_count(conversion)).cpu().float()
        untrained_weights.fill(network)
        return ReadModel(network, "untrained", conversion.size)
    reader = reader_of(path)
    if factory is not None and not reader.description.takes_factory:
        raise OptionError(
            f"--model {factory} is for state dicts, and {path} is a whole model "
            f"({reader.description.title}): leave it out"
        )
    if conversion.weights_key is not None and not reader.description.takes_factory:
        raise OptionError(
            f"--weights-key {conversion.weights_key} is for checkpoints, and {path} is none "
            f"({reader.description.title}): leave it out"
        )
    return reader.call(path, conversion)
