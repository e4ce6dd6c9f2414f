"""Sources without a codec: arrays, iterables of arrays, folders and patterns of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError, SourceError
from edge_vss.files import open_plain, read_plain
from edge_vss.orientation import of_webp
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.sources import (
    DEFAULT_FPS,
    SourceDescription,
    SourceOptions,
)
from edge_vss.runtimes.sources._pages import several
from edge_vss.runtimes.sources._spelling import images_of
from edge_vss.text import kind_of
from edge_vss.video import Frame, Size, StartReason, StreamInfo

MOST_BYTES = 256 << 20
"""The largest image file that is read."""

DESCRIPTION = SourceDescription("arrays, folders and globs of images")


def open(source: Any, options: SourceOptions = SourceOptions()) -> ArrayReader:
    """Opens uint8 RGB arrays, or the images of a folder, glob or numbered pattern in natural order (2.png
    before 10.png)."""
    if options.stream is not None:
        raise OptionError(f"stream {options.stream} of images or arrays: they have none, so leave it out")
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
        raise SourceError(f"{kind_of(source)} is no source: give a path, a URL, a camera number or arrays")
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
        """(H, W, 3) uint8 RGB, scaled to ``size`` when it is given. The caller may draw on it."""
        if size is None or size == self.pixels.shape[:2]:
            return self.pixels.copy()
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
        self._reason = StartReason.FIRST_FRAME
        iterator = iter(images)
        try:
            first = _own(next(iterator), 0)
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
            names=tuple(path.name for path in images.paths) if isinstance(images, _FolderImages) else (),
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
            pixels = _own(image, index)
            shown: Size = pixels.shape[:2]
            changed = StartReason.SIZE_CHANGED if shown != size else StartReason.NONE
            start = self._reason if size is None else changed
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
        self._reason = StartReason.SEEK

    def close(self) -> None:
        """Nothing to let go of."""


class _FolderImages:
    """The images of a folder, glob or numbered pattern, read one by one."""

    def __init__(self, where: Path) -> None:
        self.paths = images_of(where)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return map(_read_image, self.paths)


def _read_image(path: Path) -> NDArray[np.uint8]:
    try:
        content = read_plain(open_plain(path), MOST_BYTES)
    except OSError as error:
        raise SourceError(f"cannot read the image {path} ({error.strerror}): check the file") from None
    if kind := several(content):
        raise SourceError(f"{path} is {kind}: save one file per picture, or make a video of it")
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


def _own(image: Any, index: int) -> NDArray[np.uint8]:
    """A copy of a frame: cameras fill one buffer over and over, and people draw on what they have."""
    if (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size
    ):
        return np.array(image, order="C")
    found, way = kind_of(image), _way_out(image)
    raise SourceError(f"frame {index} must be (H, W, 3) uint8 RGB, got {found}: {way}")


def _way_out(image: Any) -> str:
    """How to make an RGB array of what was given."""
    if isinstance(image, (str, Path)):
        return "open a folder, or a pattern such as 'shots/*.png'"
    if not isinstance(image, np.ndarray):
        return "make an array of it first, as in np.asarray(picture.convert('RGB')) or tensor.cpu().numpy()"
    shape = image.shape
    if image.ndim == 4 and shape[0] == 1:
        return "take the first axis off"
    if image.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] not in (3, 4):
        return "channels come last, as in np.moveaxis(image, 0, 2)"
    if image.ndim == 2 or (image.ndim == 3 and shape[2] in (1, 4)):
        return "give it three channels, as in cv2.cvtColor"
    if image.dtype != np.uint8:
        return "bring it to 0 to 255 and make it uint8"
    return "convert it first"
