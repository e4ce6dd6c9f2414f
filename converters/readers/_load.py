"""A model in: read, tried on pictures, and checked that a graph can stand for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from edge_vss.bundle import TensorSpec
from edge_vss.classes import ClassSet, find, from_names
from edge_vss.converters.conversion import Conversion, Preprocess, fingerprint
from edge_vss.converters.inputs import pictures
from edge_vss.converters.ops.normalize import Normalize
from edge_vss.converters.readers import ReadModel
from edge_vss.converters.readers import _untrained_weights as untrained_weights
from edge_vss.converters.readers._checks import canonical, check_stateless, run
from edge_vss.converters.readers._factory import NO_CLASSES, build, parsed, trained
from edge_vss.converters.readers._outputs import Select, Wanted, choose, counted, refuse_others
from edge_vss.converters.readers._recognise import reader_of
from edge_vss.converters.values import Network
from edge_vss.errors import OptionError
from edge_vss.video import Size


def load_network(conversion: Conversion) -> Network:
    """Load the model of a conversion, ready to be split. Its classes have to be named, by the user or by the
    model's own files.

    Without a model, the factory's network gets weights that nobody trained. Raises ModelError, or OptionError
    for an option.
    """
    path = conversion.path or Path(_named(conversion))
    read = _read(conversion, path)
    class_set, size = conversion.class_set or read.classes, read.size
    if size is None:
        raise OptionError(
            "--size is missing: a model of this kind takes pictures of any size, say which with --size HxW"
        )
    _check_multiple(path, size, read.multiple)
    prepare = conversion.preprocess(read.preprocess)
    if read.dtype != "float32" and prepare != Preprocess(bgr=prepare.bgr):
        raise OptionError(
            f"{path} takes {read.dtype} pictures and scales them itself: leave --mean, --std and --scale out"
        )
    before, model = Normalize(prepare, read.layout, read.dtype), read.module
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if read.has_mode:
        model.eval()
    tests = pictures(size, 2)
    tests += [torch.zeros_like(tests[0]), torch.full_like(tests[0], 255)]
    outputs = [run(path, model, before(test), size) for test in tests]
    check_stateless(path, read, before, tests, outputs, size)
    notes = {**read.notes, **_from_model(read, conversion)}
    if class_set is None:
        class_set = _counted(outputs[0], conversion.output_name, size, read.layout == "NHWC")
        notes["classes"] = f"{len(class_set)}, counted: name them with --classes"
    wanted = Wanted(len(class_set), size, read.layout == "NHWC")
    name = choose(outputs[0], conversion.output_name, wanted)
    model = read.select(name) if read.select else Select(model, name)
    chosen = [output[name] for output in outputs]
    after, described = canonical(path, name, chosen, wanted, class_set.ignore)
    if after.form.kind == "one score":
        class_set, described = _two_classes(class_set, described)
    result = after(chosen[0])
    kind_out = "labels" if result.dtype == torch.uint8 else "scores"
    return Network(
        before=before,
        model=model,
        after=after,
        output=TensorSpec(kind_out, tuple(result.shape), str(result.dtype).removeprefix("torch.")),
        size=size,
        source=_source(conversion, path),
        notes={"kind": read.kind, "output": name, "form": described, **notes},
        classes=class_set,
        preprocess=prepare,
    )


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


def _from_model(read: ReadModel, conversion: Conversion) -> dict[str, str]:
    """What the model's own files said, and nobody else."""
    said = []
    if read.classes is not None and conversion.class_set is None:
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
        raise OptionError(NO_CLASSES)
    return find(str(count))


def _two_classes(class_set: ClassSet, described: str) -> tuple[ClassSet, str]:
    """Background and foreground of one score, and what to say about it. Background is added to one class."""
    if len(class_set) == 1:
        class_set = from_names(("background", *class_set.names), class_set.ignore)
    background, foreground = class_set.names
    return class_set, f"{described}: {foreground} where it is high, {background} elsewhere"


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
        if conversion.class_set is None:
            raise OptionError(NO_CLASSES)
        network = build(factory, len(conversion.class_set)).cpu().float()
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
