"""One file per way to split a model into graphs, with the function ``split`` and a ``DESCRIPTION``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.values import Split
from edge_vss.errors import OptionError
from edge_vss.plugins import Kind

OptionType: TypeAlias = type[str] | type[int] | type[float] | type[bool] | type[Path]


class SplitModel(Protocol):
    """A family's one function."""

    def __call__(self, conversion: Conversion) -> Split:
        """Reads the model and splits it. ``conversion.options`` holds only options that the family declares,
        each of its type.

        Raises ModelError for a file that cannot be read or does not fit, OptionError for an option.
        """


@dataclass(frozen=True)
class FamilyOption:
    """An option that one family has. The command line shows it with ``convert --family NAME --help``."""

    name: str
    """As in ``Conversion.options``; on the command line ``--name``."""
    type: OptionType
    """A ``Path`` is a file that the model consists of too: ``verify`` asks for it again."""
    help: str
    metavar: str = ""
    flag: str = ""
    """How the command line spells it where that is not ``--name``. It may be that of an option which all
    conversions have, and then takes its place."""

    @property
    def spelling(self) -> str:
        """Its name on the command line."""
        return self.flag or f"--{self.name}"


@dataclass(frozen=True)
class FamilyDescription:
    """What a family says of itself."""

    summary: str
    """What it does, in a few words."""
    options: tuple[FamilyOption, ...] = ()
    """What it has a choice of; anything else is refused."""
    heads: bool = False
    """Whether it takes several outputs of a network, and mattes."""


FAMILIES: Kind[SplitModel, FamilyDescription] = Kind("family", __name__, "split", FamilyDescription)


def split(conversion: Conversion) -> Split:
    """Split a model in the way of its family.

    Raises OptionError for an option that the family does not have or of another type, for several outputs
    where it takes one, and what the family raises.
    """
    family = FAMILIES.find(conversion.family)
    if conversion.several and not family.description.heads:
        raise OptionError(
            f"family {family.name} gives one label map, and --output and --matte ask for "
            f"{', '.join((*conversion.outputs, *conversion.mattes))}: take --family propagate"
        )
    options = _checked(family.name, family.description.options, conversion.options)
    return family.call(replace(conversion, options=options))


def _checked(
    family: str, declared: tuple[FamilyOption, ...], options: Mapping[str, object]
) -> dict[str, object]:
    known = {option.name: option for option in declared}
    if unknown := sorted(set(options) - set(known)):
        knows = f"it knows {', '.join(known)}" if known else "it has none"
        raise OptionError(f"family {family} has no option {unknown[0]!r}: {knows}")
    return {name: _typed(known[name], value) for name, value in options.items()}


def _typed(option: FamilyOption, value: object) -> object:
    wanted = option.type
    if wanted is Path and isinstance(value, str):
        return Path(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise OptionError(f"{option.spelling} {value!r}: give a value of type {wanted.__name__.lower()}")
    return value
