"""Finding plugins: a module with one function and one description, found by the name of its file.

A kind of plugin (`Kind`) is declared once, in the ``__init__`` of the folder that its plugins live in, with
the type of the function and of the description. Other packages add theirs by an entry point that names a
module:

    [project.entry-points."edge_vss.engine"]
    mine = "my_package.my_engine"

A file whose name begins with an underscore is a helper and no plugin.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from edge_vss.errors import MissingExtra, OptionError, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LOG = logging.getLogger("edge_vss")
"""Where the library tells what a program may want to know: lost packets, reconnects, fallbacks."""
# Without this, Python prints warnings of a library whose program has set up no logging.
LOG.addHandler(logging.NullHandler())

DESCRIPTION = "DESCRIPTION"
"""What every plugin's module calls its description."""

OPENCV = ("opencv-python-headless", "onnxruntime")
"""The usual package that brings ``cv2``, and an extra that installs it."""

F = TypeVar("F")
"""The type of the one function."""
D = TypeVar("D")
"""The type of the description: a frozen dataclass."""


@dataclass(frozen=True)
class Plugin(Generic[F, D]):
    """One plugin: its name, its function, and what it says of itself."""

    name: str
    call: F
    description: D
    built_in: bool = True
    """False for another package's."""


@dataclass(frozen=True)
class Kind(Generic[F, D]):
    """A kind of plugin: where the built-in ones live, and what each of them has."""

    name: str
    """``engine``: third parties use the entry-point group ``edge_vss.engine``."""
    folder: str
    """The package that holds the built-in ones, one module each."""
    function: str
    """The name of the function that each of them has."""
    description: type[D]
    """The type of its ``DESCRIPTION``."""

    def names(self) -> list[str]:
        """Every plugin that is present, in alphabetical order. Nothing is imported for it."""
        return sorted(self._built_in() | {point.name for point in self._entry_points()})

    def find(self, name: str) -> Plugin[F, D]:
        """The plugin called ``name``. Built-in names win over entry points.

        Raises OptionError that lists what there is for a name that is not known, and for an entry point whose
        module does not hold a function and a description of this kind; MissingExtra like `import_module`.
        """
        if name in self._built_in():
            module: object = import_module(f"{self.folder}.{name}", f"the {self.name} {name!r}")
            return self._plugin(name, module)
        for point in self._entry_points():
            if point.name == name:
                return self._plugin(name, _loaded(point, self.name), built_in=False)
        raise OptionError(f"no {self.name} is called {name!r}: choose one of {', '.join(self.names())}")

    def all(self) -> Iterator[Plugin[F, D]]:
        """Every plugin that works, in alphabetical order of the names.

        Another package's that does not is left out, with a warning in the log: it must not break the rest.
        """
        for name in self.names():
            try:
                found = self.find(name)
            except OptionError as error:
                LOG.warning("%s", error)
                continue
            yield found

    def _plugin(self, name: str, module: object, built_in: bool = True) -> Plugin[F, D]:
        function, description = getattr(module, self.function, None), getattr(module, DESCRIPTION, None)
        if not callable(function) or not isinstance(description, self.description):
            raise OptionError(
                f"the {self.name} {name!r} has to be a module with a function {self.function} and a "
                f"{DESCRIPTION} ({self.description.__name__}): ask its author"
            )
        return Plugin(name, cast("F", function), description, built_in)

    def _built_in(self) -> set[str]:
        folder = importlib.import_module(self.folder)
        found = {module.name for module in pkgutil.iter_modules(folder.__path__)}
        return {name for name in found if not name.startswith("_")}

    def _entry_points(self) -> list[EntryPoint]:
        return entry_points(group=f"edge_vss.{self.name}")


def entry_points(group: str) -> list[EntryPoint]:
    """What installed packages add to a group."""
    # Only here: importing it takes 14 ms, which every start of the program would pay.
    from importlib import metadata

    return list(metadata.entry_points(group=group))


def import_module(name: str, purpose: str) -> ModuleType:
    """A module of this package. Raises MissingExtra where it needs something that an extra installs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (lacking := missing_extra(error, purpose)) is None:
            raise
        raise lacking from None


def missing_extra(error: ImportError, purpose: str) -> MissingExtra | None:
    """What to say where an import failed; None where no extra brings the module."""
    from edge_vss.extras import extra_with  # reads packages' metadata, as `entry_points` does

    module = (error.name or "").partition(".")[0]
    needed = OPENCV if module == "cv2" else extra_with(module)
    return None if needed is None else MissingExtra(*needed, purpose)


def _loaded(point: EntryPoint, kind: str) -> object:
    try:
        found: object = point.load()
    except Exception as error:  # another package's code may fail in any way
        raise OptionError(
            f"the {kind} {point.name!r} of another package cannot be imported "
            f"({one_line(error, named=True)}): repair or remove that package"
        ) from None
    return found
