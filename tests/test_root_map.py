"""Tracing back to the anchor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_vss.errors import OptionError
from edge_vss.motion_field import MotionField
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tracing.cells import grid_of
from edge_vss.runtimes.tracing.root_map import Trace, Tracer
from edge_vss.video import Frame, Size
from tests.helpers.videos import encode, pan


class Gray:
    """A picture of one brightness."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.device, self.nbytes = "", 0

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        return np.full((*(size or self.size), 3), 90, np.uint8)

    def luma(self) -> NDArray[np.uint8]:
        return np.full(self.size, 90, np.uint8)


def frame(
    index: int, size: Size = (64, 96), motion: tuple[float, float] | None = None, cell_px: int = 8
) -> Frame:
    field = None
    if motion is not None:
        h, w = grid_of(size, cell_px)
        displacement = np.broadcast_to(np.array(motion, np.float32)[:, None, None], (2, h, w)).copy()
        field = MotionField(displacement, np.ones((h, w), bool), np.ones((h, w), np.int8), cell_px)
    return Frame(index, index / 25, "P", size, Gray(size), motion=field)


steps = st.tuples(st.floats(-6, 6, width=16), st.floats(-6, 6, width=16))


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, min_size=1, max_size=6))
def test_steps_add_up(path: list[tuple[float, float]]) -> None:
    tracer = Tracer()
    tracer.anchor(frame(0))
    for index, step in enumerate(path, 1):
        track = tracer.follow(frame(index, motion=step))
    total = np.sum(path, axis=0)
    assert track.frames_since_key == len(path) and track.known == 1
    assert track.travel_px == pytest.approx(float(np.hypot(*total)), abs=1e-3)
    root = tracer.root((16, 24))
    assert root[0] == pytest.approx(np.full((16, 24), total[0] / 4), abs=1e-3)
    assert root[1] == pytest.approx(np.full((16, 24), total[1] / 4), abs=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.lists(steps, min_size=1, max_size=5))
def test_exact_rounds_at_every_hop(path: list[tuple[float, float]]) -> None:
    tracer = Tracer("exact")
    tracer.anchor(frame(0))
    for index, step in enumerate(path, 1):
        tracer.follow(frame(index, motion=step))
    total = np.rint(np.array(path, np.float32)).sum(axis=0)
    root = tracer.root((64, 96))
    inside = (slice(30, 34), slice(40, 50))  # further out, positions are clipped to the frame
    if np.abs(total).max() <= 28:
        assert (root[0][inside] == total[0]).all() and (root[1][inside] == total[1]).all()
    y, x = np.mgrid[:64, :96]
    assert (x + root[0]).min() >= 0 and (x + root[0]).max() <= 95
    assert (y + root[1]).min() >= 0 and (y + root[1]).max() <= 63


@pytest.mark.parametrize("mode", ["grid", "exact"])
def test_labels_follow_a_real_pan(mode: str, tmp_path: Path) -> None:
    size, step = (128, 160), (3, -2)
    video = encode(tmp_path / "pan.mp4", pan(9, size, step))
    labels = (np.indices(size).sum(axis=0) // 20 % 5).astype(np.uint8)
    tracer = Tracer(mode)
    with open_source(video, motion="codec") as source:
        for shown in source:
            if shown.index == 0:
                tracer.anchor(shown)
                continue
            track = tracer.follow(shown)
            expected = np.roll(labels, (step[1] * shown.index, step[0] * shown.index), (0, 1))
            inner = (slice(24, -24), slice(32, -32))
            assert (tracer.carry(labels)[inner] == expected[inner]).mean() > 0.93, shown.index
    assert track.frames_since_key == 8


def test_zero_motion_is_the_identity() -> None:
    labels = np.random.default_rng(0).integers(0, 9, (61, 97)).astype(np.uint8)
    for mode in ("grid", "exact"):
        tracer = Tracer(mode)
        tracer.anchor(frame(0, (61, 97)))
        tracer.follow(frame(1, (61, 97), motion=(0, 0)))
        assert np.array_equal(tracer.carry(labels), labels)


def test_what_is_not_known_stays_so_until_the_next_anchor() -> None:
    tracer = Tracer()
    tracer.anchor(frame(0))
    assert tracer.follow(frame(1)).known == 0  # a frame without motion
    assert tracer.follow(frame(2, motion=(0, 0))).known == 0
    tracer.anchor(frame(2))
    assert tracer.follow(frame(3, motion=(0, 0))).known == 1


def test_a_scene_cut_shows_in_the_error(tmp_path: Path) -> None:
    video = encode(tmp_path / "cut.mp4", pan(6, (128, 160), (2, 0)) + pan(3, (128, 160), (2, 0), seed=7))
    tracer, errors = Tracer(), []
    with open_source(video) as source:
        for shown in source:
            if shown.index == 0:
                tracer.anchor(shown)
            else:
                errors.append(tracer.follow(shown).error)
    # Flow finds some likeness between any two pictures.
    assert min(errors[5:]) > 2 * max(errors[:5])


def test_bad_use_is_an_error() -> None:
    with pytest.raises(OptionError, match="grid, exact"):
        Tracer("fuzzy")
    tracer = Tracer()
    with pytest.raises(OptionError, match="anchor a frame first"):
        tracer.follow(frame(1))
    tracer.anchor(frame(0))
    with pytest.raises(OptionError, match="new size"):
        tracer.follow(frame(1, (32, 32), motion=(0, 0)))


@pytest.mark.parametrize("mode", ["grid", "exact"])
@pytest.mark.parametrize("cell_px", [1, 3, 4, 16, 64])
def test_motion_may_come_on_cells_of_any_size(cell_px: int, mode: str) -> None:
    tracers = [Tracer(mode), Tracer(mode)]
    for tracer in tracers:
        tracer.anchor(frame(0, (61, 97)))
    for index in range(1, 5):
        # In turn, so that both kinds of fields meet the same map.
        cells = cell_px if index % 2 else 8
        tracks = [
            tracer.follow(frame(index, (61, 97), (3, -2), size))
            for tracer, size in zip(tracers, (8, cells), strict=True)
        ]
        assert tracks[0].known == tracks[1].known == 1
        assert tracks[1].travel_px == pytest.approx(tracks[0].travel_px, abs=1e-4)
    usual, other = (tracer.root((61, 97)) for tracer in tracers)
    np.testing.assert_allclose(other, usual, atol=1e-4)


def ramp(size: Size, cell_px: int) -> MotionField:
    """Motion that grows to the right and downwards, taken at the cells' centres; the right half is known."""
    h, w = grid_of(size, cell_px)
    y, x = ((np.arange(count) + 0.5) * cell_px - 0.5 for count in (h, w))
    displacement = np.stack(np.broadcast_arrays(x[None] / 16, y[:, None] / 8)).astype(np.float32)
    known = np.broadcast_to(x[None] >= size[1] / 2, (h, w)).copy()
    return MotionField(displacement, known, np.ones((h, w), np.int8), cell_px)


@pytest.mark.parametrize("cell_px", [1, 4, 16])
def test_cells_of_another_size_are_read_where_they_lie(cell_px: int) -> None:
    size, roots, known = (128, 192), [], []
    for side in (8, cell_px):
        tracer, shown = Tracer(), frame(1, size)
        tracer.anchor(frame(0, size))
        shown.motion = ramp(size, side)
        known.append(tracer.follow(shown).known)
        roots.append(tracer.root(size))
    assert known == pytest.approx([0.5, 0.5])
    inner = (slice(None), slice(16, -16), slice(16, -16))
    np.testing.assert_allclose(roots[1][inner], roots[0][inner], atol=1e-3)


@pytest.mark.parametrize("mode", ["grid", "exact"])
def test_measuring_changes_nothing(mode: str) -> None:
    measuring, other = Tracer(mode), Tracer(mode)
    for tracer in (measuring, other):
        tracer.anchor(frame(0))
    for index in range(1, 40):
        shown = frame(index, motion=(1.25 * (-1) ** index, -0.5))
        track = measuring.follow(shown)
        assert track.known == 1
        assert track.frames_since_key == other.follow(shown).frames_since_key == index
        if index % 7 == 0:
            for sampling in ("centres", "corners"):
                np.testing.assert_array_equal(measuring.root((6, 8), sampling), other.root((6, 8), sampling))


def test_a_track_that_is_kept_stays_right() -> None:
    late, now = Tracer(), Tracer()
    kept, measured = [], []
    for index in range(40):
        shown = frame(index, motion=None if index == 30 else (0.3 * index, -0.2 * index))
        if index % 24 == 0:
            late.anchor(shown)
            now.anchor(shown)
            continue
        kept.append(late.follow(shown))
        measured.append(now.follow(shown).measured)
    assert [track.measured for track in reversed(kept)] == measured[::-1]
    assert len({found.travel_px for found in measured}) > 20


@pytest.mark.parametrize("mode", ["grid", "exact"])
def test_two_traces_run_side_by_side(mode: str) -> None:
    tracer, alone, again = Tracer(mode), Tracer(mode), Tracer(mode)
    tracer.anchor(frame(0))
    alone.anchor(frame(0))
    following: list[Trace] = []
    for index in range(1, 9):
        shown = frame(index, motion=(2.5, index - 4))
        alone.follow(shown)
        tracer.follow(shown)
        following = [trace.and_then(shown) for trace in following]
        if index == 4:
            # A new anchor while the old one is still followed.
            following = [tracer.start(shown)]
            again.anchor(shown)
        elif index > 4:
            again.follow(shown)
    assert (following[0].anchor.index, following[0].frames_since_key) == (4, 4)
    assert (tracer.trace.anchor.index, tracer.trace.frames_since_key) == (0, 8)
    np.testing.assert_array_equal(tracer.root((16, 24)), alone.root((16, 24)))
    np.testing.assert_array_equal(following[0].root((16, 24)), again.root((16, 24)))
    assert following[0].root((16, 24))[0].mean() < tracer.root((16, 24))[0].mean()


def test_threads_may_read_one_trace() -> None:
    tracer = Tracer()
    tracer.anchor(frame(0))
    for index in range(1, 12):
        tracer.follow(frame(index, motion=(0.4 * index, -1)))
    trace, shown = tracer.trace, frame(11)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: (trace.measured(shown), trace.root((8, 12)).tobytes()), range(16)))
    assert len(set(found)) == 1


def test_what_compares_pictures_reads_sub_pixels_in_both_modes() -> None:
    exact, grid = Tracer("exact"), Tracer()
    for index in range(4):
        shown = frame(index, motion=(2.4, -1.3) if index else None)
        for tracer in (exact, grid):
            tracer.follow(shown) if index else tracer.anchor(shown)
    np.testing.assert_array_equal(exact.trace.smooth_root((16, 24)), grid.trace.root((16, 24)))
    assert not np.array_equal(exact.trace.root((16, 24)), grid.trace.root((16, 24)))
