"""A network as a folder: ``config.json``, with the weights beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge_vss.classes import ClassSet
from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.converters.readers import ReadModel
from edge_vss.errors import ModelError, OptionError
from edge_vss.files import open_plain, read_plain
from edge_vss.video import Size

CONFIG = "config.json"
MOST_BYTES = 8 << 20
"""A config with the names of 1,000 classes takes a hundredth of this."""


@dataclass(frozen=True)
class Folder:
    """What a folder gives."""

    kind: str
    """What its config calls the network: ``segformer``, ``mask2former``, ``Unet``, ``DPT``, ..."""
    network: torch.nn.Module
    """Pixels float32 (1, 3, H, W), prepared as ``preprocess`` says → scores float32 (1, C, h, w)."""
    preprocess: Preprocess | None
    """None where the folder does not say what the network expects of its pixels."""
    size: Size | None
    """Height and width that the folder says pictures are brought to; None where it says none."""
    classes: ClassSet | None
    """None where the folder has no names for them."""
    multiple: int
    """Height and width have to be multiples of it; 1 where any will do."""

    def read_model(self, conversion: Conversion, title: str, any_size: str) -> ReadModel:
        """What a reader gives. ``any_size`` says why there is no size, in a sentence up to "; say which".

        Raises OptionError where neither the folder nor the user says a size.
        """
        size = conversion.size or self.size
        if size is None:
            raise OptionError(f"--size is missing: {any_size}; say which, such as --size 384x640")
        return ReadModel(
            self.network,
            f"{title} ({self.kind})",
            size,
            preprocess=self.preprocess,
            classes=self.classes,
            multiple=self.multiple,
        )


def read_text(path: Path) -> str:
    """A file's text; empty where it cannot be read, or is too large for a config."""
    try:
        return read_plain(open_plain(path), MOST_BYTES).decode(errors="replace")
    except (OSError, ValueError):
        return ""


def read_json(path: Path) -> dict[str, Any]:
    """A file's JSON object. Raises ModelError."""
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ModelError(f"{path} is not valid JSON of at most {MOST_BYTES >> 20} MB: download it again")
    return data
