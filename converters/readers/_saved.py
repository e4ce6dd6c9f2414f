"""Files of ``torch.save``: what is in one, and opening it without running code."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from pathlib import Path

import torch

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
