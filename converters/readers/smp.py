"""Folders of segmentation_models.pytorch: what ``save_pretrained`` writes."""

from __future__ import annotations

from pathlib import Path

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._smp import is_folder, open_folder
from edge_vss.converters.readers._transformers import CONFIG
from edge_vss.errors import OptionError


def _recognises(head: Head) -> bool:
    return head.is_folder and CONFIG in head.names and is_folder(head.path)


DESCRIPTION = ReaderDescription(
    "folder of segmentation_models.pytorch", _recognises, ends=("folder/",), extra="convert-smp"
)


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The network of a folder, with what the folder and the encoder say of pixels.

    Nothing is fetched, and no code in the folder is run. Raises ModelError like
    `edge_vss.converters.readers._smp.open_folder`, OptionError where neither the folder nor the user says a
    size.
    """
    folder = open_folder(path)
    size = conversion.size or folder.size
    if size is None:
        multiple = f", in multiples of {folder.multiple}" if folder.multiple > 1 else ""
        raise OptionError(
            f"--size is missing: the {folder.kind} in {path} takes pictures of any size{multiple}; say "
            "which, such as --size 384x640"
        )
    return ReadModel(
        folder.network,
        f"{DESCRIPTION.title} ({folder.kind})",
        size,
        preprocess=folder.preprocess,
        classes=folder.classes,
        multiple=folder.multiple,
    )
