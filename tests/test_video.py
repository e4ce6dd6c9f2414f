"""Frames and pictures: where the pixels are, and what they weigh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame, Picture, Size, StartReason
from tests.helpers import toys
from tests.helpers.videos import encode, pan


class Elsewhere:
    """A picture that is on an accelerator until somebody asks for its pixels."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def device(self) -> str:
        return "cuda:0"

    @property
    def nbytes(self) -> int:
        return 48 * 64 * 3 // 2

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        self.asked.append("rgb")
        return np.full((*(size or (48, 64)), 3), 200, np.uint8)

    def luma(self) -> NDArray[np.uint8]:
        self.asked.append("luma")
        return np.full((48, 64), 200, np.uint8)


def test_a_picture_elsewhere_is_fetched_only_for_who_looks_at_it() -> None:
    pictures = [Elsewhere() for _ in range(6)]
    shown = [
        Frame(i, i / 25, "?", (48, 64), picture, StartReason.NONE if i else StartReason.FIRST_FRAME)
        for i, picture in enumerate(pictures)
    ]
    report = run(shown, toys.segmenter().session("interval:3"))
    assert report.frames == 6 and report.keyframes == 2
    assert ["rgb" in picture.asked for picture in pictures] == [True, False, False] * 2
    assert shown[0].picture.device == "cuda:0"


@pytest.mark.parametrize(("pix_fmt", "per_pixel"), [("yuv420p", 1.5), ("yuv444p", 3), ("yuv420p10le", 3)])
def test_what_a_decoded_frame_weighs(pix_fmt: str, per_pixel: float, tmp_path: Path) -> None:
    with open_source(encode(tmp_path / "v.mp4", pan(4), pix_fmt=pix_fmt), motion="none") as source:
        frame = next(source)
    picture: Picture = frame.picture
    assert picture.device == "cpu"
    assert frame.nbytes == picture.nbytes == per_pixel * 96 * 128
    assert frame.image.nbytes == 3 * 96 * 128
    assert frame.nbytes == (per_pixel + 3) * 96 * 128


def test_arrays_weigh_what_they_are() -> None:
    frame = next(open_source(pan(2), motion="none"))
    assert frame.picture.device == "cpu" and frame.nbytes == 3 * 96 * 128
