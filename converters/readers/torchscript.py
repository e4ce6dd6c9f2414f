"""TorchScript archives: what ``torch.jit.save`` writes."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import torch

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._checks import MADE_ON_A_GPU
from edge_vss.converters.readers._metadata import MOST_TEXT, Said, of_texts, value_of
from edge_vss.converters.silence import quiet
from edge_vss.errors import ModelError, one_line
from edge_vss.files import utf8_name
from edge_vss.video import Size

METADATA = "extra/config.txt"
OPENS_FILES = re.compile(rb"\b(?:torch|aten|prim)\.(save|from_file|load)\(|\bops\.\w+\.(save|from_file)\b")
"""TorchScript's few operators that read or write files of the machine that runs it."""


def is_torchscript(head: Head) -> bool:
    """Whether an archive holds TorchScript's code."""
    code = any(name.startswith("code/") for name in head.names)
    return code and "constants.pkl" in head.names and not head.is_folder


DESCRIPTION = ReaderDescription("TorchScript", is_torchscript, ends=(".pt", ".ts"))


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The module of an archive, in fp32. TorchScript reads its pickles itself, and calls no Python code.

    Raises ModelError for a damaged file, one that needs an extension, and one whose code opens files.
    """
    try:
        _check_code(path)
        with quiet():
            module: torch.nn.Module = torch.jit.load(utf8_name(path), map_location="cpu")  # type: ignore[no-untyped-call]
        said = _said(path)
        size = conversion.size or said.size
        return ReadModel(
            module if _takes_floats(module, size) else module.float(),
            DESCRIPTION.title,
            size,
            exportable=False,
            classes=said.classes,
        )
    except ModelError:
        raise
    except Exception as error:  # a damaged file, or an operator of an extension that is not loaded
        text = str(error)
        gpu = "cuda" in text.lower()
        raise ModelError(
            f"{path} cannot be loaded as TorchScript ({one_line(error)}): "
            f"{MADE_ON_A_GPU if gpu else 'save it again, or give an exported program'}"
        ) from None


def _takes_floats(module: torch.nn.Module, size: Size | None) -> bool:
    """Whether a network in half precision takes float32 as it is: its code may cast, and be fixed in that."""
    half = any(tensor.dtype != torch.float32 for tensor in module.parameters())
    if not half or size is None:
        return False
    try:
        with torch.no_grad(), quiet():
            module(torch.zeros(1, 3, *size))
    except Exception:  # whatever it trips over, it is not taken as it is
        return False
    return True


def _said(path: Path) -> Said:
    """What Ultralytics keeps in a file beside the code."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.partition("/")[2] == METADATA and entry.file_size <= MOST_TEXT:
                entries = value_of(archive.read(entry).decode(errors="replace"))
                return of_texts(path, entries) if isinstance(entries, dict) else Said()
    return Said()


def _check_code(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            inside = entry.filename.partition("/")[2]
            if inside.startswith("code/") and (found := OPENS_FILES.search(archive.read(entry))):
                raise ModelError(
                    f"{path} opens files as it runs ({found[0].decode().rstrip('(')}): do not use this model"
                )
