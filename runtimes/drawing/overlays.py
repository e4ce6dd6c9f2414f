"""Drawing over pictures: label colours, and a line of text in the corner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import HeadSpec
from edge_vss.errors import OptionError
from edge_vss.text import kind_of

OPACITY = 0.5
DARKEST = 0.25
"""What is left of the brightness where a matte is 0."""

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
AMBER: Colour = (255, 210, 0)


def blend(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], colours: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: half the image, half the label's colour, with class borders in the full colour.

    ``labels`` is (H, W) uint8, ``colours`` (256, 3) uint8 by class id.
    """
    # OpenCV's table and masked copy do in 2 ms at 720p what numpy's indexing does in 57.
    paint = cv2.LUT(cv2.merge([labels, labels, labels]), colours[None])
    mixed = cv2.addWeighted(image, 1 - OPACITY, paint, OPACITY, 0)
    border = np.zeros(labels.shape, np.uint8)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=border[:, 1:].view(np.bool_))
    border[1:] |= (labels[1:] != labels[:-1]).view(np.uint8)
    cv2.copyTo(paint, border, mixed)
    return np.asarray(mixed, np.uint8)


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], palette: Sequence[Colour]
) -> NDArray[np.uint8]:
    """The labels' colours laid over a picture, which stays as it is: (H, W, 3) uint8 RGB.

    ``labels`` is (H, W) uint8; class id i has the colour ``palette[i]``, ids beyond it are black.

    Raises OptionError for arrays of other shapes or numbers.
    """
    if image.dtype != np.uint8 or labels.dtype != np.uint8 or image.shape != (*labels.shape, 3):
        raise OptionError(
            f"overlay wants an image (H, W, 3) uint8 and labels (H, W) uint8, got {kind_of(image)} and "
            f"{kind_of(labels)}: bring both to one size"
        )
    return blend(image, labels, table_of(palette))


def paint_heads(
    image: NDArray[np.uint8], heads: Sequence[HeadSpec], maps: Mapping[str, NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """More heads over a picture that shows the first one: (H, W, 3) uint8 RGB.

    Class 0 of theirs leaves what is below. Outside of a matte, the picture is darkened.
    """
    for head in heads:
        values = maps[head.name]
        if head.is_matte:
            share = DARKEST + values * ((1 - DARKEST) / 255)
            image = np.asarray(image * share[..., None], np.uint8)
        else:
            painted = blend(image, values, table_of(head.palette))
            image = np.asarray(cv2.copyTo(painted, np.minimum(values, 1), image.copy()), np.uint8)
    return image


def table_of(palette: Sequence[Colour]) -> NDArray[np.uint8]:
    """A palette as a table for `blend`: (256, 3) uint8 RGB by class id, black beyond the palette."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = np.array(palette, np.uint8).reshape(-1, 3)
    return colours


def badge(image: NDArray[np.uint8], text: str, colour: Colour = WHITE) -> None:
    """A line of text on black in the top left corner of an (H, W, 3) uint8 RGB image, in place."""
    scale = max(0.35, image.shape[0] / 900)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    cv2.rectangle(image, (0, 0), (width + 8, height + below + 6), (0, 0, 0), cv2.FILLED)
    cv2.putText(image, text, (4, height + 4), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
