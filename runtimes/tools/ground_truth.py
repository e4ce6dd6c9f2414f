"""True label maps: a folder of PNG files of class ids, for all frames of a video or for some."""

from __future__ import annotations

import glob
import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from edge_vss.chunks import png_chunks
from edge_vss.errors import SourceError
from edge_vss.files import open_plain, path_of, read_plain
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.sources import Source, Uri, natural_order
from edge_vss.runtimes.tools.frame_matching import MatchChoice, Matching, match
from edge_vss.runtimes.tools.label_video import LabelVideo
from edge_vss.video import Size

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3
_BYTES_OF = {"gray": 1, "pal8": 1, "ya8": 2}
"""Bytes of a pixel, the id first, in what FFmpeg makes of these; grey with a transparent value gets alpha."""
_MOST_BYTES, _MOST_PIXELS, _MOST_SIDE = 64 << 20, 1 << 27, 1 << 15
_PIECE = 1 << 20
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced picture, and the steps from there."""


class _Png(NamedTuple):
    """A PNG file whose header has been read."""

    data: bytes
    size: Size
    depth: int
    interlaced: bool


class GroundTruth:
    """The label maps of a folder, or of a pattern (``gt/*_labelIds.png``), in natural order of their names.
    Or of a video that `label` wrote (``.mkv``), a map for every frame.

    ``match`` says how they are matched with frames: ``name``, ``number``, ``number:FIRST`` (the number of the
    first frame), ``order``, or ``auto``. ``maps[i]`` is the i-th of them, read when asked for.

    Raises SourceError where there are none, OptionError for another ``match``.
    """

    def __init__(self, folder: str | Path, match: str = "auto") -> None:
        self.folder = path_of(folder, "the folder of label maps")
        self._choice = MatchChoice.parse(match)
        # A recording's folder of maps is called as the recording, whatever its ending.
        is_video = self.folder.suffix.lower() == ".mkv" and not self.folder.is_dir()
        self._video = LabelVideo(self.folder) if is_video else None
        if self._video is not None:
            # Its maps have no names, but numbers.
            self.files = [self.folder / f"{number:06d}.png" for number in range(len(self._video))]
            return
        self.files = sorted(_found(self.folder), key=natural_order)
        if not self.files:
            raise SourceError(f"{folder} holds no PNG files: give the folder of the label maps")

    def matched(self, source: Source, again: Callable[[], Source] | None) -> Matching:
        """Which of them belongs to which frame of ``source``.

        ``again`` opens the same source once more, to count its frames where that is needed; None where that
        cannot be done. Raises SourceError where it cannot be told which.
        """
        return match(self.files, self._choice, source.info, partial(counted, source, again))

    def uneven(self, source: str, frames: str) -> SourceError:
        """What to raise where maps without numbers in their names are not as many as the frames."""
        return SourceError(
            f"{self.folder} holds {len(self)} label maps, but {source} has {frames}: give one label map per "
            "frame, or let numbers in their names say which frames they are for"
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return read_labels(self.files[index]) if self._video is None else self._video[index]

    def of_file(self, file: Path, size: Size) -> NDArray[np.uint8]:
        """The label map of one of ``files``. Raises SourceError if it has not this size."""
        if self._video is None:
            return labels_of_size(file, size)
        if self._video.size != size:
            raise SourceError(_other_size(self.folder, self._video.size, size))
        return self._video[int(file.stem)]


def open_labels(place: str | Path) -> GroundTruth:
    """The label maps that `run` or `label` wrote: a folder of PNG files, or one video (``.mkv``).

    ``open_labels(place)[i]`` is uint8 (H, W), read when asked for. Raises SourceError where there are none.
    """
    return GroundTruth(place)


def again(uri: Uri, opening: Opening) -> Callable[[], Source] | None:
    """Opens a source once more, without motion; None where it can be read only once."""
    return partial(opening.open, uri, motion="none") if isinstance(uri, (str, Path)) else None


def counted(source: Source, again: Callable[[], Source] | None) -> int | None:
    """How many frames a source has, by reading it once more with ``again``; None where that cannot be done.

    A header may count frames that are not shown.
    """
    if source.info.live or again is None:
        return None
    with again() as frames:
        return sum(1 for _ in frames)


def _found(folder: Path) -> list[Path]:
    pattern = not os.path.isdir(folder) and any(mark in folder.name for mark in "*?[")
    try:
        inside = glob.glob(str(folder)) if pattern else folder.iterdir()
        return [path for path in map(Path, inside) if path.suffix.lower() == ".png"]
    except (OSError, ValueError) as error:
        raise SourceError(_no_folder(folder, error)) from None


def _no_folder(folder: Path, error: Exception) -> str:
    wanted = "give the folder that holds one PNG of class ids per frame"
    if isinstance(error, FileNotFoundError):
        return f"{folder} does not exist: {wanted}"
    if isinstance(error, NotADirectoryError):
        return f"{folder} is a file: {wanted}"
    reason = error.strerror if isinstance(error, OSError) else error
    return f"{folder} cannot be read ({reason}): {wanted}"


def labels_of_size(path: Path, size: Size) -> NDArray[np.uint8]:
    """The label map of a frame. Raises SourceError if it has not the frame's size."""
    png = _head(path)
    if png.size != size:
        raise SourceError(_other_size(path, png.size, size))
    return _decoded(path, png)


def _other_size(path: Path, is_size: Size, wanted_size: Size) -> str:
    found, wanted = (f"{height}x{width}" for height, width in (is_size, wanted_size))
    return (
        f"{path} is {found} (height x width), but the video's frames are {wanted}: "
        "give label maps of the video's size"
    )


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The ids in a grey or palette PNG: uint8 (H, W), the palette's indices and not its colours.

    Raises SourceError for anything else: 16-bit, colour, damaged, of more than 64 MB or 128 megapixels.
    """
    return _decoded(path, _head(path))


def _head(path: Path) -> _Png:
    """The file of a label map, looked at as far as its header. Raises SourceError for another kind."""
    try:
        data = read_plain(open_plain(path), _MOST_BYTES)
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}): check the place and its permissions"
        ) from None
    if not data.startswith(_SIGNATURE) or len(data) < 33 or data[12:16] != b"IHDR":
        raise SourceError(f"{path} is not a PNG file: label maps are PNG files of class ids")
    width, height, depth, colour, interlaced = struct.unpack(">IIBB2xB", data[16:29])
    if colour not in (_GRAY, _PALETTE) or depth not in (1, 2, 4, 8) or (colour == _GRAY and depth != 8):
        kinds = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}
        raise SourceError(
            f"{path} is {depth}-bit {kinds.get(colour, 'unknown')}: "
            "class ids are read from 8-bit grey or palette PNG"
        )
    if not (0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE and width * height <= _MOST_PIXELS):
        raise SourceError(
            f"{path} says it is {height}x{width} (height x width), and {_MOST_PIXELS >> 20} megapixels is "
            "the most: give maps of the video's size"
        )
    return _Png(data, (height, width), depth, bool(interlaced))


def _decoded(path: Path, png: _Png) -> NDArray[np.uint8]:
    # FFmpeg's decoder keeps palette indices; OpenCV and most others turn them into colours. It leaves black
    # what a file does not hold, which would be a class.
    frames: list[object] = []
    if _has_all_rows(png):
        try:
            decoder = av.CodecContext.create("png", "r")
            decoder.options = {"err_detect": "crccheck+explode"}
            frames = [*decoder.decode(av.Packet(_picture(png.data))), *decoder.decode(None)]
        except (av.FFmpegError, ValueError, MemoryError):
            frames = []
    if not frames or not isinstance(frames[0], av.VideoFrame):
        raise SourceError(f"{path} is damaged: export the label map again")
    frame = frames[0]
    step = _BYTES_OF.get(frame.format.name)
    if step is None or (frame.height, frame.width) != png.size:
        raise SourceError(
            f"{path} is decoded as {frame.format.name}: export the label map as 8-bit grey or palette PNG"
        )
    stride = frame.planes[0].line_size
    rows: NDArray[np.uint8] = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(-1, stride)
    return rows[: frame.height, : frame.width * step : step].copy()


def _picture(data: bytes) -> bytes:
    """The file without what is beside the picture: a text or a profile of 1 MB may unpack to gigabytes."""
    wanted = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
    kept = (data[at : at + 12 + size] for kind, at, size in png_chunks(data) if kind in wanted)
    return data[:8] + b"".join(kept)


def _has_all_rows(png: _Png) -> bool:
    """Whether the compressed pixels are as many as the header says, no more and no fewer.

    The chunks of PNG (w3.org/TR/png-3, 5.3); Adam7's seven passes where it is interlaced (8.1).
    """
    height, width = png.size
    passes = _ADAM7 if png.interlaced else ((0, 0, 1, 1),)
    wanted = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            wanted += rows * (1 + -(-columns * png.depth // 8))
    unpacked, found = zlib.decompressobj(), 0
    try:
        for kind, at, size in png_chunks(png.data):
            if unpacked.eof:
                break
            packed = png.data[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
            more = bool(packed)
            while more and found <= wanted:
                piece = unpacked.decompress(packed, _PIECE)
                found += len(piece)
                packed = unpacked.unconsumed_tail
                # What it has taken may give more than a piece.
                more = bool(packed) or len(piece) == _PIECE
    except zlib.error:
        return False
    return unpacked.eof and found == wanted
