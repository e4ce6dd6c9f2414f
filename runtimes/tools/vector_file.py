"""Reads a file of motion vectors, frame by frame, however long the video was."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_magic
from numpy.typing import NDArray

from edge_vss.errors import OptionError, SourceError
from edge_vss.files import open_plain
from edge_vss.motion_field import MotionField, MotionVectors
from edge_vss.runtimes.tools._vector_writer import NO_TIME, VERSION, shapes
from edge_vss.runtimes.tools.vectors import ComposedMotion, FrameVectors, compose_motion
from edge_vss.runtimes.tracing.cells import CELL_PX
from edge_vss.video import Size

_LARGEST_SIDE = 1 << 15
_LOCAL_HEADER_BYTES = 30
_ABOUT = {
    "version": ("<i8", ()),
    "codec": ("|S32", ()),
    "size": ("<i8", (2,)),
    "fps": ("<f8", ()),
    "time_base": ("<i8", (2,)),
    "cell_px": ("<i8", ()),
}


@dataclass(frozen=True)
class _Place:
    """An array's place in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int


class VectorFile:
    """The frames of a saved video: a sequence of `FrameVectors`, and a context manager.

    Each is read from the disk when it is asked for. Several threads may ask.
    """

    codec: str
    """FFmpeg's name of the codec."""
    size: Size
    """Height and width in pixels, as shown."""
    fps: float
    """Frames per second, as the headers of the video said."""
    time_base: Fraction | None
    """Seconds per unit of ``pts``; None where the video had no times."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        try:
            self._file = open_plain(self._path)
        except OSError as error:
            raise SourceError(
                f"cannot read {path} ({error.strerror or error}): give a file of edge-vss motion --save"
            ) from None
        try:
            self._places = self._found(_places(self._path, self._file))
            self._offsets = self._all("offsets")
            blocks = self._places["left_px"].shape[0]
            rises = (np.diff(self._offsets) >= 0).all()
            if self._offsets[0] != 0 or self._offsets[-1] != blocks or not rises:
                _refuse(path, "its offsets do not fit its blocks")
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self._offsets) - 1

    def __iter__(self) -> Iterator[FrameVectors]:
        for frame in range(len(self)):
            yield self[frame]

    def __getitem__(self, frame: int) -> FrameVectors:
        """A frame by its place in the file, 0 for the first; negative from the end. Raises IndexError."""
        if not -len(self) <= frame < len(self):
            raise IndexError(f"frame {frame} of {len(self)}")
        frame %= len(self)
        pts = int(self._rows("pts", frame)[0])
        start = _text(self._rows("start", frame)[0])
        return FrameVectors(
            index=int(self._rows("index", frame)[0]),
            pts_seconds=float(self._rows("pts_seconds", frame)[0]),
            pts=None if pts == NO_TIME else pts,
            picture_type=_text(self._rows("picture_type", frame)[0]),
            size=self.size,
            start=start,
            vectors=self._vectors(frame),
            motion=None if start else self.motion(frame),
        )

    def motion(self, frame: int) -> MotionField:
        """The motion of every cell of a frame towards the frame before it in the file."""
        return MotionField(
            self._rows("motion_px", frame)[0],
            self._rows("motion_known", frame)[0],
            self._rows("motion_reference", frame)[0],
            CELL_PX,
            "codec",
        )

    def compose(self, frame: int, earlier: int) -> ComposedMotion:
        """The motion from a frame back to an earlier one, by their places in the file.

        Raises OptionError where ``earlier`` does not come before ``frame``, where there is no such frame, and
        where nothing leads from one to the other: after lost packets, for one.
        """
        if not 0 <= earlier < frame < len(self):
            raise OptionError(
                f"motion leads to an earlier frame (0 to {len(self) - 1}), not from {frame} to {earlier}"
            )
        between = range(earlier + 1, frame + 1)
        for place, start in zip(between, self._rows("start", earlier + 1, frame + 1), strict=True):
            if start:
                raise OptionError(
                    f"frame {place} does not follow on from the one before ({_text(start)}): begin behind it"
                )
        return compose_motion(self.motion(place) for place in between)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> VectorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _vectors(self, frame: int) -> MotionVectors | None:
        first, end = int(self._offsets[frame]), int(self._offsets[frame + 1])
        if first == end:
            return None
        names = ("left_px", "top_px", "width_px", "height_px", "displacement_px", "direction", "reference")
        left, top, width, height, displacement, direction, reference = (
            self._rows(name, first, end) for name in names
        )
        turned = np.ascontiguousarray(displacement.T)
        return MotionVectors(left, top, width, height, turned, direction, reference)

    def _found(self, places: dict[str, _Place]) -> dict[str, _Place]:
        """The places of all arrays, which must be what they say."""
        for name, (kind, shape) in _ABOUT.items():
            place = places.get(name)
            if place is None or place.dtype != np.dtype(kind) or place.shape != shape:
                _refuse(self._path, f"it has no {name}")
        self._places = places
        about = {name: self._all(name) for name in _ABOUT}
        height, width = (int(side) for side in about["size"])
        base, unit = (int(number) for number in about["time_base"])
        if int(about["version"]) != VERSION or int(about["cell_px"]) != CELL_PX:
            _refuse(self._path, "it is of another version")
        if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE and base >= 0 and unit > 0):
            _refuse(self._path, "its size or time base makes no sense")
        self.codec, self.size = _text(about["codec"].item()), (height, width)
        self.fps, self.time_base = float(about["fps"]), Fraction(base, unit) if base else None
        frames = places["index"].shape if "index" in places else ()
        blocks = places["left_px"].shape if "left_px" in places else ()
        if len(frames) != 1 or len(blocks) != 1:
            _refuse(self._path, "arrays are missing")
        for name, (kind, shape) in shapes(frames[0], blocks[0], self.size).items():
            place = places.get(name)
            if place is None or place.dtype != np.dtype(kind) or place.shape != shape:
                _refuse(self._path, f"{name} is not {kind} of shape {shape}")
        return places

    def _all(self, name: str) -> NDArray[Any]:
        place = self._places[name]
        return self._read(name, place.offset, place.shape)

    def _rows(self, name: str, first: int, end: int | None = None) -> NDArray[Any]:
        place = self._places[name]
        end = first + 1 if end is None else end
        row = int(np.prod(place.shape[1:], dtype=np.int64)) * place.dtype.itemsize
        return self._read(name, place.offset + first * row, (end - first, *place.shape[1:]))

    def _read(self, name: str, offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
        dtype = self._places[name].dtype
        array = np.empty(shape, dtype)
        content = array.reshape(-1).view(np.uint8)
        try:
            with self._lock:
                self._file.seek(offset)
                count = self._file.readinto(content.data)
        except (OSError, ValueError) as error:
            raise SourceError(f"cannot read {self._path} ({error}): open it again") from None
        if count != content.nbytes:
            _refuse(self._path, "it ends too early")
        return array


def load_vectors(path: str | Path) -> VectorFile:
    """Opens a file that `save_vectors` or ``edge-vss motion --save`` wrote.

    Raises SourceError for a file that cannot be read, is none of these, or is damaged.
    """
    return VectorFile(path)


def _refuse(path: str | Path, reason: str) -> NoReturn:
    raise SourceError(
        f"{path} holds no motion vectors ({reason}): write it with edge-vss motion --save"
    ) from None


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")


def _places(path: Path, file: BufferedReader) -> dict[str, _Place]:
    """Where the arrays of an ``.npz`` lie in it. Nothing is unpacked, and nothing is executed."""
    found = {}
    end = file.seek(0, 2)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                _refuse(path, "it is compressed")
            file.seek(member.header_offset)
            local = file.read(_LOCAL_HEADER_BYTES)
            begin = member.header_offset + _LOCAL_HEADER_BYTES
            begin += int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
            file.seek(begin)
            if read_magic(file) != (1, 0):
                _refuse(path, "an array is of another version")
            shape, column_major, dtype = read_array_header_1_0(file)
            offset = file.tell()
            nbytes = dtype.itemsize
            for side in shape:
                nbytes *= side
            whole = offset - begin + nbytes == member.file_size and offset + nbytes <= end
            if column_major or dtype.hasobject or min(shape, default=0) < 0 or not whole:
                _refuse(path, f"{member.filename} is damaged")
            found[member.filename.removesuffix(".npy")] = _Place(dtype, shape, offset)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        _refuse(path, str(error) or type(error).__name__)
    return found
