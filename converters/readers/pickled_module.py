"""Whole modules that were pickled by ``torch.save``. Opening one runs code that the file brings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._factory import importable, network_of
from edge_vss.converters.readers._saved import foreign_names, is_saved, opened
from edge_vss.converters.readers._weights import Fitted, picked, sets_of


def _recognises(head: Head) -> bool:
    return is_saved(head) and bool(foreign_names(head.path))


DESCRIPTION = ReaderDescription("pickled module", _recognises, ends=(".pt", ".pth"), takes_factory=True)


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The module of a file, or the network of the state dict that its checkpoint holds beside other objects.

    Raises ModelError without ``conversion.trust_pickle``, and for a damaged file.
    """
    with importable([], [str(path.resolve().parent)]):
        content = opened(path, conversion.trust_pickle)
    held = content if isinstance(content, Mapping) else {"": content}
    modules = {
        key: value
        for key, value in held.items()
        if isinstance(key, str) and isinstance(value, torch.nn.Module) and value.state_dict()
    }
    if modules and conversion.factory is None:
        name, others = picked(path, modules, conversion.weights_key)
        fitted = Fitted(name, "", "", others, ())
        return ReadModel(modules[name].cpu().float(), DESCRIPTION.title, conversion.size, notes=fitted.notes)
    if modules:
        content = {**held, **{key: module.state_dict() for key, module in modules.items()}}
    network, fitted = network_of(path, sets_of(path, content), conversion)
    return ReadModel(network, "state dict", conversion.size, notes=fitted.notes)
