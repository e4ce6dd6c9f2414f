"""Sources without a codec: arrays, iterables of arrays, folders and globs of images."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.orientation import of_webp
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.sources import (
    DEFAULT_FPS,
    IMAGE_SUFFIXES,
    SourceDescription,
    SourceOptions,
    natural_order,
)
from edge_vss.video import Frame, Size, StreamInfo

DESCRIPTION = SourceDescription("arrays, folders and globs of images")


def open(source: Any, options: SourceOptions = SourceOptions()) -> ArrayReader:
    """Opens uint8 RGB arrays, or the images of a folder or glob in natural order (2.png before 10.png)."""
    fps, live = options.fps or DEFAULT_FPS, options.live
    if isinstance(source, Path):
        return ArrayReader(_FolderImages(source), str(source), fps, live)
    name = f"{type(source).__name__} of frames"
    if isinstance(source, np.ndarray):
        if source.ndim not in (3, 4):
            raise SourceError(
                f"an array of frames must be (N, H, W, 3) uint8 RGB, got shape {source.shape}: "
                "stack the frames first"
            )
        source = source if source.ndim == 4 else source[None]
    if not isinstance(source, Iterable):
        raise SourceError(f"{source!r} is no source: give a path, a URL, a camera number or arrays")
    return ArrayReader(source, name, fps, live)


@dataclass(frozen=True)
class ArrayPicture:
    """A picture that is already RGB."""

    pixels: NDArray[np.uint8]

    @property
    def device(self) -> str:
        """Arrays are in memory."""
        return "cpu"

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.pixels.nbytes

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, scaled to ``size`` when it is given; the array itself when it fits."""
        if size is None or size == self.pixels.shape[:2]:
            return self.pixels
        shrinks = size[0] * size[1] < self.pixels.shape[0] * self.pixels.shape[1]
        # As decoded video is scaled: every pixel of the source counts.
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self.pixels, size[::-1], interpolation=how), np.uint8)

    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness, BT.601 weights."""
        return np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY), np.uint8)


class ArrayReader:
    """Frames from an iterable of arrays: an iterator once, a list or an array from any position."""

    errors = 0

    def __init__(self, images: Iterable[NDArray[np.uint8]], name: str, fps: float, live: bool) -> None:
        self._images = images
        self._fps = fps
        self._begin = 0
        self._reason = "first frame"
        iterator = iter(images)
        try:
            first = _checked(next(iterator), 0)
        except StopIteration:
            raise SourceError(f"{name} is empty: give at least one frame") from None
        count = len(images) if isinstance(images, Sized) else None
        # An iterator cannot be asked for its first array twice.
        self._once = chain([first], iterator) if iterator is images else None
        self.info = StreamInfo(
            uri=name,
            codec="",
            size=first.shape[:2],
            fps=fps,
            frames=count,
            live=live,
            duration_seconds=count / fps if count is not None else None,
        )

    def frames(self) -> Iterator[Frame]:
        """Every frame, timed by ``fps``. Raises SourceError for an array that is no uint8 RGB image."""
        size: Size | None = None
        images = iter(self._images if self._once is None else self._once)
        index = -1
        while True:
            started = perf_counter()
            try:
                image = next(images)
            except StopIteration:
                return
            index += 1
            if index < self._begin:
                continue
            pixels = _checked(image, index)
            shown: Size = pixels.shape[:2]
            start = self._reason if size is None else "size changed" if shown != size else ""
            size = shown
            seconds = {"decode": perf_counter() - started}
            yield Frame(index, index / self._fps, "?", shown, ArrayPicture(pixels), start, seconds=seconds)

    def listen(self, listener: Listener) -> None:
        """There are no packets."""

    def seek(self, seconds: float) -> None:
        """Begin again at the first frame at or after this time."""
        if self._once is not None:
            raise SourceError(
                f"cannot seek in {self.info.uri}: give a list or an array, which can be read again"
            )
        self._begin = max(0, int(np.ceil(seconds * self._fps - 1e-6)))
        self._reason = "seek"

    def close(self) -> None:
        """Nothing to let go of."""


class _FolderImages:
    """The images of a folder or glob, read one by one."""

    def __init__(self, where: Path) -> None:
        if where.is_dir():
            paths = [path for path in where.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
            kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
            missing = f"no images in the folder {where}: put {kinds} files there, or give a video file"
        elif where.is_file():
            paths = [where]
            missing = ""
        else:
            paths = [Path(found) for found in glob.glob(str(where))]
            missing = f"no image called {where}: check the path or the pattern"
        if not paths:
            raise SourceError(missing)
        self.paths = sorted(paths, key=natural_order)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return map(_read_image, self.paths)


def _read_image(path: Path) -> NDArray[np.uint8]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the image {path} ({error.strerror}): check the file") from None
    # OpenCV shows every image as its EXIF says, but WebP only since 4.11: that is done here in every version.
    webp = content[8:12] == b"WEBP"
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION if webp else cv2.IMREAD_COLOR
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), how) if content else None
    except cv2.error:
        # A size above OpenCV's limits, among others.
        bgr = None
    if bgr is None:
        raise SourceError(f"{path} is no image that can be read: remove it from the folder or replace it")
    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return of_webp(content).pixels(rgb) if webp else rgb


def _checked(image: Any, index: int) -> NDArray[np.uint8]:
    if (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size
    ):
        return image
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise SourceError(f"frame {index} must be (H, W, 3) uint8 RGB, got {found}: convert it first")
