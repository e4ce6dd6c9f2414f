"""Folders of Hugging Face: ``config.json`` with the weights and the preprocessor beside it."""

from __future__ import annotations

from pathlib import Path

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._folder import CONFIG
from edge_vss.converters.readers._transformers import is_folder, open_folder


def _recognises(head: Head) -> bool:
    return head.is_folder and CONFIG in head.names and is_folder(head.path)


DESCRIPTION = ReaderDescription("Hugging Face folder", _recognises, ends=("folder/",), extra="convert-hf")


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The network of a folder, with what the folder says of pixels and classes.

    Nothing is fetched, and no code in the folder is run. Raises ModelError like
    `edge_vss.converters.readers._transformers.open_folder`, OptionError where neither the folder nor the user
    says a size.
    """
    folder = open_folder(path)
    any_size = f"{path} brings pictures of any shape to one scale"
    return folder.read_model(conversion, DESCRIPTION.title, any_size)
