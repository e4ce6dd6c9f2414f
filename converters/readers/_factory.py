"""The network of a state dict: built by a function of the user's own."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers._weights import Fitted, Sets, fill
from edge_vss.errors import ModelError, OptionError, one_line

NO_CLASSES = "--classes is missing: give the name of a class set, a file of names, or a number"
COUNTS = ("classes", "num_classes", "n_classes")
"""What a parameter is called that takes the number of classes."""
_FORM = re.compile(r"(?P<place>.+?):(?P<name>[^\W\d]\w*)(?P<call>\(.*\))?", re.DOTALL)


@dataclass(frozen=True)
class Factory:
    """What ``--model`` names."""

    place: str
    """A Python file, or a module that can be imported."""
    name: str
    """The function or class in it."""
    call: str = ""
    """The arguments as they were written, with their brackets, or empty."""
    arguments: tuple[object, ...] = ()
    keywords: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.place}:{self.name}{self.call}"

    @property
    def shown(self) -> str:
        """Without the file's folder, which is this machine's own business."""
        place = re.split(r"[/\\]", self.place)[-1]
        return f"{place}:{self.name}{self.call}"


def parsed(text: str) -> Factory:
    """``file.py:function`` or ``package.module:function``, with arguments or without: ``net.py:Net(p=2)``.

    Arguments are Python literals; nothing is run. Raises OptionError for any other form.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise OptionError(
            f"--model {text!r}: write it as file.py:function, package.module:function or "
            "file.py:function(name=value)"
        )
    place, name, call = match["place"], match["name"], match["call"] or ""
    try:
        made = ast.parse(f"f{call or '()'}", mode="eval").body
        if not isinstance(made, ast.Call) or not isinstance(made.func, ast.Name):
            raise ValueError
        arguments = tuple(ast.literal_eval(argument) for argument in made.args)
        keywords = {str(word.arg): ast.literal_eval(word.value) for word in made.keywords if word.arg}
        if len(keywords) != len(made.keywords):
            raise ValueError
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise OptionError(
            f"--model {text!r}: the arguments have to be Python literals, as in {name}(p=2, names=['a', 'b'])"
        ) from None
    return Factory(place, name, call, arguments, keywords)


def network_of(path: Path, sets: Sets, conversion: Conversion) -> tuple[torch.nn.Module, Fitted]:
    """The network that the conversion's factory builds, in fp32, with weights read from ``path``; and which
    weights of the file those are.

    Raises ModelError where there is no factory or no weights fit, OptionError like ``build``.
    """
    if conversion.factory is None:
        count = max(len(weights) for weights in sets.values())
        raise ModelError(
            f"{path} holds {count} weights and no network: give the function that builds it, "
            "--model file.py:function or --model package.module:function"
        )
    network = build(conversion.factory, class_count(conversion), path.parent)
    fitted = fill(network, sets, path, conversion.factory, "--classes and --model", conversion.weights_key)
    return network.cpu().float(), fitted


def trained(conversion: Conversion) -> torch.nn.Module:
    """The network that the conversion's factory gives, with the weights that it has then.

    Raises OptionError like ``build``, and where the weights are other ones at each call.
    """
    assert conversion.factory is not None
    network, again = (build(conversion.factory, class_count(conversion)).cpu() for _ in range(2))
    weights = again.state_dict()
    for name, tensor in network.state_dict().items():
        if name not in weights or not torch.equal(tensor, weights[name]):
            raise OptionError(
                f"--model {conversion.factory} gives other weights at each call ({name}), so it is not "
                "trained: give the weights' file, or --untrained to learn how fast it is"
            )
    return network.float()


def class_count(conversion: Conversion) -> int | None:
    """What a factory is told; None where nobody says. Mattes alone need no classes."""
    if conversion.class_set is None:
        return 1 if conversion.several else None
    return len(conversion.class_set)


def build(text: str, classes: int | None, beside: Path | None = None) -> torch.nn.Module:
    """Call what ``--model`` names for a network. It may import what lies beside its own file, beside
    the weights (in the folder ``beside``) and in the working folder.

    Where its arguments leave that open, the function gets the number of classes: if it has a parameter called
    ``classes``, ``num_classes`` or ``n_classes``, or exactly one that needs a value. Raises OptionError when
    it cannot be found or called, or gives no torch.nn.Module.
    """
    factory = parsed(text)
    own = [str(Path(factory.place).resolve().parent)] if factory.place.endswith(".py") else []
    with importable(own, [str(folder.resolve()) for folder in (beside, Path()) if folder is not None]):
        function = _function(factory)
        try:
            network = function(*factory.arguments, **_keywords(factory, function, classes))
        except OptionError:
            raise
        except Exception as error:  # the user's own code
            raise OptionError(f"--model {factory} failed ({one_line(error, named=True)})") from error
    if not isinstance(network, torch.nn.Module):
        raise OptionError(
            f"--model {factory} gives a {type(network).__name__}, and has to give a torch.nn.Module"
        )
    tensors = [*network.parameters(), *network.buffers()]
    if any(is_lazy(tensor) or tensor.is_meta for tensor in tensors):
        raise OptionError(
            f"--model {factory} gives a network whose weights have no shape or no memory yet (Lazy layers, "
            "the meta device): let it run once, or build it on the CPU"
        )
    return network


def _keywords(factory: Factory, function: Callable[..., Any], classes: int | None) -> dict[str, object]:
    """The keyword arguments of the call: the user's, and the number of classes where it is wanted."""
    signature = inspect.signature(function)
    given = signature.bind_partial(*factory.arguments, **factory.keywords).arguments
    named = [name for name in signature.parameters if name in COUNTS]
    needed = [
        p
        for p in signature.parameters.values()
        if p.name not in given
        and p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    count = next((name for name in named if name not in given), "")
    if not count and not any(name in given for name in named) and len(needed) == 1:
        count = needed[0].name
    if not count:
        return dict(factory.keywords)
    if classes is None and signature.parameters[count].default is inspect.Parameter.empty:
        raise OptionError(NO_CLASSES)
    return {**factory.keywords, **({} if classes is None else {count: classes})}


def _function(factory: Factory) -> Callable[..., Any]:
    place, name = factory.place, factory.name
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
    spec.loader.exec_module(module)
    return module


@contextmanager
def importable(first: list[str], last: list[str]) -> Iterator[None]:
    """Let imports find what is in these folders: in ``first`` before all else, as beside a script, and in
    ``last`` only what is nowhere else, as those may be a stranger's."""
    before = list(sys.path)
    sys.path[:] = [*first, *before, *last]
    try:
        yield
    finally:
        sys.path[:] = before
