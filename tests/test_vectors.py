"""Vectors on a grid, and the filling of holes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_vss.errors import OptionError
from edge_vss.motion_field import MotionVectors
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tracing.cells import CELL_PX, at_centres, cells, fill, grid_of
from tests.helpers.videos import encode, pan


def block(
    x: int, y: int, width: int, height: int, motion: tuple[float, float], direction: int = -1
) -> MotionVectors:
    """One vector of a block whose top left pixel is (x, y)."""
    left, top, wide, tall = (np.array([value], np.int16) for value in (x, y, width, height))
    return MotionVectors(
        left, top, wide, tall, np.array(motion, np.float32)[:, None], np.array([direction], np.int8)
    )


def together(*vectors: MotionVectors) -> MotionVectors:
    """All of these vectors, in order."""
    joined = (
        np.concatenate([getattr(one, part.name) for one in vectors], axis=-1)
        for part in fields(MotionVectors)
        if part.name != "reference"
    )
    return MotionVectors(*joined)


def as_ffmpeg_says(vectors: MotionVectors, scale: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n, 10): the fields of FFmpeg's AVMotionVector, made of ours."""
    x, y = (
        vectors.left_px.astype(np.int32) + vectors.width_px // 2,
        vectors.top_px + vectors.height_px // 2,
    )
    # The place in the reference frame is cut to whole pixels, towards zero.
    dx, dy = np.trunc(vectors.displacement_px).astype(np.int32)
    motion_x, motion_y = vectors.displacement_px * scale
    columns = (
        vectors.direction,
        vectors.width_px,
        vectors.height_px,
        x + dx,
        y + dy,
        x,
        y,
        motion_x,
        motion_y,
    )
    table: NDArray[np.int32] = np.stack([*columns, scale], axis=1)
    return table


@pytest.mark.parametrize(("width", "height"), [(16, 16), (16, 8), (8, 16), (8, 8)])
def test_a_block_covers_its_cells_and_no_others(width: int, height: int) -> None:
    field, known = cells(block(16, 8, width, height, (1.5, -0.75)), (6, 8))
    expected = np.zeros((6, 8), bool)
    expected[1 : 1 + height // 8, 2 : 2 + width // 8] = True
    assert (known == expected).all()
    assert (field[0][known] == 1.5).all() and (field[1][known] == -0.75).all()
    assert not field[:, ~known].any()


def test_the_two_directions_are_kept_apart() -> None:
    both = together(block(0, 0, 8, 8, (1, 0)), block(8, 0, 8, 8, (2, 0), direction=1))
    back, back_known = cells(both, (1, 2))
    ahead, ahead_known = cells(both, (1, 2), ahead=True)
    assert back_known.tolist() == [[True, False]] and ahead_known.tolist() == [[False, True]]
    assert back[0, 0, 0] == 1 and ahead[0, 0, 1] == 2


@given(st.integers(-40, 40), st.integers(-40, 40))
def test_blocks_in_the_padding_are_clipped(x: int, y: int) -> None:
    field, known = cells(block(x * 8, y * 8, 16, 16, (4, 4)), (3, 4))
    inside = {(y + i, x + j) for i in (0, 1) for j in (0, 1) if 0 <= y + i < 3 and 0 <= x + j < 4}
    assert {tuple(at) for at in np.argwhere(known).tolist()} == inside
    assert field.shape == (2, 3, 4)


@given(st.integers(-20, 20), st.integers(-20, 20), st.sampled_from([4, 8, 16, 32, 64, 128]))
@settings(derandomize=True)
def test_blocks_of_any_size_lie_where_they_are(x: int, y: int, side: int) -> None:
    _, known = cells(block(x * 8, y * 8, side, side, (1, 1)), (9, 11))
    reach = max(side // 8, 1)
    expected = np.zeros((9 + 80, 11 + 80), bool)
    expected[y + 40 : y + 40 + reach, x + 40 : x + 40 + reach] = True
    if min(x, y) >= -16:
        assert np.array_equal(known, expected[40:49, 40:51])


def test_the_last_of_two_vectors_of_one_block_counts() -> None:
    twice = together(block(0, 0, 16, 16, (1, 1)), block(16, 0, 8, 8, (3, 3)), block(0, 0, 16, 16, (2, 2)))
    assert cells(twice, (1, 3))[0][0].tolist() == [[2, 2, 3]]


def test_vectors_of_different_lengths_are_refused() -> None:
    good = block(0, 0, 8, 8, (1, 1))
    for part in fields(MotionVectors):
        wrong = np.zeros((2, 2) if part.name == "displacement_px" else 2, np.int8)
        with pytest.raises(OptionError, match=r"displacement_px \(2, n\)"):
            replace(good, **{part.name: wrong})  # type: ignore[arg-type]


def test_no_vectors_are_nothing_known() -> None:
    for nothing in (None, block(0, 0, 8, 8, (1, 1)).only(np.array([False]))):
        field, known = cells(nothing, (2, 3))
        assert not known.any() and not field.any()


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (360, 480), (97, 131), (1080, 1920)])
def test_the_grid_covers_the_frame(size: tuple[int, int]) -> None:
    h, w = grid_of(size)
    assert (h - 1) * CELL_PX < size[0] <= h * CELL_PX and (w - 1) * CELL_PX < size[1] <= w * CELL_PX
    x, y = at_centres(size, (h, w), CELL_PX)
    assert x.shape == (h, w) and x.max() <= size[1] - 1 and y.max() <= size[0] - 1


def test_filling_keeps_what_is_known_and_reaches_everywhere() -> None:
    random = np.random.default_rng(0)
    known = np.zeros((30, 40), bool)
    known[3:9, 4:12] = True
    field = np.where(known, random.normal(2, 0.1, (2, 30, 40)), 99).astype(np.float32)
    filled = fill(field, known)
    assert (filled[:, known] == field[:, known]).all()
    assert (np.abs(filled - 2) < 0.5).all()
    assert (fill(field, np.ones_like(known)) == field).all()


@pytest.mark.parametrize(("codec", "options"), [("libx264", None), ("mpeg4", {"g": "250", "bf": "0"})])
@pytest.mark.parametrize("step", [(2, 0), (0, -3), (-4, 1), (5, 2)])
def test_a_known_pan_gives_the_known_motion(
    codec: str, options: dict[str, str] | None, step: tuple[int, int], tmp_path: Path
) -> None:
    video = encode(tmp_path / "pan.mp4", pan(8, (128, 160), step), codec, options)
    with open_source(video, motion="none") as source:
        for frame in source:
            assert frame.vectors is None  # nobody asked for them
    with open_source(video, motion="codec") as source:
        fields = [frame.motion for frame in source if frame.index >= 2]
    for field in fields:
        assert field is not None and field.coverage > 0.8
        inner = field.displacement_px[:, 2:-2, 2:-2][:, field.known[2:-2, 2:-2]]
        assert np.median(inner[0]) == pytest.approx(-step[0], abs=0.13)
        assert np.median(inner[1]) == pytest.approx(-step[1], abs=0.13)


def test_every_vector_equals_the_reference_arrays(data: Path) -> None:
    reference = np.load(data / "motion_reference" / "vid_h264_motion.npz")
    # Nothing is lost: every field of FFmpeg's structure can be made again of ours.
    vectors, offsets = reference["vectors"], reference["offsets"]
    frames = 0
    with open_source(data / "motion_reference" / "vid_h264.mp4", motion="codec") as source:
        for frame in source:
            expected = vectors[offsets[frame.index] : offsets[frame.index + 1]]
            if frame.vectors is None:
                assert not len(expected)
            else:
                assert frame.vectors.reference is None
                found = as_ffmpeg_says(frame.vectors, expected[:, -1])
                assert np.array_equal(found, expected), f"frame {frame.index}"
            frames += 1
    assert frames == 337 == len(offsets) - 1
