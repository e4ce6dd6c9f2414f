"""Which way up a picture is shown: the eight ways that a display matrix or EXIF can ask for."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_vss.chunks import riff_chunks
from edge_vss.motion_field import MotionVectors
from edge_vss.video import Size


@dataclass(frozen=True)
class Orientation:
    """What is done to a decoded picture before it is shown: first mirrored, then turned."""

    quarter_turns: int = 0
    """Counterclockwise, 0 to 3."""
    mirrored: bool = False
    """Left and right change places."""

    def size(self, decoded: Size) -> Size:
        """Height and width as shown, from those as decoded; and the other way round."""
        return decoded if self.quarter_turns % 2 == 0 else decoded[::-1]

    def pixels(self, decoded: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels (H, W) or (H, W, 3) as shown; the same array where nothing is to be done."""
        if self == UPRIGHT:
            return decoded
        mirrored = decoded[:, ::-1] if self.mirrored else decoded
        return np.ascontiguousarray(np.rot90(mirrored, self.quarter_turns))

    def vectors(self, decoded: MotionVectors, size: Size) -> MotionVectors:
        """The vectors as shown of a decoded picture of ``size``. Nothing is rounded."""
        if self == UPRIGHT:
            return decoded
        height, width = size
        x, y, w, h = decoded.left_px, decoded.top_px, decoded.width_px, decoded.height_px
        dx, dy = decoded.displacement_px
        if self.mirrored:
            x, dx = np.int16(width) - x - w, -dx
        for _ in range(self.quarter_turns):
            x, y, w, h, dx, dy = y, np.int16(width) - x - w, h, w, dy, -dx
            width, height = height, width
        return MotionVectors(x, y, w, h, np.stack([dx, dy]), decoded.direction, decoded.reference)


UPRIGHT = Orientation()


def of_display_matrix(matrix: bytes) -> Orientation:
    """The orientation that a display matrix asks for: nine 32-bit numbers as FFmpeg holds them
    (libavutil/display.h). A turn by other angles becomes the nearest quarter; nonsense is shown as it is.
    """
    if len(matrix) < 36:
        return UPRIGHT
    # The decoded pixel (x, y) is shown at (a·x + c·y, b·x + d·y), up to a shift.
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    determinant = a * d - b * c
    if determinant == 0:
        return UPRIGHT
    mirrored = determinant < 0
    right = (-a, -b) if mirrored else (a, b)
    return Orientation(round(math.atan2(-right[1], right[0]) / (math.pi / 2)) % 4, mirrored)


_EXIF = (
    UPRIGHT,
    Orientation(0, True),
    Orientation(2),
    Orientation(2, True),
    Orientation(1, True),
    Orientation(3),
    Orientation(3, True),
    Orientation(1),
)
"""Values 1 to 8 of EXIF's tag Orientation (JEITA CP-3451, 4.6.4)."""


def of_webp(content: bytes) -> Orientation:
    """The orientation that the EXIF chunk of a WebP image asks for (RFC 9649; EXIF is a TIFF header)."""
    exif = next((inside for name, inside in riff_chunks(content) if name == b"EXIF"), None)
    return UPRIGHT if exif is None else _of_tiff(exif.removeprefix(b"Exif\0\0"))


def _of_tiff(header: bytes) -> Orientation:
    order: Literal["little", "big"] = "little" if header[:2] == b"II" else "big"
    begin = int.from_bytes(header[4:8], order)
    for entry in range(begin + 2, begin + 2 + 12 * int.from_bytes(header[begin : begin + 2], order), 12):
        if int.from_bytes(header[entry : entry + 2], order) == 0x112:
            value = int.from_bytes(header[entry + 8 : entry + 10], order)
            return _EXIF[value - 1] if 1 <= value <= len(_EXIF) else UPRIGHT
    return UPRIGHT
