"""State dicts, and checkpoints that hold one: files of ``torch.save`` with tensors and plain containers."""

from __future__ import annotations

from pathlib import Path

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._factory import network_of
from edge_vss.converters.readers._saved import foreign_names, is_saved
from edge_vss.converters.readers._weights import read as read_weights


def _recognises(head: Head) -> bool:
    return is_saved(head) and not foreign_names(head.path)


DESCRIPTION = ReaderDescription("state dict", _recognises, ends=(".pt", ".pth", ".ckpt"), takes_factory=True)


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The network that ``conversion.factory`` builds, with the weights of a file.

    Raises ModelError where the weights do not fit the network or there is no factory, OptionError where the
    factory cannot be called.
    """
    network = network_of(path, read_weights(path), conversion)
    return ReadModel(network, DESCRIPTION.title, conversion.size)
