"""A model in: read, tried on pictures, and checked that a graph can stand for it."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from edge_vss.bundle import TensorSpec
from edge_vss.converters.conversion import Conversion, Preprocess, fingerprint
from edge_vss.converters.inputs import pictures
from edge_vss.converters.ops.normalize import Normalize
from edge_vss.converters.readers import ReadModel
from edge_vss.converters.readers import _untrained_weights as untrained_weights
from edge_vss.converters.readers._checks import canonical, check_stateless, run
from edge_vss.converters.readers._factory import build
from edge_vss.converters.readers._outputs import Select, choose
from edge_vss.converters.readers._recognise import reader_of
from edge_vss.converters.values import Network
from edge_vss.errors import OptionError


def load_network(conversion: Conversion) -> Network:
    """Load the model of a conversion, ready to be split. Its classes have to be named.

    Without a model, the factory's network gets weights that nobody trained. Raises ModelError, or OptionError
    for an option.
    """
    class_set = conversion.class_set
    if class_set is None:
        raise OptionError("--classes is missing: give the name of a class set, a file of names, or a number")
    classes = len(class_set)
    path = conversion.path or Path(f"untrained {re.split('[:.]', conversion.factory or '')[-1]}")
    read = _read(conversion, path, classes)
    size = read.size
    if size is None:
        raise OptionError(
            "--size is missing: a model of this kind takes pictures of any size, say which with --size HxW"
        )
    prepare = conversion.preprocess()
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
    name = choose(outputs[0], conversion.output_name, classes)
    model = read.select(name) if read.select else Select(model, name)
    chosen = [output[name] for output in outputs]
    after, described = canonical(path, name, chosen, classes, class_set.ignore)
    result = after(chosen[0])
    kind_out = "labels" if result.dtype == torch.uint8 else "scores"
    return Network(
        before=before,
        model=model,
        after=after,
        output=TensorSpec(kind_out, tuple(result.shape), str(result.dtype).removeprefix("torch.")),
        size=size,
        source={"name": path.name, "sha256": "" if conversion.path is None else fingerprint(path)},
        notes={"kind": read.kind, "output": name, "form": described},
    )


def _read(conversion: Conversion, path: Path, classes: int) -> ReadModel:
    factory = conversion.factory
    if conversion.path is None:
        if factory is None:
            raise OptionError("--untrained builds the network of a function: give --model file.py:function")
        network = build(factory, classes).cpu().float()
        untrained_weights.fill(network)
        return ReadModel(network, "untrained", conversion.size)
    reader = reader_of(path)
    if factory is not None and not reader.description.takes_factory:
        raise OptionError(
            f"--model {factory} is for state dicts, and {path} is a whole model "
            f"({reader.description.title}): leave it out"
        )
    return reader.call(path, conversion)
