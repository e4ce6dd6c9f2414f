"""Writes motion vectors into an ``.npz`` file, whose arrays grow on disk and not in memory."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.motion_field import MotionField, MotionVectors
from edge_vss.runtimes.sinks import writing
from edge_vss.runtimes.tracing.cells import CELL_PX, grid_of
from edge_vss.video import Size, StreamInfo

VERSION = 1
NO_TIME = np.iinfo(np.int64).min
"""In ``pts`` where a frame has none."""

PER_FRAME = {
    "index": "<i8",
    "pts": "<i8",
    "pts_seconds": "<f8",
    "picture_type": "|S1",
    "start": "|S32",
}
"""Arrays with one value a frame."""

PER_BLOCK = {
    "left_px": "<i2",
    "top_px": "<i2",
    "width_px": "<i2",
    "height_px": "<i2",
    "displacement_px": "<f4",
    "direction": "|i1",
    "reference": "|i1",
}
"""Arrays with one value a block, or two (``displacement_px``)."""

PER_CELL = {"motion_px": "<f4", "motion_known": "|b1", "motion_reference": "|i1"}
"""Arrays with one value a cell and frame, or two (``motion_px``)."""


class Saved(Protocol):
    """What a frame has that is saved."""

    @property
    def index(self) -> int: ...
    @property
    def pts_seconds(self) -> float: ...
    @property
    def pts(self) -> int | None: ...
    @property
    def picture_type(self) -> str: ...
    @property
    def size(self) -> Size: ...
    @property
    def start(self) -> str: ...
    @property
    def vectors(self) -> MotionVectors | None: ...
    @property
    def motion(self) -> MotionField | None: ...


class VectorWriter:
    """Takes frames; ``finish`` makes the file of them. Without it nothing is left. A context manager."""

    def __init__(self, path: Path, stream: StreamInfo) -> None:
        """Raises SinkError where nothing can be written there."""
        self._path = Path(os.path.realpath(path))
        self._stream = stream
        self._frames = self._blocks = 0
        self._stack = ExitStack()
        self._spools: dict[str, IO[bytes]] = {}
        with writing(path), self._stack as stack:
            for name in (*PER_FRAME, "offsets", *PER_BLOCK, *PER_CELL):
                # Beside the file: a folder for temporary files is often in memory.
                spool = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
                self._spools[name] = stack.enter_context(spool)
            self._stack = stack.pop_all()
        self._append("offsets", np.array([0], "<i8"))

    def add(self, frame: Saved) -> None:
        """Takes the next frame. Raises SinkError where the disk is full, SourceError for another size."""
        if frame.size != self._stream.size:
            raise SourceError(
                f"frame {frame.index} is {frame.size} and those before it are {self._stream.size}, which one "
                f"file cannot hold: save {self._frames} frames (limit)"
            )
        values: dict[str, Any] = {
            "index": frame.index,
            "pts": NO_TIME if frame.pts is None else frame.pts,
            "pts_seconds": frame.pts_seconds,
            "picture_type": frame.picture_type.encode(),
            "start": str(frame.start).encode(),
        }
        for name, value in values.items():
            self._append(name, np.array([value], PER_FRAME[name]))
        for name, array in _of_blocks(frame.vectors).items():
            self._append(name, array.astype(PER_BLOCK[name], copy=False))
        for name, array in _of_cells(frame.motion, grid_of(frame.size)).items():
            self._append(name, array.astype(PER_CELL[name], copy=False))
        self._frames += 1
        self._blocks += 0 if frame.vectors is None else len(frame.vectors)
        self._append("offsets", np.array([self._blocks], "<i8"))

    def finish(self) -> int:
        """Writes the file, whole or not at all; returns how many frames it has. Raises SinkError."""
        beside = self._path.with_name(f".{self._path.name}.saving")
        with writing(self._path):
            try:
                with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as target:
                    for name, array in self._about().items():
                        self._member(target, name, array.dtype.str, array.shape, array.tobytes())
                    for name, (kind, shape) in self._shapes().items():
                        self._member(target, name, kind, shape, self._spools[name])
                descriptor = os.open(beside, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                beside.replace(self._path)
            except BaseException:
                with suppress(OSError):
                    beside.unlink(missing_ok=True)
                raise
        return self._frames

    def _append(self, name: str, array: NDArray[Any]) -> None:
        with writing(self._path):
            self._spools[name].write(np.ascontiguousarray(array).tobytes())

    def _about(self) -> dict[str, NDArray[Any]]:
        base = self._stream.time_base
        return {
            "version": np.array(VERSION, "<i8"),
            "codec": np.array(self._stream.codec.encode(), "|S32"),
            "size": np.array(self._stream.size, "<i8"),
            "fps": np.array(self._stream.fps, "<f8"),
            "time_base": np.array((0, 1) if base is None else base.as_integer_ratio(), "<i8"),
            "cell_px": np.array(CELL_PX, "<i8"),
        }

    def _shapes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return shapes(self._frames, self._blocks, self._stream.size)

    def _member(
        self,
        target: zipfile.ZipFile,
        name: str,
        kind: str,
        shape: tuple[int, ...],
        content: bytes | IO[bytes],
    ) -> None:
        # ZipInfo has a fixed date: the same video gives the same file.
        with target.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
            write_array_header_1_0(member, {"descr": kind, "fortran_order": False, "shape": shape})
            if isinstance(content, bytes):
                member.write(content)
            else:
                content.seek(0)
                shutil.copyfileobj(content, member, 1 << 20)

    def __enter__(self) -> VectorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def shapes(frames: int, blocks: int, size: Size) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name → type and shape of every array that grows, for so many frames and blocks."""
    grid = grid_of(size)
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        name: (kind, (frames,)) for name, kind in PER_FRAME.items()
    }
    found["offsets"] = ("<i8", (frames + 1,))
    found |= {name: (kind, (blocks,)) for name, kind in PER_BLOCK.items()}
    found["displacement_px"] = ("<f4", (blocks, 2))
    found |= {name: (kind, (frames, *grid)) for name, kind in PER_CELL.items()}
    found["motion_px"] = ("<f4", (frames, 2, *grid))
    return found


def _of_blocks(vectors: MotionVectors | None) -> Mapping[str, NDArray[Any]]:
    if vectors is None:
        return {}
    unknown = np.zeros(len(vectors), np.int8)
    return {
        "left_px": vectors.left_px,
        "top_px": vectors.top_px,
        "width_px": vectors.width_px,
        "height_px": vectors.height_px,
        "displacement_px": vectors.displacement_px.T,
        "direction": vectors.direction,
        "reference": unknown if vectors.reference is None else vectors.reference,
    }


def _of_cells(motion: MotionField | None, grid: Size) -> Mapping[str, NDArray[Any]]:
    if motion is None:
        motion = MotionField(
            np.zeros((2, *grid), np.float32), np.zeros(grid, np.bool_), np.zeros(grid, np.int8), CELL_PX
        )
    return {
        "motion_px": motion.displacement_px,
        "motion_known": motion.known,
        "motion_reference": motion.reference,
    }
