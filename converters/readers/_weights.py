"""Files of ``torch.save``: state dicts, checkpoints, pickled modules; and building a network for them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.converters.silence import quiet
from edge_vss.errors import ModelError, OptionError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
"""Keys under which training scripts keep the state dict in a checkpoint."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""


def read(path: Path) -> dict[str, Tensor]:
    """The weights in a ``torch.save`` file by name, without the prefixes of training. Raises ModelError."""
    return _weights(path, _open(path, trust_pickle=False))


def load(path: Path, factory: str | None, classes: int, trust_pickle: bool) -> tuple[torch.nn.Module, str]:
    """The network in a ``torch.save`` file, and the kind of file. Raises ModelError or OptionError."""
    content = _open(path, trust_pickle)
    if isinstance(content, torch.nn.Module):
        return content, "pickled module"
    if isinstance(content, Mapping) and isinstance(inner := _unwrap(content), torch.nn.Module):
        return inner, "pickled module"
    weights = _weights(path, content)
    if factory is None:
        raise ModelError(
            f"{path} holds {len(weights)} weights and no network: give the function that builds it, "
            "--model file.py:function or --model package.module:function"
        )
    network = build(factory, classes)
    fill(network, weights, path, factory, "--classes and --model")
    return network, "state dict"


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
        raise OptionError(f"--model {factory} failed ({_line(error)})") from error
    if not isinstance(network, torch.nn.Module):
        raise OptionError(
            f"--model {factory} gives a {type(network).__name__}, and has to give a torch.nn.Module"
        )
    return network


def _open(path: Path, trust_pickle: bool) -> object:
    try:
        with quiet():
            return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if trust_pickle:
            raise ModelError(f"{path} cannot be unpickled ({_line(error)})") from None
        raise ModelError(
            f"{path} is a pickle of Python objects{_objects(path)}, and opening it could run any code: save "
            "model.state_dict() and give --model file.py:function, or pass --trust-pickle if you trust it"
        ) from None
    except (AttributeError, ImportError) as error:
        raise ModelError(
            f"{path} needs code that is not here ({_line(error)}): run where it can be imported"
        ) from None
    except Exception as error:  # a damaged file fails in zip, pickle or storage code
        raise ModelError(
            f"{path} is damaged, torch cannot read it ({_line(error)}): copy or download it again"
        ) from None


def _objects(path: Path) -> str:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # only known for files in the zip format; the message does without
        return ""
    foreign = [name for name in names if not name.startswith(("torch.", "collections."))] or names
    return f" ({', '.join(foreign[:3])})" if foreign else ""


def _unwrap(content: Mapping[Any, Any]) -> object:
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping | torch.nn.Module):
            return content[key]
    return content


def _weights(path: Path, content: object) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}: save model.state_dict() instead")
    inner = _unwrap(content)
    assert isinstance(inner, Mapping)
    weights = {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}
    if not weights:
        raise ModelError(
            f"{path} holds a dict without weights ({', '.join(map(str, list(inner)[:5]))}): "
            "save model.state_dict()"
        )
    for prefix in PREFIXES * 2:  # DataParallel of a compiled network, or the other way around
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def fill(network: torch.nn.Module, weights: Mapping[str, Tensor], path: Path, what: str, check: str) -> None:
    """Give ``network``, which the user knows as ``what``, the weights read from ``path``, every one of them.

    Raises ModelError that names the keys missing, unexpected or of another shape, and what to ``check``.
    """
    own = network.state_dict()
    # Counts of batches play no part in inference, and checkpoints from before PyTorch 0.4.1 have none.
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in weights if key not in own]
    wrong = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if wrong:
        key = wrong[0]
        raise ModelError(
            f"{path} has {key} {tuple(weights[key].shape)}, {what} wants {tuple(own[key].shape)}"
            f"{f' and {len(wrong) - 1} more like it' if len(wrong) > 1 else ''}: check {check}"
        )
    if missing or unexpected:
        parts = [
            f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for kind, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        raise ModelError(f"{path} is not made for {what}: {' and '.join(parts)}; check {check}")
    network.load_state_dict(dict(weights), strict=False)


def _function(factory: str) -> Callable[..., Any]:
    place, colon, name = factory.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise OptionError(f"--model {factory!r}: write it as file.py:function or package.module:function")
    try:
        module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # the user's own code
        raise OptionError(f"--model {factory}: {place} cannot be imported ({_line(error)})") from error
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


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return (f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__)[:300]
