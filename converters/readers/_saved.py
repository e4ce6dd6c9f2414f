"""Files of ``torch.save``: what is in one, and opening it without running code."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from edge_vss.converters.readers import Head
from edge_vss.converters.readers.torchscript import is_torchscript
from edge_vss.converters.silence import quiet
from edge_vss.errors import ModelError, one_line

LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number that files of ``torch.save`` begin with when they are no ZIP archive."""
LEGACY_PICKLES = 3
"""How many small pickles stand before the object's own there."""
MOST_PICKLE_BYTES = 64 << 20
"""Of what is looked through for names of classes. Weights are not part of it."""
MOST_CLAIMED = 4
"""How many times the file's size its tensors may have together. Two names may share one tensor."""
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
"""Keys under which training scripts keep the state dict in a checkpoint."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""


def is_saved(head: Head) -> bool:
    """Whether a file was written by ``torch.save``."""
    if head.start.startswith(b"\x80"):
        return LEGACY in head.start[:32]
    return "data.pkl" in head.names and not head.is_folder and not is_torchscript(head)


def foreign_names(path: Path) -> list[str]:
    """The classes and functions that a file of ``torch.save`` wants beyond tensors and plain containers.

    Nothing is unpickled. Empty where that cannot be told: opening the file then says what is wrong.
    """
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    entry = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                    if archive.getinfo(entry).file_size > MOST_PICKLE_BYTES:
                        return []
                    content = archive.read(entry)
            else:
                file.seek(0)
                content = _legacy_object(file.read(MOST_PICKLE_BYTES))
        # torch only looks into its ZIP archives, so the one pickle gets one of its own.
        alone = io.BytesIO()
        with zipfile.ZipFile(alone, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", b"3")
        alone.seek(0)
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(alone))
    except Exception:  # damage of any kind, in zip or pickle code
        return []


def _legacy_object(content: bytes) -> bytes:
    stream = io.BytesIO(content)
    for _ in range(LEGACY_PICKLES):
        for _operation in pickletools.genops(stream):
            pass
    begin = stream.tell()
    for _operation in pickletools.genops(stream):
        pass
    return content[begin : stream.tell()]


def opened(path: Path, trust_pickle: bool = False) -> object:
    """What is in a file: tensors and plain containers, or with ``trust_pickle`` anything.

    Raises ModelError for a damaged file, and for one that holds more.
    """
    try:
        with quiet():
            return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if trust_pickle:
            raise ModelError(f"{path} cannot be unpickled ({one_line(error, named=True)})") from None
        names = foreign_names(path)
        shown = [name for name in names if not name.startswith(("torch.", "collections."))] or names
        what = f" ({', '.join(shown[:3])})" if shown else ""
        raise ModelError(
            f"{path} is a pickle of Python objects{what}, and opening it could run any code: save "
            "model.state_dict() and give --model file.py:function, or pass --trust-pickle if you trust it"
        ) from None
    except (AttributeError, ImportError) as error:
        raise ModelError(
            f"{path} needs code that is not here ({one_line(error, named=True)}): "
            "run where it can be imported"
        ) from None
    except Exception as error:  # a damaged file fails in zip, pickle or storage code
        raise ModelError(
            f"{path} is damaged, torch cannot read it ({one_line(error, named=True)}): "
            "copy or download it again"
        ) from None


def weights_of(path: Path, content: object) -> dict[str, Tensor]:
    """The weights in what a file holds, by name, without the prefixes of training.

    Raises ModelError where there are none, or where they claim more memory than the file is large.
    """
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}: save model.state_dict() instead")
    inner = unwrapped(content)
    assert isinstance(inner, Mapping)
    weights = {
        key: value for key, value in inner.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not weights:
        names = [key for key in inner if isinstance(key, str)][:5]
        raise ModelError(f"{path} holds a dict without weights ({', '.join(names)}): save model.state_dict()")
    # One number may stand for a thousand million: a tensor can repeat what it holds.
    claimed = sum(value.numel() * value.element_size() for value in weights.values())
    if claimed > MOST_CLAIMED * path.stat().st_size + (1 << 20):
        raise ModelError(
            f"{path} claims {claimed / 1e6:.0f} MB of weights, more than the file holds: do not use this file"
        )
    for prefix in PREFIXES * 2:  # DataParallel of a compiled network, or the other way around
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def unwrapped(content: Mapping[object, object]) -> object:
    """The state dict or module that a checkpoint keeps under one of its keys; else the whole content."""
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping | torch.nn.Module):
            return content[key]
    return content
