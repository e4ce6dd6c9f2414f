"""Scene cuts: found between real videos, and nowhere within them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_vss.runtimes.scene_cut import Cuts
from edge_vss.runtimes.sources import open_source

DRIVES = ("0016E5_h264_p_refs1_g250.mp4", "intel_car-detection.mp4", "udacity_solidWhiteRight.mp4")


@pytest.mark.parametrize("name", DRIVES)
def test_a_drive_has_no_cut(data: Path, name: str) -> None:
    cuts = Cuts()
    with open_source(data / "video" / name, motion="none") as source:
        assert [frame.index for frame in source if cuts.between(frame)] == []


def test_from_one_drive_to_another_is_a_cut(data: Path) -> None:
    cuts, found = Cuts(), []
    for name in (*DRIVES, DRIVES[0]):
        with open_source(data / "video" / name, motion="none") as source:
            for frame in source:
                found.append(cuts.between(frame))
                if frame.index == 3:
                    break
    assert found == [False] * 4 + ([True] + [False] * 3) * 3


def test_to_black_and_back_is_a_cut() -> None:
    rng, cuts = np.random.default_rng(0), Cuts()
    picture = rng.integers(0, 256, (48, 64, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    with open_source([picture, picture, np.zeros_like(picture), picture], motion="none") as source:
        assert [cuts.between(frame) for frame in source] == [False, False, True, True]
