"""One file per artifact format, with the function ``export`` and a ``DESCRIPTION``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from edge_vss.converters.values import Artifact, Part
from edge_vss.plugins import Kind


class Export(Protocol):
    """A target's one function."""

    def __call__(
        self, parts: Sequence[Part], folder: Path, metadata: Mapping[str, Mapping[str, str]]
    ) -> list[Artifact]:
        """Writes every part into ``folder``, with ``metadata`` of its role inside the artifact.

        Raises MissingExtra where a package is missing, ModelError for what the format cannot express.
        """


@dataclass(frozen=True)
class TargetDescription:
    """What a target says of itself. Reading it imports no vendor's library."""

    summary: str
    modules: tuple[str, ...]
    """What writing imports, all of them."""
    extra: str
    """The extra of edge-vss that installs them."""

    @property
    def installed(self) -> bool:
        """Whether all that it imports is there."""
        return all(find_spec(module) is not None for module in self.modules)


TARGETS: Kind[Export, TargetDescription] = Kind("target", __name__, "export", TargetDescription)
