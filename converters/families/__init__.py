"""One file per way to split a model into graphs, with the function ``split`` and a ``DESCRIPTION``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge_vss.converters.values import Request, Source, Split
from edge_vss.plugins import Kind


class SplitModel(Protocol):
    """A family's one function."""

    def __call__(self, source: Source, request: Request) -> Split:
        """Reads the model and splits it.

        Raises ModelError for a file that cannot be read or does not fit, OptionError for an option.
        """


@dataclass(frozen=True)
class FamilyOption:
    """An option that one family has. The command line shows it with ``convert --family NAME --help``."""

    name: str
    """As in ``Request.options``; on the command line ``--name``."""
    type: type
    """``str``, ``int``, ``float``, ``bool`` or ``Path``."""
    help: str
    metavar: str = ""
    flag: str = ""
    """How the command line spells it where that is not ``--name``."""


@dataclass(frozen=True)
class FamilyDescription:
    """What a family says of itself."""

    summary: str
    """What it does, in a few words."""
    options: tuple[FamilyOption, ...] = ()
    """What it has a choice of; anything else is refused."""


FAMILIES: Kind[SplitModel, FamilyDescription] = Kind("family", __name__, "split", FamilyDescription)
