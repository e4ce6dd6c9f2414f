"""One file per way a model comes in, with the function ``read`` and a ``DESCRIPTION``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from edge_vss.classes import ClassSet
from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.plugins import Kind
from edge_vss.video import Size


@dataclass(frozen=True)
class Head:
    """What can be seen of a file or folder without opening a model: enough to recognise it."""

    path: Path
    start: bytes = b""
    """The first 512 bytes of a file; nothing of a folder."""
    names: frozenset[str] = frozenset()
    """What is in a folder, or in a ZIP archive: each entry with and without its first folder."""
    is_folder: bool = False


@dataclass(frozen=True)
class ReadModel:
    """A model as its reader gives it: it takes one picture, and gives scores or labels among its outputs."""

    module: torch.nn.Module
    kind: str
    """What the file was, in words that a user knows: ``exported program``, ``state dict``, ..."""
    size: Size | None = None
    """Height and width of its pictures: what the file fixes, else what was asked for, else None."""
    layout: str = "NCHW"
    """How it takes a picture: ``NCHW`` or ``NHWC``."""
    dtype: str = "float32"
    """Of which numbers: ``float32`` (scaled), or ``uint8`` and ``int8`` (pixels as they are)."""
    select: Callable[..., torch.nn.Module] | None = None
    """Gives the same model with one or more outputs, by name, in that order. None where torch can do that."""
    has_mode: bool = True
    """False where training or evaluation mode was fixed when the file was written."""
    exportable: bool = True
    """Whether torch.export can look inside, to find state that the module changes."""
    preprocess: Preprocess | None = None
    """What the model's own files say of its pixels, where they do."""
    classes: ClassSet | None = None
    """What they say of its classes, where they do."""
    multiple: int = 1
    """What the height and width of its pictures have to be multiples of."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else to say of how it was read, by name; kept in the manifest."""
    quantised: tuple[float, int] | None = None
    """Scale and zero point of a quantised picture; None for float32, and for pixels as they are."""


class Read(Protocol):
    """A reader's one function."""

    def __call__(self, path: Path, conversion: Conversion) -> ReadModel:
        """Reads the model at ``path``, which may come from a stranger: no code of it runs unless
        ``conversion.trust_pickle``, and sizes are bounded before memory is taken.

        Raises ModelError for what cannot be read, OptionError for an option, MissingExtra without a package.
        """


@dataclass(frozen=True)
class ReaderDescription:
    """What a reader says of itself. Reading it imports no vendor's library."""

    title: str
    """What such a file is called: ``ONNX``."""
    recognises: Callable[[Head], bool]
    """Whether a file or folder is one of these, by its content and never by its name."""
    ends: tuple[str, ...] = ()
    """How such files are usually called, for help texts: ``.onnx``."""
    extra: str = "convert"
    """The extra of edge-vss that installs what it imports."""
    takes_factory: bool = False
    """Whether it needs the function that builds the network (``Conversion.factory``)."""
    targets: tuple[str, ...] = ()
    """The targets that can hold such an artifact as it is; the first is the usual one. Empty where torch can
    export the model for any target."""


READERS: Kind[Read, ReaderDescription] = Kind("reader", __name__, "read", ReaderDescription)
