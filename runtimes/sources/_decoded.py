"""Decoded pictures: pixels converted only when asked for, and turned the way the camera was held."""

from __future__ import annotations

import threading
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from edge_vss.video import Size

_SideData: Any = SideDataContainer

_SCALING = 0x20 | 0x2000
"""SWS_AREA (bilinear where it enlarges) with SWS_FULL_CHR_H_INT.

Without the second, a scaled picture has one colour for every two pixels. The two together are closer to
scaling full RGB than SWS_BILINEAR, and as fast.
"""


class Converters:
    """swscale contexts, one per size and format: setting one up costs as much as using it.

    Safe from several threads.
    """

    def __init__(self) -> None:
        self._contexts: dict[tuple[Size, str], tuple[VideoReformatter, threading.Lock]] = {}
        self._lock = threading.Lock()

    def convert(self, picture: av.VideoFrame, size: Size, pixel_format: str) -> NDArray[np.uint8]:
        """(H, W, 3) for ``rgb24``, (H, W) for ``gray``, both uint8, scaled to ``size``."""
        with self._lock:
            context, lock = self._contexts.setdefault(
                (size, pixel_format), (VideoReformatter(), threading.Lock())
            )
        with lock:
            converted = context.reformat(picture, size[1], size[0], pixel_format, interpolation=_SCALING)
        return np.asarray(converted.to_ndarray(), np.uint8)


class DecodedPicture:
    """A decoder's picture. Its pixels are converted when asked for, straight to the size asked for."""

    __slots__ = ("_converters", "_picture", "quarter_turns")

    def __init__(self, picture: av.VideoFrame, turns: int, converters: Converters) -> None:
        self._picture = picture
        self._converters = converters
        self.quarter_turns = turns

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, scaled to ``size`` when it is given (as cv2.INTER_AREA would)."""
        if size is None:
            size = (self._picture.height, self._picture.width)
        elif self.quarter_turns % 2:
            size = size[::-1]
        return _turned(self._converters.convert(self._picture, size, "rgb24"), self.quarter_turns)

    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness: a view of the decoder's luma plane where it has one of 8 bits."""
        plane = _luma_plane(self._picture)
        if plane is None:
            size = (self._picture.height, self._picture.width)
            plane = self._converters.convert(self._picture, size, "gray")
        return _turned(plane, self.quarter_turns)


def turn_vectors(vectors: NDArray[Any], quarter_turns: int, size: Size) -> NDArray[Any]:
    """Motion vectors of a picture of ``size`` as they are once it is turned counterclockwise.

    The structured array is the decoder's (FFmpeg's AVMotionVector): positions are block centres, in pixels.
    Whole numbers stay whole numbers, so nothing is lost.
    """
    if quarter_turns == 0:
        return vectors
    height, width = size
    turned = vectors.copy()
    for x, y, right, bottom in (
        ("src_x", "src_y", width, height),
        ("dst_x", "dst_y", width, height),
        ("motion_x", "motion_y", 0, 0),
    ):
        if quarter_turns == 1:
            turned[x], turned[y] = vectors[y], right - vectors[x]
        elif quarter_turns == 2:
            turned[x], turned[y] = right - vectors[x], bottom - vectors[y]
        else:
            turned[x], turned[y] = bottom - vectors[y], vectors[x]
    if quarter_turns % 2:
        turned["w"], turned["h"] = vectors["h"], vectors["w"]
    return turned


def motion_vectors(picture: av.VideoFrame, quarter_turns: int) -> NDArray[Any] | None:
    """A picture's motion vectors, turned with it; None on I-frames and where nothing moved."""
    # Not picture.side_data: a frame and what that gives refer to each other, so that pictures (a hundred
    # megabytes of them) would wait for the garbage collector.
    side_data = _SideData(picture).get("MOTION_VECTORS")
    if side_data is None:
        return None
    # A copy, so that keeping vectors does not keep the decoder's picture.
    return turn_vectors(side_data.to_ndarray().copy(), quarter_turns, (picture.height, picture.width))


def quarter_turns(picture: av.VideoFrame) -> int:
    """Counterclockwise quarter turns that the display matrix asks for."""
    return round(getattr(picture, "rotation", 0) / 90) % 4


def _turned(pixels: NDArray[np.uint8], quarter_turns: int) -> NDArray[np.uint8]:
    return pixels if quarter_turns == 0 else np.ascontiguousarray(np.rot90(pixels, quarter_turns))


def _luma_plane(picture: av.VideoFrame) -> NDArray[np.uint8] | None:
    """The luma plane as 8 bits, without copying where it has 8; None for formats that have no such plane."""
    name = picture.format.name
    bits = picture.format.components[0].bits
    if not name.startswith(("yuv4", "yuvj4", "yuva4", "nv1", "nv2", "gray")):
        return None
    plane = picture.planes[0]
    if plane.line_size <= 0:
        return None
    if bits == 8:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: picture.height, : picture.width]
    if 8 < bits <= 16 and name.endswith("le") and not name.startswith("nv"):
        words = np.frombuffer(memoryview(plane), np.dtype("<u2")).reshape(-1, plane.line_size // 2)[
            : picture.height, : picture.width
        ]
        return (words >> (bits - 8)).astype(np.uint8)
    return None
