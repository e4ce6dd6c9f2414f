"""One grey PNG per frame: how far the labels of each cell of 8 by 8 pixels are to be trusted, 0 to 255."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError
from edge_vss.runtimes.sinks import SinkContext, SinkDescription
from edge_vss.runtimes.sinks.labels import LabelFolder
from edge_vss.video import Frame

DESCRIPTION = SinkDescription(
    "a grey PNG of the labels' confidence per frame", unit="confidence maps", place="folder", pictures=False
)


def open(path: str | Path, context: SinkContext) -> ConfidenceMaps:
    """Opens a folder, making it where it is missing. Raises SinkError where it cannot be written to."""
    return ConfidenceMaps(Path(path))


class ConfidenceMaps:
    """Writes ``000000.png``, ``000001.png``, ... named by the frame's index; see `LabelFolder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = LabelFolder(folder, None, "confidence")

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Writes one map. Raises OptionError for a bundle whose labels are not carried."""
        self._folder.write_map(prediction.index, grey(prediction))

    def close(self) -> None:
        """Lets others write to the folder."""
        self._folder.close()

    def remark(self) -> str:
        """How many maps of an earlier run are left among these."""
        return f"{self._folder.older} older ones were left there" if self._folder.older else ""


def grey(prediction: Prediction) -> NDArray[np.uint8]:
    """(h, w) uint8, a pixel a cell: 255 is full confidence. Raises OptionError where there is none."""
    confidence = prediction.confidence
    if confidence is None:
        raise OptionError(
            "this bundle remembers what it saw, and its labels are not carried from key frames: "
            "leave the confidence out"
        )
    return np.rint(confidence.cells * 255).astype(np.uint8)
