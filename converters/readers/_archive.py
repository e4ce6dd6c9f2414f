"""ZIP archives of strangers: checked before anything in them is unpacked."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

from edge_vss.converters.silence import quiet
from edge_vss.errors import ModelError, one_line

MOST_DIRECTORY_BYTES = 32 << 20
"""The list of an archive's entries may be this long. A network with 100,000 tensors needs 10 MB."""
MOST_UNPACKED_BYTES = 256 << 20
"""All compressed entries together. PyTorch compresses only source code; weights are stored as they are."""
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def entries(file: BinaryIO, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The entries of an archive by name, folders left out.

    Nothing is unpacked. Raises ModelError for an archive that is damaged, or that would need far more memory
    than the file is large: ``path`` is what the error calls it.
    """
    size = file.seek(0, io.SEEK_END)
    try:
        if _directory_bytes(file, size) > MOST_DIRECTORY_BYTES:
            raise ModelError(f"{path} lists too many entries for a model: do not use this file")
        with zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError) as error:
        raise ModelError(
            f"{path} is a damaged PyTorch file ({one_line(error)}): copy or download it again"
        ) from None
    found = {entry.filename: entry for entry in listed if not entry.is_dir()}
    if len(found) != sum(not entry.is_dir() for entry in listed):
        raise ModelError(f"{path} has two entries of one name: do not use this file")
    if any(entry.flag_bits & 1 or entry.compress_type not in (_STORED, _DEFLATED) for entry in listed):
        raise ModelError(f"{path} has encrypted or oddly compressed entries: save the model again")
    unpacked = sum(entry.file_size for entry in listed if entry.compress_type == _DEFLATED)
    overlapping = sum(entry.compress_size for entry in listed) > size
    lying = any(entry.file_size != entry.compress_size for entry in listed if entry.compress_type == _STORED)
    if overlapping or lying or unpacked > MOST_UNPACKED_BYTES:
        raise ModelError(f"{path} unpacks to far more than it holds (a ZIP bomb): do not use this file")
    return found


def _directory_bytes(file: BinaryIO, size: int) -> int:
    """How long the list of entries is, as the archive's end says; 0 where it has no end."""
    tail = min(size, (1 << 16) + 22 + 20)
    file.seek(size - tail)
    end = file.read(tail)
    at = end.rfind(b"PK\x05\x06")
    if at < 0 or len(end) < at + 20:
        return 0
    length = int(struct.unpack_from("<L", end, at + 12)[0])
    locator = end[max(at - 20, 0) : at]
    if not locator.startswith(b"PK\x06\x07"):
        return length
    file.seek(struct.unpack_from("<Q", locator, 8)[0])
    return max(length, int(struct.unpack_from("<Q", file.read(56), 40)[0]))


def load_saved(content: bytes, path: Path, what: str) -> object:
    """What ``torch.save`` wrote into ``content``: tensors and plain containers, never code.

    Raises ModelError for anything else. ``path`` and ``what`` say where the bytes come from.
    """
    if content.startswith(b"PK"):
        entries(io.BytesIO(content), path)
    try:
        with quiet():
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle of objects, or damage in zip, pickle or storage code
        raise ModelError(
            f"{path} holds {what} that is no plain tensor, and opening it could run any code "
            f"({one_line(error)[:120]}): export the model again with tensors only"
        ) from None
