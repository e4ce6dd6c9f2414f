"""A video with a stream's motion drawn on it, for people to look at."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.runtimes.drawing.overlays import badge
from edge_vss.runtimes.drawing.video_file import VideoFile
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.sinks import check_places
from edge_vss.runtimes.sources import Uri
from edge_vss.values import check_limit
from edge_vss.video import Frame


def draw(
    uri: Uri,
    out: Path,
    *,
    limit: int | None = None,
    opening: Opening = Opening(),
    on_frame: Callable[[], None] | None = None,
) -> int:
    """Write a video with the motion drawn on every frame, or on the first ``limit``; returns how many.

    An arrow runs from where a cell's content was to where it is; its colour is its direction. A cell whose
    motion was filled in, and not measured, is red. Raises SourceError where the source cannot be
    read, SinkError where ``out`` cannot be written or is the source, OptionError for an unknown file type.
    """
    check_limit(limit)
    check_places({"video": out}, uri)
    count = 0
    with opening.open(uri) as source:
        info = source.info
        target = VideoFile(out, info.size, info.fps, pixel_aspect=info.pixel_aspect, colour=info.colour)
        try:
            for frame in islice(source, limit):
                target.write(_drawn(frame), frame.pts_seconds)
                count += 1
                if on_frame is not None:
                    on_frame()
        finally:
            target.close()
    return count


def _drawn(frame: Frame) -> NDArray[np.uint8]:
    mixed = cv2.addWeighted(frame.image, 0.7, np.full_like(frame.image, 16), 0.3, 0)
    image = np.asarray(mixed, np.uint8)
    field = frame.motion
    text = f"{frame.index}  {frame.picture_type}"
    if field is not None:
        height, width = frame.size
        guessed = cv2.resize(
            (~field.known).astype(np.uint8),
            (field.known.shape[1] * field.cell_px, field.known.shape[0] * field.cell_px),
            interpolation=cv2.INTER_NEAREST,
        )[:height, :width]
        image[guessed > 0] = image[guessed > 0] // 2 + np.array([90, 20, 20], np.uint8)
        apart = max(1, round(max(height, width) / 40 / field.cell_px))
        for row in range(apart // 2, field.known.shape[0], apart):
            for column in range(apart // 2, field.known.shape[1], apart):
                _arrow(image, field.displacement_px[:, row, column], row, column, field.cell_px)
        text += f"  {field.provider or 'none'} {field.coverage:.0%}"
    badge(image, text)
    return image


def _arrow(
    image: NDArray[np.uint8], motion: NDArray[np.float32], row: int, column: int, cell_px: int
) -> None:
    dx, dy = float(motion[0]), float(motion[1])
    x, y = (column + 0.5) * cell_px, (row + 0.5) * cell_px
    hue = (np.degrees(np.arctan2(-dy, -dx)) % 360) / 2
    colour = cv2.cvtColor(np.array([[[hue, 200, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
    here, before = (round(x), round(y)), (round(x + dx), round(y + dy))
    if dx * dx + dy * dy < 1:
        cv2.circle(image, here, 1, (200, 200, 200), -1, cv2.LINE_AA)
    else:
        cv2.arrowedLine(image, before, here, colour, 1, cv2.LINE_AA, tipLength=0.35)
