"""The network of a state dict: built by a function of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers._weights import fill
from edge_vss.errors import ModelError, OptionError, one_line

NO_CLASSES = "--classes is missing: give the name of a class set, a file of names, or a number"


def network_of(path: Path, weights: Mapping[str, Tensor], conversion: Conversion) -> torch.nn.Module:
    """The network that the conversion's factory builds, in fp32, with the weights read from ``path``.

    Raises ModelError where there is no factory or the weights do not fit, OptionError like ``build``.
    """
    factory = conversion.factory
    if factory is None:
        raise ModelError(
            f"{path} holds {len(weights)} weights and no network: give the function that builds it, "
            "--model file.py:function or --model package.module:function"
        )
    network = build(factory, class_count(conversion))
    fill(network, weights, path, factory, "--classes and --model")
    return network.cpu().float()


def class_count(conversion: Conversion) -> int:
    """What a factory is told. Raises OptionError where the classes are missing; mattes alone need none."""
    if conversion.class_set is None and not conversion.several:
        raise OptionError(NO_CLASSES)
    return 1 if conversion.class_set is None else len(conversion.class_set)


def build(factory: str, classes: int) -> torch.nn.Module:
    """Call ``file.py:function`` or ``package.module:function`` for a network.

    The function gets the number of classes if it has a parameter called ``classes`` or ``num_classes``, or
    exactly one that needs a value. Raises OptionError when it cannot be found or called, or gives no
    torch.nn.Module.
    """
    function = _function(factory)
    try:
        parameters = inspect.signature(function).parameters.values()
        named = [p.name for p in parameters if p.name in ("classes", "num_classes", "n_classes")]
        needed = [
            p
            for p in parameters
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if named:
            network = function(**{named[0]: classes})
        else:
            network = function(*([classes] if len(needed) == 1 else []))
    except Exception as error:  # the user's own code
        raise OptionError(f"--model {factory} failed ({one_line(error, named=True)})") from error
    if not isinstance(network, torch.nn.Module):
        raise OptionError(
            f"--model {factory} gives a {type(network).__name__}, and has to give a torch.nn.Module"
        )
    return network


def _function(factory: str) -> Callable[..., Any]:
    place, colon, name = factory.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise OptionError(f"--model {factory!r}: write it as file.py:function or package.module:function")
    try:
        module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # the user's own code
        raise OptionError(
            f"--model {factory}: {place} cannot be imported ({one_line(error, named=True)})"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise OptionError(f"--model {factory}: {place} has no function {name!r}")
    found: Callable[..., Any] = function
    return found


def _file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"edge_vss_model_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    with _importable(path.resolve().parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    # A network's file may import its neighbours, as it does when it is run as a script.
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
