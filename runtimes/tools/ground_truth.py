"""True label maps: a folder of PNG files of class ids, one per frame, in natural order of their names."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import natural_order
from edge_vss.video import Size

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3
_BYTES_OF = {"gray": 1, "pal8": 1, "ya8": 2}
"""Bytes of a pixel, the id first, in what FFmpeg makes of these; grey with a transparent value gets alpha."""


class GroundTruth:
    """The label maps of a folder; ``maps[i]`` is read when asked for. SourceError where there are none."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            found = "is a file" if self.folder.exists() else "does not exist"
            raise SourceError(f"{folder} {found}: give the folder that holds one PNG of class ids per frame")
        self.files = sorted(
            (path for path in self.folder.iterdir() if path.suffix.lower() == ".png"), key=natural_order
        )
        if not self.files:
            raise SourceError(f"{folder} holds no PNG files: give the folder of the label maps")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return read_labels(self.files[index])

    def matching(self, index: int, size: Size) -> NDArray[np.uint8]:
        """The label map of a frame. Raises SourceError if it has not the frame's size."""
        labels = self[index]
        if labels.shape != size:
            found, wanted = (f"{height}x{width}" for height, width in (labels.shape, size))
            raise SourceError(
                f"{self.files[index]} is {found} (height x width), but the video's frames are {wanted}: "
                "give label maps of the video's size"
            )
        return labels


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The ids in a grey or palette PNG: uint8 (H, W), the palette's indices and not its colours.

    Raises SourceError for anything else: 16-bit, colour, damaged.
    """
    # FFmpeg's decoder keeps palette indices; OpenCV and most others turn them into colours.
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}): check the place and its permissions"
        ) from None
    if not data.startswith(_SIGNATURE) or len(data) < 33:
        raise SourceError(f"{path} is not a PNG file: label maps are PNG files of class ids")
    depth, colour = data[24], data[25]
    if colour not in (_GRAY, _PALETTE) or depth > 8 or (colour == _GRAY and depth != 8):
        kinds = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}
        raise SourceError(
            f"{path} is {depth}-bit {kinds.get(colour, 'unknown')}: "
            "class ids are read from 8-bit grey or palette PNG"
        )
    try:
        decoder = av.CodecContext.create("png", "r")
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except av.FFmpegError:
        frames = []
    if not frames or not isinstance(frames[0], av.VideoFrame):
        raise SourceError(f"{path} is damaged: export the label map again")
    frame = frames[0]
    step = _BYTES_OF.get(frame.format.name)
    if step is None:
        raise SourceError(
            f"{path} is decoded as {frame.format.name}: export the label map as 8-bit grey or palette PNG"
        )
    stride = frame.planes[0].line_size
    rows: NDArray[np.uint8] = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(-1, stride)
    return rows[: frame.height, : frame.width * step : step].copy()
