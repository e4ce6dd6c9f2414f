"""Decoded pictures: pixels are converted only when asked for, and shown the way the camera was held."""

from __future__ import annotations

import threading
from typing import Any

import av
import av.error
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.motion_field import MotionVectors
from edge_vss.one_process import OneProcess
from edge_vss.orientation import UPRIGHT, Orientation, of_display_matrix
from edge_vss.video import Colour, Size

_SideData: Any = SideDataContainer

_SCALING = 0x20 | 0x2000
"""SWS_AREA, which is bilinear where it enlarges, and SWS_FULL_CHR_H_INT.

Without the second one, two neighbouring pixels of a scaled picture share one colour. Both together come
closer to scaling full RGB than SWS_BILINEAR does, and take no longer.
"""

_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
"""The colour matrices (ITU-T H.273, table 4) that swscale converts. It refuses a picture with another one."""
_BT601, _BT2020, _BT2020_CONSTANT = 5, 9, 10

_LIMITED = 1
"""AVCOL_RANGE_MPEG."""
_STRETCHED = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
"""Grey of limited range, 16 to 235, over the whole range. FFmpeg's scaler takes all grey for full."""

_AV_MOTION_VECTOR = np.dtype(
    [
        ("source", "i4"),
        ("w", "u1"),
        ("h", "u1"),
        ("src_x", "i2"),
        ("src_y", "i2"),
        ("dst_x", "i2"),
        ("dst_y", "i2"),
        ("flags", "u8"),
        ("motion_x", "i4"),
        ("motion_y", "i4"),
        ("motion_scale", "u2"),
    ],
    align=True,
)
"""FFmpeg's AVMotionVector (libavutil/motion_vector.h). (dst_x, dst_y) is the centre of the block, motion /
motion_scale its displacement in pixels, and ``source`` −1 or 1 for a reference shown before or after."""


class Converters:
    """swscale contexts, one per size and format: setting one up costs as much as using it.

    Safe from several threads.
    """

    def __init__(self) -> None:
        self._contexts: dict[tuple[Size, str], tuple[VideoReformatter, threading.Lock]] = {}
        self._lock = threading.Lock()

    def convert(self, picture: av.VideoFrame, size: Size, pixel_format: str) -> NDArray[np.uint8]:
        """(H, W, 3) for ``rgb24``, (H, W) for ``gray``, both uint8, scaled to ``size``.

        Raises SourceError for pictures that FFmpeg cannot convert.
        """
        if why := _why_not_converted(picture):
            raise SourceError(f"{why}: convert them to yuv420p or rgb24 first")
        with self._lock:
            context, lock = self._contexts.setdefault(
                (size, pixel_format), (VideoReformatter(), threading.Lock())
            )
        matrix = _taken_for(int(picture.colorspace))
        with lock:
            try:
                converted = context.reformat(
                    picture, size[1], size[0], pixel_format, src_colorspace=matrix, interpolation=_SCALING
                )
            except av.error.FFmpegError:
                raise SourceError(
                    f"FFmpeg cannot convert pictures of {picture.width}x{picture.height} "
                    f"({picture.format.name}) to {size[1]}x{size[0]} ({pixel_format}): convert them to "
                    "yuv420p or rgb24 of an ordinary size first"
                ) from None
        array = np.asarray(converted.to_ndarray(), np.uint8)
        limited_grey = picture.format.name.startswith("gray") and int(picture.color_range) == _LIMITED
        return _STRETCHED[array] if limited_grey and pixel_format == "rgb24" else array


def _why_not_converted(picture: av.VideoFrame) -> str:
    """Why FFmpeg's scaler would end the process over a picture, in a clause; empty where it does not."""
    name = picture.format.name
    if name.startswith("yaf32"):
        return f"pictures of brightness and alpha in floats ({name}) are not read"
    if name.startswith("bayer") and (picture.height % 2 or picture.width % 2):
        size = f"{picture.width}x{picture.height}"
        return f"pictures of a Bayer pattern ({name}) with an odd side, {size}, are not read"
    return ""


def why_other_colours(matrix: int) -> str:
    """Why a picture with this colour matrix has other colours than it says, in a clause; empty where it has
    its own."""
    name = {None: "", _BT601: "BT.601", _BT2020: "BT.2020"}[_taken_for(matrix)]
    return name and f"colour matrix {matrix} is not one that FFmpeg converts; colours are read as {name}'s"


def _taken_for(matrix: int) -> int | None:
    if matrix in _MATRICES:
        return None
    return _BT2020 if matrix == _BT2020_CONSTANT else _BT601


class DecodedPicture(OneProcess):
    """A decoder's picture. Its pixels are converted when asked for, straight to the size asked for."""

    __slots__ = ("_converters", "_picture", "orientation")
    INSTEAD = "send frame.image, an array"

    def __init__(self, picture: av.VideoFrame, orientation: Orientation, converters: Converters) -> None:
        self._picture = picture
        self._converters = converters
        self.orientation = orientation

    @property
    def device(self) -> str:
        """Software decoders leave their pictures in memory."""
        return "cpu"

    @property
    def nbytes(self) -> int:
        """Bytes of the decoder's picture, without its padding."""
        bits: int = self._picture.format.padded_bits_per_pixel
        return self._picture.width * self._picture.height * bits // 8

    @property
    def colour(self) -> Colour:
        """What the picture says of its colours."""
        picture = self._picture
        return Colour(
            primaries=int(picture.color_primaries),
            transfer=int(picture.color_trc),
            matrix=int(picture.colorspace),
            full_range={1: False, 2: True}.get(int(picture.color_range)),
        )

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, scaled to ``size`` when it is given (as cv2.INTER_AREA would)."""
        decoded = self._decoded_size() if size is None else self.orientation.size(size)
        return self.orientation.pixels(self._converters.convert(self._picture, decoded, "rgb24"))

    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness: a view of the decoder's luma plane where it has one of 8 bits."""
        plane = _luma_plane(self._picture)
        if plane is None:
            plane = self._converters.convert(self._picture, self._decoded_size(), "gray")
        return self.orientation.pixels(plane)

    def _decoded_size(self) -> Size:
        return self._picture.height, self._picture.width


def side_data(
    picture: av.VideoFrame, vectors: bool, corner: tuple[int, int] = (0, 0)
) -> tuple[Orientation, MotionVectors | None]:
    """How a picture is to be shown, and its motion vectors, shown that way, where they are wanted.

    ``corner``: the row and column of the coded picture where this one begins. FFmpeg counts from that one's.
    The vectors are None on I-frames and where nothing moved.
    """
    # Not picture.side_data: a frame and what that gives refer to each other, so that pictures (a hundred
    # megabytes of them) would wait for the garbage collector.
    # Not its get() or ``in`` either. An exception on its way through PyAV makes Cython run a bit of Python,
    # to note the line, and a Ctrl-C that arrives there is dropped. A key that is missing raises one.
    try:
        found = {data.type.name: data for data in _SideData(picture)}
    except ValueError:
        # FFmpeg may attach what this PyAV has no name for (EXIF, of the codecs of pictures): it then gives
        # nothing at all. How a picture is turned can be asked for apart, whether it is mirrored cannot.
        return Orientation(round(picture.rotation / 90) % 4), None
    matrix = found.get("DISPLAYMATRIX")
    orientation = of_display_matrix(bytes(matrix)) if matrix is not None else UPRIGHT
    exported = found.get("MOTION_VECTORS") if vectors else None
    if exported is None:
        return orientation, None
    return orientation, orientation.vectors(_plain(exported, corner), (picture.height, picture.width))


def _plain(exported: Any, corner: tuple[int, int]) -> MotionVectors:
    """FFmpeg's vectors as values of their own, which keep nothing of the decoder's picture."""
    # Not exported.to_ndarray(): it hands the buffer to np.frombuffer, which first asks whether it may write
    # to it. PyAV refuses with an exception, and NumPy drops what was raised then, a Ctrl-C among it.
    structure = np.frombuffer(memoryview(exported), _AV_MOTION_VECTOR)
    width, height = structure["w"].astype(np.int16), structure["h"].astype(np.int16)
    displacement = np.empty((2, len(structure)), np.float32)
    scale = np.maximum(structure["motion_scale"], 1).astype(np.float32)
    np.divide(structure["motion_x"], scale, out=displacement[0], casting="same_kind")
    np.divide(structure["motion_y"], scale, out=displacement[1], casting="same_kind")
    return MotionVectors(
        structure["dst_x"] - (width >> 1) - np.int16(corner[1]),
        structure["dst_y"] - (height >> 1) - np.int16(corner[0]),
        width,
        height,
        displacement,
        structure["source"].astype(np.int8),
    )


def _luma_plane(picture: av.VideoFrame) -> NDArray[np.uint8] | None:
    """The luma plane as 8 bits, without copying where it has 8; None for formats that have no such plane."""
    name = picture.format.name
    bits = picture.format.components[0].bits
    if not name.startswith(("yuv4", "yuvj4", "yuva4", "nv1", "nv2", "gray")):
        return None
    if name.startswith("grayf") or "msb" in name:
        return None  # floats, and bits at the other end of their words
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
