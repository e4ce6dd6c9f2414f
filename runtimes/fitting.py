"""How a frame of another shape is brought into the picture that the graphs take, and its labels back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle.manifest import FITS
from edge_vss.errors import OptionError
from edge_vss.video import Picture, Size, Window

BAR = 114
"""The grey of letterbox's bars, as the YOLO networks were trained with."""
UNSEEN = 255
"""The label of what a cropped picture does not show, where the bundle has no id for that."""


def unseen(ignore: int | None) -> int:
    """The label of what a cropped picture does not show; ``ignore`` is the id that stands for nothing."""
    return UNSEEN if ignore is None else ignore


@dataclass(frozen=True)
class Fitting:
    """Frames of one size in pictures of another: scaled to ``scaled``, and put at ``top`` and ``left``.

    Raises OptionError for a way that is not known.
    """

    frame: Size
    picture: Size
    fit: str = "stretch"
    """``stretch``, ``letterbox`` (all of the frame, with bars) or ``crop`` (its middle, without)."""

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise OptionError(f"no fit is called {self.fit!r}: choose one of {', '.join(FITS)}")

    @property
    def scaled(self) -> Size:
        """Height and width of the whole frame in pixels of the picture."""
        if self.fit == "stretch":
            return self.picture
        ratios = [picture / frame for picture, frame in zip(self.picture, self.frame, strict=True)]
        ratio = min(ratios) if self.fit == "letterbox" else max(ratios)
        height, width = (max(1, int(extent * ratio + 0.5)) for extent in self.frame)
        return height, width

    @property
    def place(self) -> tuple[int, int]:
        """Top and left of the frame in the picture; negative where the picture begins inside of it."""
        top, left = (whole - inner for whole, inner in zip(self.picture, self.scaled, strict=True))
        return top // 2, left // 2

    @property
    def window(self) -> Window | None:
        """The part of the frame that the picture shows; None where that is all of it."""
        if self.scaled == self.picture:
            return None
        (top, left), (down, across) = (
            self.place,
            (f / s for f, s in zip(self.frame, self.scaled, strict=True)),
        )
        return Window(-top * down, -left * across, self.picture[0] * down, self.picture[1] * across)

    def image(self, picture: Picture) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of the graphs' size."""
        scaled = picture.rgb(self.scaled)
        if self.scaled == self.picture:
            return scaled
        made = np.full((*self.picture, 3), BAR, np.uint8)
        inside, taken = self._shared()
        made[inside] = scaled[taken]
        return made

    def labels(self, labels: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """A label map of the picture as one of the frame. What the picture does not show is ``outside``."""
        return self._back(labels, outside, cv2.INTER_NEAREST_EXACT)

    def matte(self, matte: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A matte of the picture as one of the frame, smooth. What the picture does not show is 0."""
        return self._back(matte, 0, cv2.INTER_LINEAR)

    def _back(self, values: NDArray[np.uint8], outside: int, way: int) -> NDArray[np.uint8]:
        if self.scaled != self.picture:
            whole = np.full(self.scaled, outside, np.uint8)
            inside, taken = self._shared()
            whole[taken] = values[inside]
            values = whole
        if values.shape == self.frame:
            return values
        return np.asarray(cv2.resize(values, self.frame[::-1], interpolation=way), np.uint8)

    def _shared(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part that both have: in the picture, and in the scaled frame."""
        inside, taken = [], []
        for at, scaled, picture in zip(self.place, self.scaled, self.picture, strict=True):
            first, last = max(at, 0), min(at + scaled, picture)
            inside.append(slice(first, last))
            taken.append(slice(first - at, last - at))
        return (inside[0], inside[1]), (taken[0], taken[1])
