"""A picture to look at: rows of frames, columns of ways to label them, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

PAPER: Colour = (250, 250, 248)
INK: Colour = (40, 42, 46)
FAINT: Colour = (118, 122, 128)
_MARGIN_PX, _GAP_PX, _LINE_PX = 24, 10, 26
_MOST_TILE_HEIGHTS = 4
"""A tile is at most so many times as high as it is wide."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Tile:
    """A picture with one line under it."""

    image: Image
    """uint8 (H, W, 3) RGB."""
    caption: str
    """ASCII: OpenCV's fonts have nothing else."""


def paint(
    image: Image, labels: NDArray[np.uint8], palette: Sequence[Colour], strength: float = 0.72
) -> Image:
    """The classes' colours laid over the picture, ``strength`` 0 to 1; an id without a colour leaves it bare.

    ``image`` uint8 (H, W, 3) RGB, ``labels`` uint8 (H, W).
    """
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(colours[labels], strength, grey, 1 - strength, 0)
    return np.where((labels < len(palette))[..., None], mixed, image).astype(np.uint8)


def draw(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Tile]],
    legend: Sequence[tuple[str, Colour]],
    tile_width_px: int = 320,
) -> Image:
    """The whole sheet, uint8 (H, W, 3) RGB. A row has one tile per column; tiles get one width."""
    scale = tile_width_px / rows[0][0].image.shape[1]
    tile_height = round(rows[0][0].image.shape[0] * scale)
    tile_height = min(max(tile_height, 1), _MOST_TILE_HEIGHTS * tile_width_px)
    width = 2 * _MARGIN_PX + len(columns) * tile_width_px + (len(columns) - 1) * _GAP_PX
    swatches, legend_height = _flow(legend, width - 2 * _MARGIN_PX)
    row_height = tile_height + _LINE_PX
    top = _MARGIN_PX + 58
    sheet: Image = np.full(
        (top + len(rows) * row_height + legend_height + _MARGIN_PX, width, 3), PAPER, np.uint8
    )
    _write(sheet, title, _MARGIN_PX, _MARGIN_PX + 14, INK, 0.62)
    for place, name in enumerate(columns):
        _write(sheet, name, _MARGIN_PX + place * (tile_width_px + _GAP_PX), top - 12, INK, 0.5)
    for number, row in enumerate(rows):
        y = top + number * row_height
        for place, tile in enumerate(row):
            x = _MARGIN_PX + place * (tile_width_px + _GAP_PX)
            smaller = cv2.resize(tile.image, (tile_width_px, tile_height), interpolation=cv2.INTER_AREA)
            sheet[y : y + tile_height, x : x + tile_width_px] = smaller
            _write(sheet, tile.caption, x, y + tile_height + 15, FAINT, 0.4)
    bottom = top + len(rows) * row_height + 10
    for name, colour, x, y in swatches:
        corner = (_MARGIN_PX + x, bottom + y)
        cv2.rectangle(sheet, corner, (corner[0] + 14, corner[1] + 14), colour, cv2.FILLED)
        cv2.rectangle(sheet, corner, (corner[0] + 14, corner[1] + 14), FAINT, 1)
        _write(sheet, name, corner[0] + 21, corner[1] + 12, INK, 0.42)
    return sheet


def _flow(legend: Sequence[tuple[str, Colour]], width: int) -> tuple[list[tuple[str, Colour, int, int]], int]:
    """Where each entry of the legend goes, line by line, and the height of them all."""
    placed = []
    x = y = 0
    for name, colour in legend:
        needed = 21 + cv2.getTextSize(name, _FONT, 0.42, 1)[0][0] + 20
        if x and x + needed > width:
            x, y = 0, y + 24
        placed.append((name, colour, x, y))
        x += needed
    return placed, y + 24


def _write(sheet: Image, text: str, x: int, y: int, colour: Colour, size: float) -> None:
    cv2.putText(sheet, text, (x, y), _FONT, size, colour, 1, cv2.LINE_AA)
