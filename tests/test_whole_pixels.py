"""Trace-back in whole pixels: the same as the published rule, pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.motion_field import MotionField
from edge_vss.runtimes.tracing.whole_pixels import Hops, TapTables
from edge_vss.video import Size

FRAME: Size = (100, 132)


def field(rng: np.random.Generator, cell_px: int = 8) -> MotionField:
    """Quarter-pixel motion, as H.264 codes it, up to 8 pixels."""
    h, w = -(-FRAME[0] // cell_px), -(-FRAME[1] // cell_px)
    displacement = (rng.integers(-32, 33, (2, h, w)) / 4).astype(np.float32)
    return MotionField(displacement, np.ones((h, w), np.bool_), np.ones((h, w), np.int8), cell_px)


def every_pixel(fields: list[MotionField]) -> np.ndarray:
    """The published trace-back: a root map of all pixels, rounded half to even at every hop."""
    down, across = np.mgrid[: FRAME[0], : FRAME[1]]
    root = np.stack([across, down])
    for motion in fields:
        step = np.rint(motion.displacement_px.repeat(motion.cell_px, 1).repeat(motion.cell_px, 2))
        x = np.clip(across + step[0, : FRAME[0], : FRAME[1]], 0, FRAME[1] - 1).astype(int)
        y = np.clip(down + step[1, : FRAME[0], : FRAME[1]], 0, FRAME[0] - 1).astype(int)
        root = root[:, y, x]
    moved: np.ndarray = (root - np.stack([across, down])).astype(np.float32)
    return moved


def traced(fields: list[MotionField], grid: Size, sampling: str) -> np.ndarray:
    hops = Hops(FRAME, TapTables())
    for motion in fields:
        hops = hops.and_then(motion)
    return hops.root(grid, sampling)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), hops=st.integers(1, 11), cell_px=st.sampled_from([4, 8, 16]))
def test_every_pixel_is_where_the_published_rule_puts_it(seed: int, hops: int, cell_px: int) -> None:
    rng = np.random.default_rng(seed)
    fields = [field(rng, cell_px) for _ in range(hops)]
    np.testing.assert_array_equal(traced(fields, FRAME, "corners"), every_pixel(fields))


@pytest.mark.parametrize("grid", [(13, 17), (25, 33), (12, 16), (46, 60)])
def test_a_grid_reads_it_with_aligned_corners(grid: Size) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    fields = [field(rng) for _ in range(7)]
    whole = torch.from_numpy(every_pixel(fields))[None]
    expected = torch.nn.functional.interpolate(whole, grid, mode="bilinear", align_corners=True)[0].numpy()
    np.testing.assert_allclose(traced(fields, grid, "corners"), expected, atol=2e-3)


def test_centres_are_read_as_a_resize_does() -> None:
    rng = np.random.default_rng(6)
    fields = [field(rng) for _ in range(3)]
    expected = cv2.resize(every_pixel(fields).transpose(1, 2, 0), (66, 50), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(traced(fields, (50, 66), "centres"), expected.transpose(2, 0, 1), atol=2e-3)


def test_a_frame_without_motion_stands_still() -> None:
    rng = np.random.default_rng(7)
    one = field(rng)
    hops = Hops(FRAME, TapTables()).and_then(one).and_then(None)
    np.testing.assert_array_equal(hops.root(FRAME, "corners"), every_pixel([one]))


def test_one_more_frame_leaves_the_way_so_far_as_it_is() -> None:
    start = Hops(FRAME, TapTables())
    start.and_then(field(np.random.default_rng(8)))
    assert not start.root((13, 17), "corners").any()
