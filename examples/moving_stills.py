"""Turns labelled stills into short labelled clips: camera-like motion, and patches that move across it.

For training on the motion vectors of real encodings where no video is labelled.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Pair = tuple[Bytes, Bytes]
NOTHING = 255


def clip(rng: np.random.Generator, still: Pair, patches: Sequence[Pair], frames: int) -> list[Pair]:
    """``frames`` pictures and label maps that end with the still, nearly as it was."""
    height, width = still[1].shape
    mirrored = rng.random() < 0.5
    image, labels = (np.ascontiguousarray(part[:, ::-1]) if mirrored else part for part in still)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    # Driving forward: earlier frames saw more, around a point not far from the middle.
    centre = np.array([width, height], np.float32) * rng.uniform([0.35, 0.3], [0.65, 0.6])
    ends_at, growth = rng.uniform(0.8, 1.0), rng.uniform(0.0, 0.035)
    drift, bend = rng.normal(0, 1.2, 2), rng.normal(0, 0.35, (4, 2))
    moving = [_placed(rng, patch, (height, width)) for patch in patches]
    made = []
    for t in range(frames):
        before = frames - 1 - t
        seen = (corners - centre) * (ends_at * (1 + growth * before)) + centre + (drift + bend) * before
        view = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
        frame, label_map = (
            cv2.warpPerspective(
                part,
                view,
                (width, height),
                flags=way | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            ).astype(np.uint8, copy=False)
            for part, way in ((image, cv2.INTER_LINEAR), (labels, cv2.INTER_NEAREST))
        )
        for (colours, ids), start, speed, scaling in moving:
            _paste(frame, label_map, colours, ids, start - speed * before, (1 + scaling) ** -before)
        noise = rng.normal(0, 2, (height // 2, width // 2, 1)).repeat(2, 0).repeat(2, 1)
        made.append(
            (np.clip(frame[: noise.shape[0], : noise.shape[1]] + noise, 0, 255).astype(np.uint8), label_map)
        )
    return made


def things(pairs: Sequence[Pair], ids: Sequence[int]) -> list[Pair]:
    """What stands alone in the stills (cars, people): cut out, with NOTHING around it in the labels."""
    found = []
    for image, labels in pairs:
        for label in ids:
            count, parts, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))
            for index in range(1, count):
                x, y, w, h, area = stats[index]
                if area >= 150 and w < labels.shape[1] // 2:
                    inside = parts[y : y + h, x : x + w] == index
                    ids_here = np.where(inside, label, NOTHING).astype(np.uint8)
                    found.append((image[y : y + h, x : x + w].copy(), ids_here))
    return found


def _placed(
    rng: np.random.Generator, patch: Pair, size: tuple[int, int]
) -> tuple[Pair, NDArray[np.float64], NDArray[np.float64], float]:
    # Where a patch ends, how it moves in pixels a frame, and how it grows.
    where = rng.uniform([0.1, 0.4], [0.9, 0.75]) * [size[1], size[0]]
    return patch, where, rng.normal(0, [3.5, 0.8]), float(rng.uniform(-0.01, 0.03))


def _paste(
    frame: Bytes, label_map: Bytes, colours: Bytes, ids: Bytes, centre: NDArray[np.float64], scale: float
) -> None:
    height, width = label_map.shape
    move = np.array(
        [
            [scale, 0, centre[0] - scale * ids.shape[1] / 2],
            [0, scale, centre[1] - scale * ids.shape[0] / 2],
        ],
        np.float64,
    )
    there = cv2.warpAffine(
        ids,
        move,
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=NOTHING,
    )
    colour = cv2.warpAffine(colours, move, (width, height))
    inside = there != NOTHING
    frame[inside] = colour[inside]
    label_map[inside] = there[inside]
