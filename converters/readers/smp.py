"""Folders of segmentation_models.pytorch: what ``save_pretrained`` writes."""

from __future__ import annotations

from pathlib import Path

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._folder import CONFIG
from edge_vss.converters.readers._smp import is_folder, open_folder


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
    multiple = f", in multiples of {folder.multiple}" if folder.multiple > 1 else ""
    any_size = f"the {folder.kind} in {path} takes pictures of any size{multiple}"
    return folder.read_model(conversion, DESCRIPTION.title, any_size)
