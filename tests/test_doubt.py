"""Where vectors fail, flow is taken; where they hold, nothing is spent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vss.motion_field import MotionField
from edge_vss.runtimes.motion import flow
from edge_vss.runtimes.motion._doubt import EVERY, Doubt, mixed, roughness
from edge_vss.runtimes.motion._references import keep
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.stream_report import _carry
from edge_vss.video import Frame
from tests.helpers.videos import B_FRAMES, P_ONLY, Image, encode, pan, texture


class Still:
    """A picture that is there already."""

    device, nbytes = "cpu", 0

    def __init__(self, image: Image) -> None:
        self._image = image

    def rgb(self, size: tuple[int, int] | None = None) -> Image:
        return self._image

    def luma(self) -> Image:
        return np.asarray(cv2.cvtColor(self._image, cv2.COLOR_RGB2GRAY), np.uint8)


def frame(image: Image, motion: MotionField | None = None, index: int = 0) -> Frame:
    return Frame(index, index / 25, "P", (image.shape[0], image.shape[1]), Still(image), motion=motion)


def field(dx: float, dy: float, grid: tuple[int, int] = (12, 16)) -> MotionField:
    displacement = np.empty((2, *grid), np.float32)
    displacement[0], displacement[1] = dx, dy
    return MotionField(displacement, np.ones(grid, np.bool_), np.ones(grid, np.int8), 8, "codec")


def test_an_even_motion_is_not_rough() -> None:
    assert roughness(field(5, -3)) == pytest.approx(0, abs=1e-5)
    uneven = field(0, 0)
    uneven.displacement_px[0] = np.random.default_rng(0).normal(0, 6, (12, 16))
    assert roughness(uneven) > 3


def test_vectors_that_find_their_content_are_not_doubted_and_others_are() -> None:
    images = pan(2 * EVERY + 2, (96, 128), (3, 0))
    right, wrong, even = Doubt(), Doubt(), Doubt()
    uneven = field(0, 0)
    uneven.displacement_px[:] = np.random.default_rng(0).normal(0, 0.15, (2, 12, 16))
    for index in range(1, len(images)):
        before = frame(images[index - 1])
        assert not right(frame(images[index], field(-3, 0), index), before)
        verdict = wrong(frame(images[index], uneven, index), before)
        assert verdict.missed and not verdict.rough
        # Where the whole picture moves, what is not found again says nothing.
        assert not even(frame(images[index], field(9, 7), index), before)
    # Doubt does not end at once.
    assert wrong(frame(images[1], field(-3, 0)), frame(images[0]))
    wrong.forget()
    assert not wrong(frame(images[1], field(-3, 0)), frame(images[0]))


def test_most_frames_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def missed(*_: object) -> float:
        looked.append(1)
        return 0.0

    monkeypatch.setattr("edge_vss.runtimes.motion._doubt.missed", missed)
    images = pan(2 * EVERY + 1, (96, 128), (3, 0))
    doubt = Doubt()
    for index in range(1, len(images)):
        doubt(frame(images[index], field(-3, 0), index), frame(images[index - 1]))
    assert len(looked) == 2


def test_doubt_begins_between_the_frames_that_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_vss.runtimes.motion._doubt.missed", lambda *_: 0.0)
    images = pan(EVERY, (96, 128), (3, 0))
    torn = field(0, 0)
    torn.displacement_px[:] = np.random.default_rng(0).normal(0, 2, (2, 12, 16))
    doubt = Doubt()
    assert not doubt(frame(images[1], field(-3, 0), 1), frame(images[0]))
    found = [doubt(frame(images[index], torn, index), frame(images[index - 1])) for index in (2, 3, 4)]
    assert any(verdict.rough for verdict in found)


def test_a_motion_that_pixels_elected_far_from_its_neighbours_may_fit_by_chance() -> None:
    # A pattern that repeats after 24 pixels: the brightness there fits both motions.
    before = np.tile(texture((96, 24), 1), (1, 6, 1))[:, :128]
    now = np.roll(before, 4, axis=1)
    alone, smooth = field(-4, 0), field(-4, 0)
    alone.displacement_px[0, 6, 8] = 20
    smooth.displacement_px[0] += 0.3
    kept = mixed(alone, smooth, keep(frame(now)), keep(frame(before)), elected=False)
    assert kept.displacement_px[0, 6, 8] == 20
    found = mixed(alone, smooth, keep(frame(now)), keep(frame(before)), elected=True)
    assert found.displacement_px[0, 6, 8] == pytest.approx(-3.7)


def test_each_cell_takes_the_motion_that_finds_it_again() -> None:
    before, now = pan(2, (96, 128), (4, 0))
    left_right, right_left = field(-4, 0), field(6, 5)
    left_right.displacement_px[:, :, 8:], right_left.displacement_px[:, :, 8:] = (
        right_left.displacement_px[:, :, 8:].copy(),
        left_right.displacement_px[:, :, 8:].copy(),
    )
    for elected in (False, True):
        found = mixed(left_right, right_left, keep(frame(now)), keep(frame(before)), elected=elected)
        inner = found.displacement_px[:, 1:-1, 2:-2]
        # Cells at the seam are judged with their neighbours.
        assert (np.abs(inner[0] + 4) < 0.1).mean() > 0.75
        assert found.provider == "codec+flow"


def faster_than_the_search(count: int = 24) -> list[Image]:
    """A thing that moves further in a frame than x264 is allowed to search below."""
    back, thing = texture((192, 512), 1), texture((96, 96), 2)
    frames = []
    for index in range(count):
        image = back[:, 2 * index : 2 * index + 256].copy()
        left = 8 + 30 * (index % 6)
        image[40:136, left : left + 60] = thing[:, :60]
        frames.append(image)
    return frames


@pytest.mark.parametrize("options", [P_ONLY, B_FRAMES], ids=["P", "B"])
def test_auto_takes_flow_where_the_search_was_too_short(options: dict[str, str], tmp_path: Path) -> None:
    options = {**options, "me_range": "4", "x264-params": "me=dia:subme=0:merange=4"}
    video = encode(tmp_path / "fast.mp4", faster_than_the_search(), options=options)
    with open_source(video) as source:
        providers = {frame.motion.provider for frame in source if frame.motion}
    assert providers & {"flow", "codec+flow"}


@pytest.mark.parametrize("options", [P_ONLY, B_FRAMES], ids=["P", "B"])
def test_on_a_steady_pan_auto_is_codec(options: dict[str, str], tmp_path: Path) -> None:
    video = encode(tmp_path / "pan.mp4", pan(30, (192, 256), (3, 1)), options=options)
    with open_source(video) as auto, open_source(video, motion="codec") as codec:
        for mine, its in zip(auto, codec, strict=True):
            if mine.motion is not None and its.motion is not None and its.motion.coverage > 0.5:
                assert mine.motion.provider == its.motion.provider
                np.testing.assert_array_equal(mine.motion.displacement_px, its.motion.displacement_px)


def test_finer_flow_follows_what_is_small_and_fast() -> None:
    back, thing = texture((240, 320), 1), texture((32, 32), 5)
    before, now = back.copy(), back.copy()
    before[96:128, 96:128] = now[96:128, 106:138] = thing
    found = {}
    for finer in (False, True):
        dense = flow.Flow()
        dense.keep(frame(before))
        field = dense(frame(now), finer=finer)
        assert field is not None
        found[finer] = float(field.displacement_px[0, 14, 15])
    assert found[True] == pytest.approx(-10, abs=0.5)
    assert found[False] > -5, "the quick search is as good here: is the other one still worth its time?"


@pytest.mark.parametrize("shape", [(16, 88), (17, 640), (20, 200), (24, 640), (31, 80), (31, 640)])
@pytest.mark.parametrize("finer", [False, True])
def test_flow_of_narrow_pictures(shape: tuple[int, int], finer: bool) -> None:
    # OpenCV's quick search ends the process on these.
    for across in (True, False):
        before, now = pan(2, shape, (2, 0))
        if not across:
            before, now = (np.ascontiguousarray(image.transpose(1, 0, 2)) for image in (before, now))
        dense = flow.Flow()
        dense.keep(frame(before))
        field = dense(frame(now), finer=finer)
        assert field is not None
        assert np.median(field.displacement_px[0 if across else 1]) == pytest.approx(-2, abs=0.5)


def test_flow_is_finer_where_vectors_are_doubted_and_quick_on_i_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []

    class Watched(flow.Flow):
        def __call__(self, shown: Frame, *, finer: bool = False) -> MotionField | None:
            taken.append(finer)
            return super().__call__(shown, finer=finer)

    monkeypatch.setattr("edge_vss.runtimes.motion.flow.Flow", Watched)
    fast = {**P_ONLY, "me_range": "4", "x264-params": "me=dia:subme=0:merange=4"}
    steady = encode(tmp_path / "pan.mp4", pan(30, (192, 256), (3, 1)), options={**P_ONLY, "g": "12"})
    hard = encode(tmp_path / "fast.mp4", faster_than_the_search(), options=fast)
    for video, finer in ((steady, False), (hard, True)):
        taken.clear()
        with open_source(video) as source:
            assert list(source)
        assert set(taken) == {finer}


@pytest.mark.parametrize("clip", ["kite-surf_def", "motocross-jump_p"])
def test_auto_on_fast_objects(clip: str, data: Path) -> None:
    if not (data / "davis").is_dir():
        pytest.skip("davis/ is not here")
    folder = data / "davis" / clip.rpartition("_")[0]
    maps = dict(enumerate(sorted(folder.glob("*.png"))))
    found = {
        way: _carry(data / "davis" / f"{clip}.mp4", maps, 12, Opening(way), None, None)
        for way in ("codec", "flow", "auto")
    }
    assert found["auto"] >= max(found["codec"], found["flow"]) - 0.5
    assert flow.DESCRIPTION.pictures
