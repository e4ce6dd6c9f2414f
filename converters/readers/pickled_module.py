"""Whole modules that were pickled by ``torch.save``. Opening one runs code that the file brings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._factory import network_of
from edge_vss.converters.readers._saved import foreign_names, is_saved, opened, unwrapped, weights_of


def _recognises(head: Head) -> bool:
    return is_saved(head) and bool(foreign_names(head.path))


DESCRIPTION = ReaderDescription("pickled module", _recognises, ends=(".pt", ".pth"), takes_factory=True)


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The module of a file, or the network of the state dict that its checkpoint holds beside other objects.

    Raises ModelError without ``conversion.trust_pickle``, and for a damaged file.
    """
    content = opened(path, conversion.trust_pickle)
    inner = unwrapped(content) if isinstance(content, Mapping) else content
    if isinstance(inner, torch.nn.Module):
        return ReadModel(inner.cpu().float(), DESCRIPTION.title, conversion.size)
    network = network_of(path, weights_of(path, content), conversion)
    return ReadModel(network, "state dict", conversion.size)
