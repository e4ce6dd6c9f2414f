"""One palette PNG of class ids per frame: any program reads the ids, and any viewer shows the colours.

Of a bundle with several heads, the first goes into the folder itself, and each other into a folder in it,
which is called like the head. A matte is a grey PNG.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_vss.claim import Claim
from edge_vss.decisions import Prediction
from edge_vss.errors import SinkError
from edge_vss.runtimes.sinks import SinkContext, SinkDescription, writing
from edge_vss.video import Frame

Palette = tuple[tuple[int, int, int], ...]

DESCRIPTION = SinkDescription(
    "a palette PNG of class ids per frame", unit="label maps", place="folder", pictures=False
)


def open(path: str | Path, context: SinkContext) -> LabelFolders:
    """Opens a folder, making it where it is missing. Raises SinkError where it cannot be written to."""
    return LabelFolders(Path(path), context)


_LOCK = ".edge-vss-labels.lock"
_PART = ".edge-vss-labels.part"


class LabelFolders:
    """A `LabelFolder` for every head."""

    def __init__(self, folder: Path, context: SinkContext) -> None:
        self._folders: list[LabelFolder] = []
        try:
            self._folders.append(LabelFolder(folder, context.palette))
            for head in context.heads[1:]:
                palette = None if head.is_matte else head.palette
                self._folders.append(LabelFolder(folder / head.name, palette, head.name))
        except BaseException:
            self.close()
            raise

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Writes one map for every head."""
        for folder in self._folders:
            folder.write(frame, prediction)

    def close(self) -> None:
        """Lets others write to the folders."""
        for folder in self._folders:
            folder.close()

    def remark(self) -> str:
        """How many label maps of an earlier run are left among these."""
        older = sum(folder.older for folder in self._folders)
        return f"{older} older ones were left there" if older else ""


class LabelFolder:
    """Writes ``000000.png``, ``000001.png``, ... named by the frame's index.

    Each file appears whole or not at all. Files of the same name are replaced, others are left alone. One at
    a time writes to a folder. A killed process leaves up to two hidden files, which the next one to write
    there takes away.
    """

    def __init__(self, folder: Path, palette: Palette | None, head: str = "") -> None:
        """``head`` is the map that is written, empty for the first; ``palette`` is None for a matte."""
        self._folder = folder
        self._palette = palette
        self._head = head
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Found out now rather than after the first key frame.
            self._claim = self._claimed()
            (folder / _PART).unlink(missing_ok=True)
            self._older = {path.name for path in folder.glob("*.png") if path.stem.isdecimal()}

    def _claimed(self) -> Claim:
        try:
            return Claim(self._folder / _LOCK)
        except BlockingIOError:
            raise SinkError(
                f"{self._folder} is in use (another process writes label maps there): choose another folder"
            ) from None

    @property
    def older(self) -> int:
        """Label maps that were there before and have not been replaced."""
        return len(self._older)

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Writes one label map."""
        self.write_map(prediction.index, prediction.heads[self._head] if self._head else prediction.labels)

    def write_map(self, index: int, values: NDArray[np.uint8]) -> None:
        """Writes one map of any kind."""
        target = self._folder / f"{index:06d}.png"
        part = self._folder / _PART
        try:
            with writing(target):
                part.write_bytes(encode_png(values, self._palette))
                part.replace(target)
            self._older.discard(target.name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Lets others write to the folder."""
        self._claim.release()


def encode_png(labels: NDArray[np.uint8], palette: Palette | None) -> bytes:
    """A PNG (W3C PNG, section 11) of (H, W) uint8: class ids with their colours, without a palette greys."""
    height, width = labels.shape
    # Filter 0 before every row: ids are no gradient, so the other filters only make label maps larger.
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = labels
    grey = palette is None
    colours = bytes(value for colour in palette or () for value in colour).ljust(256 * 3, b"\x00")
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if grey else 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        *(() if grey else ((b"PLTE", colours),)),
        (b"IDAT", zlib.compress(rows.tobytes(), 1)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
