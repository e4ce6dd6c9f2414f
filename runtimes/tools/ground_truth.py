"""The ground truth: a folder of PNG files of class ids, one per frame, in natural order of their names."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import natural_order
from edge_vss.video import Size

MAX_PIXELS = 2**26
"""The largest label map that is read, in pixels: twice an 8K picture."""
MAX_BYTES = 2 * MAX_PIXELS
"""The largest file that is read: more than the largest label map without compression takes."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3
_ONE_PASS = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
"""Every pass's first row and column, and the steps to the next ones (W3C PNG, section 8.2)."""
_WANTED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
"""The chunks that hold the picture. Others (text, profiles) can unpack to any size, and say no ids."""


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

    Raises SourceError for anything else: 16-bit, colour, damaged, larger than ``MAX_PIXELS``.
    """
    data = _content(path)
    if not data.startswith(_SIGNATURE) or len(data) < 33 or data[12:16] != b"IHDR":
        raise SourceError(f"{path} is not a PNG file: label maps are PNG files of class ids")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if colour not in (_GRAY, _PALETTE) or depth > 8 or (colour == _GRAY and depth != 8):
        kinds = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}
        raise SourceError(
            f"{path} is {depth}-bit {kinds.get(colour, 'unknown')}: "
            "class ids are read from 8-bit grey or palette PNG"
        )
    if width * height > MAX_PIXELS:
        raise SourceError(
            f"{path} is {height}x{width} (height x width), and label maps have {MAX_PIXELS} pixels at most: "
            "give smaller ones"
        )
    chunks = list(_chunks(data))
    passes = _ADAM7 if interlaced else _ONE_PASS
    frame = _decoded(chunks) if _whole(chunks, _bytes_of((height, width), depth, passes)) else None
    if frame is None or (frame.height, frame.width) != (height, width):
        raise SourceError(f"{path} is damaged: export the label map again")
    stride = frame.planes[0].line_size
    rows: NDArray[np.uint8] = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(-1, stride)
    return rows[:height, :width].copy()


def _content(path: Path) -> bytes:
    try:
        # Opening a pipe would wait for its other end, and a device may never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(f"{path} is no plain file: label maps are PNG files of class ids")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}): check the place and its permissions"
        ) from None
    if len(data) > MAX_BYTES:
        raise SourceError(f"{path} has more than {MAX_BYTES} bytes: label maps are PNG files of class ids")
    return data


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the chunks that hold the picture, up to the first that is damaged (W3C PNG,
    section 5.3: length, kind, content, CRC)."""
    place = len(_SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        end = place + 12 + length
        kind, content = data[place + 4 : place + 8], data[place + 8 : end - 4]
        if kind in _WANTED:
            if end > len(data) or zlib.crc32(kind + content) != int.from_bytes(data[end - 4 : end], "big"):
                return
            yield kind, content
        place = end


def _whole(chunks: list[tuple[bytes, bytes]], expected: int) -> bool:
    """Whether nothing of the picture is missing: FFmpeg would leave it black there and say nothing."""
    if not chunks or chunks[-1][0] != b"IEND":
        return False
    packed = b"".join(content for kind, content in chunks if kind == b"IDAT")
    unpacker = zlib.decompressobj()
    try:
        # One byte more than there should be, so that the end of the stream is reached.
        return len(unpacker.decompress(packed, expected + 1)) == expected and unpacker.eof
    except zlib.error:
        return False


def _bytes_of(size: Size, depth: int, passes: tuple[tuple[int, int, int, int], ...]) -> int:
    """What the rows of all passes take, each with the byte that names its filter (W3C PNG, section 7.2)."""
    total = 0
    for top, left, down, across in passes:
        rows, columns = -(-(size[0] - top) // down), -(-(size[1] - left) // across)
        if rows > 0 and columns > 0:
            total += rows * (1 + -(-columns * depth // 8))
    return total


def _decoded(chunks: list[tuple[bytes, bytes]]) -> av.VideoFrame | None:
    # FFmpeg's decoder keeps palette indices; OpenCV and most others turn them into colours.
    data = _SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    try:
        decoder = av.CodecContext.create("png", "r")
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except (av.FFmpegError, ValueError):
        return None
    frame = frames[0] if frames else None
    return frame if isinstance(frame, av.VideoFrame) and frame.format.name in ("gray", "pal8") else None
