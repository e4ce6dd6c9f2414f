"""A small street that tests can compute: pictures with exact labels, as real compressed video. No torch."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 96, 128
CLASSES = ("ground", "wall", "car")
COLOURS = np.array([(60, 60, 60), (170, 120, 60), (40, 70, 200)], np.float32)


def scene(index: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture (H, W, 3) RGB and class ids (H, W): a car that drives past a wall, two pixels a frame."""
    height, width = size
    labels = np.zeros(size, np.uint8)
    labels[: height // 2] = 1
    left = 8 + 2 * index % max(1, width - 48)
    labels[height // 2 - 8 : height // 2 + 16, left : left + 32] = 2
    texture = np.random.default_rng(7).normal(0, 9, (height, width, 1))
    shifted = np.roll(texture, 2 * index, axis=1)
    picture = COLOURS[labels] + np.where((labels == 2)[..., None], shifted, texture)
    return np.clip(picture, 0, 255).astype(np.uint8), labels


def make_video(
    path: Path,
    frames: int = 24,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    codec: str = "libx264",
    ground_truth: Path | None = None,
) -> Path:
    """The scene as real compressed video at 25 frames a second, P-frames only; labels go to ``truth``."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        stream.codec_context.gop_size = 250
        if codec == "libx264":
            stream.codec_context.options = {"crf": "16", "preset": "veryfast", "bf": "0", "refs": "1"}
        for index in range(frames):
            picture, labels = scene(index, size)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            if ground_truth is not None:
                ground_truth.mkdir(exist_ok=True)
                cv2.imwrite(str(ground_truth / f"{index}.png"), labels)
        container.mux(stream.encode(None))
    return path
