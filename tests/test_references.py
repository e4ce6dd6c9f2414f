"""References told apart by their pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vss.runtimes.motion._references import Hypothesis, Shown, elect, hypotheses, matching, nearest
from edge_vss.runtimes.sources import open_source
from tests.helpers.videos import encode, pan, texture
from tests.test_vectors import block, together


def shown(image: np.ndarray) -> Shown:
    half = cv2.resize(image[..., 0], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return Shown(np.asarray(half, np.uint8), None, "P", image.shape[:2])


def hypothesis(dx: float, dy: float, span: int, grid: tuple[int, int] = (12, 16)) -> Hypothesis:
    displacement = np.empty((2, *grid), np.float32)
    displacement[0], displacement[1] = dx, dy
    return Hypothesis(displacement, np.ones(grid, bool), np.full(grid, span, np.int8))


def test_the_pixels_choose_the_span() -> None:
    before, now = pan(2, (96, 128), (4, 0))
    # A vector of −8 px is right if it spans two frames, and wrong by a factor if it spans one or four.
    found = [hypothesis(-8 / span, 0, span) for span in (1, 2, 4)]
    displacement, known, span = elect(shown(now), shown(before), found)
    inner = (slice(1, -1), slice(2, -2))
    assert known.all()
    assert (span[inner] == 2).mean() > 0.95
    assert np.abs(displacement[0][inner] + 4).mean() < 0.1


def test_a_neighbour_helps_a_cell_with_a_bad_vector() -> None:
    before, now = pan(2, (96, 128), (4, 0))
    wrong = hypothesis(-4, 0, 1)
    wrong.displacement[:, 5, 7] = (30, 20)
    wrong.known[8, 3] = False
    displacement, known, _ = elect(shown(now), shown(before), [wrong])
    assert np.abs(displacement[:, 5, 7] - (-4, 0)).max() < 0.5
    assert not known[8, 3] and known.sum() == known.size - 1  # filled, and honest about it


@pytest.mark.parametrize(
    "options",
    [
        {"bf": "3", "refs": "3", "g": "250"},
        {"bf": "2", "refs": "1", "g": "250", "x264-params": "b-pyramid=none"},
        {"bf": "0", "refs": "4", "g": "250"},
    ],
    ids=["b-pyramid", "flat B-frames", "several references"],
)
def test_a_pan_is_one_step_a_frame_whatever_the_references(options: dict[str, str], tmp_path: Path) -> None:
    video = encode(
        tmp_path / "pan.mp4", pan(24, (128, 160), (3, -1)), options={**options, "sc_threshold": "0"}
    )
    with open_source(video, motion="codec") as source:
        for frame in source:
            if frame.index == 0:
                continue
            assert frame.motion is not None
            inner = frame.motion.displacement_px[:, 2:-2, 2:-2]
            assert np.median(inner[0]) == pytest.approx(-3, abs=0.3), frame.index
            assert np.median(inner[1]) == pytest.approx(1, abs=0.3), frame.index


def test_a_reference_that_is_known_is_not_guessed() -> None:
    before, now = (shown(image) for image in pan(2, (96, 128), (4, 0)))
    both = together(
        block(0, 0, 16, 16, (-8, 0)), block(32, 32, 16, 16, (-12, 0)), block(64, 0, 8, 8, (4, 2), 1)
    )
    guessed = hypotheses(replace(now, vectors=both), before, 1)
    assert [guess.span.max() for guess in guessed] == [1, 2, -1, -2]
    known = replace(both, reference=np.array([2, 3, 0], np.int8))
    told = hypotheses(replace(now, vectors=known), before, 1)
    # Two spans are known, and no cell has both; of the vector that points ahead, nothing is.
    assert len(told) == 3
    assert told[0].known.sum() == 8
    assert told[0].span[0, 0] == 2 and told[0].displacement[0, 0, 0] == -4
    assert told[0].span[4, 4] == 3 and told[0].displacement[0, 4, 4] == -4
    for guess, span in zip(told[1:], (-1, -2), strict=True):
        assert guess.known.sum() == 1 and (guess.span == span).all()
    assert told[1].displacement[:, 0, 8].tolist() == [-4, -2]


def test_a_cell_with_several_references_has_a_guess_for_each() -> None:
    before, now = (shown(image) for image in pan(2, (96, 128), (4, 0)))
    vectors = together(
        block(8, 8, 8, 8, (-9, 3)),
        block(8, 8, 8, 8, (-2, 0)),
        block(-8, 8, 8, 8, (1, 1)),
        block(8, 8, 8, 8, (6, 0), 1),
    )
    told = replace(vectors, reference=np.array([3, 1, 2, -2], np.int8))
    guesses = hypotheses(replace(now, vectors=told), before, 1)
    cell = [(int(guess.span[1, 1]), guess.displacement[:, 1, 1].tolist()) for guess in guesses]
    # The shortest first, and nothing of the block outside the frame.
    assert cell == [(1, [-2, 0]), (3, [-3, 1]), (-2, [-3, 0])]
    assert [guess.known.sum() for guess in guesses] == [1, 1, 1]
    displacement, known, span = nearest(guesses, (12, 16))
    assert known.sum() == 1 and span[1, 1] == 1 and displacement[:, 1, 1].tolist() == [-2, 0]


def test_a_flashing_picture_is_read_through_its_older_reference(tmp_path: Path) -> None:
    # Two still scenes in turn: every frame is best predicted from the one before the last, and does not move.
    first, second = texture((96, 128), 1), texture((96, 128), 2)
    options = {"bf": "0", "refs": "2", "g": "250", "sc_threshold": "0"}
    video = encode(tmp_path / "flash.mp4", [first, second] * 6, options=options)
    with open_source(video, motion="codec") as source:
        moved = [np.abs(frame.motion.displacement_px).mean() for frame in source if frame.motion]
    assert np.median(moved) < 0.5


def test_a_motion_that_is_judged_already_is_not_judged_again() -> None:
    before, now = pan(2, (96, 128), (4, 0))
    match = matching(shown(now), shown(before))
    moved = hypothesis(-4, 0, 1)
    nothing = np.zeros_like(moved.known)
    assert not match.offer(moved.displacement, nothing).any()
    assert match.offer(moved.displacement).all()
    assert not match.offer(moved.displacement).any()
    match.restart(moved.displacement)
    assert (match.best == moved.displacement).all()
    better = match.differences(moved.displacement) < match.differences(0 * moved.displacement)
    assert better[1:-1, 2:-2].mean() > 0.9
