"""State dicts, and checkpoints that hold one: files of ``torch.save`` with tensors and plain containers, and
of safetensors."""

from __future__ import annotations

from pathlib import Path

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._factory import network_of
from edge_vss.converters.readers._saved import foreign_names, is_saved
from edge_vss.converters.readers._weights import is_safetensors, read_sets


def _recognises(head: Head) -> bool:
    return is_safetensors(head.start) or (is_saved(head) and not foreign_names(head.path))


DESCRIPTION = ReaderDescription(
    "state dict", _recognises, ends=(".pt", ".pth", ".ckpt", ".safetensors"), takes_factory=True
)


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The network that ``conversion.factory`` builds, with the weights of a file.

    Raises ModelError where no weights fit the network or there is no factory, OptionError where the factory
    cannot be called, MissingExtra without safetensors.
    """
    network, fitted = network_of(path, read_sets(path), conversion)
    return ReadModel(network, DESCRIPTION.title, conversion.size, notes=fitted.notes)
