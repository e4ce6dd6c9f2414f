"""Finding plugins: a module with one function, found by its file name; third parties use entry points."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from edge_vss.errors import MissingExtra, OptionError

KINDS: dict[str, tuple[str, str]] = {
    "family": ("edge_vss.converters.families", "split"),
    "target": ("edge_vss.converters.targets", "export"),
    "quantizer": ("edge_vss.converters.quantizers", "reduce"),
    "engine": ("edge_vss.runtimes.engines", "load"),
    "source": ("edge_vss.runtimes.sources", "open"),
    "motion": ("edge_vss.runtimes.motion", "measure"),
    "sink": ("edge_vss.runtimes.sinks", "open"),
}
"""Kind → the folder its plugins live in, and the name of the one function each of them has.

A third party's package registers the function itself under the entry-point group ``edge_vss.KIND``.
"""


def names(kind: str) -> list[str]:
    """Every plugin of a kind that is present, built in or from an entry point, in alphabetical order."""
    folder = importlib.import_module(KINDS[kind][0])
    built_in = {
        module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_")
    }
    return sorted(built_in | {point.name for point in entry_points(group=f"edge_vss.{kind}")})


def find(kind: str, name: str) -> Callable[..., Any]:
    """The function of one plugin. Built-in names win over entry points; an unknown name lists the known
    ones. Raises MissingExtra like `import_module`."""
    folder, function = KINDS[kind]
    if name.isidentifier() and not name.startswith("_") and name in _built_in(folder):
        module = import_module(f"{folder}.{name}", f"the {kind} {name!r}")
        found: Callable[..., Any] = getattr(module, function)
        return found
    for point in entry_points(group=f"edge_vss.{kind}", name=name):
        loaded: Callable[..., Any] = point.load()
        return loaded
    raise OptionError(f"no {kind} is called {name!r}: choose one of {', '.join(names(kind))}")


def import_module(name: str, purpose: str) -> ModuleType:
    """A module of this package. Raises MissingExtra where it needs OpenCV and that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # OpenCV comes with the extras; whatever else the runtime imports at once is always installed.
        if error.name != "cv2":
            raise
        raise MissingExtra("opencv-python-headless", "onnxruntime", purpose) from None


def _built_in(folder: str) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(importlib.import_module(folder).__path__)}
