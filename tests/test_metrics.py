import json
import math

import bjontegaard
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from edge_vss.errors import OptionError
from edge_vss.metrics import (
    FURTHEST,
    Consistency,
    Scores,
    accuracy,
    averaged_flops,
    bd_flops,
    bd_miou,
    confusion,
    iou,
    miou,
    wiou,
)

Maps = NDArray[np.uint8]
IGNORE = 255


def random_video(seed: int, frames: int, classes: int = 4, side: int = 9) -> tuple[list[Maps], list[Maps]]:
    """Truth that changes rarely, with ignored pixels, and predictions that are mostly right."""
    rng = np.random.default_rng(seed)
    truth = [rng.integers(0, classes, (side, side)).astype(np.uint8)]
    for _ in range(frames - 1):
        fresh = rng.integers(0, classes, (side, side)).astype(np.uint8)
        truth.append(np.where(rng.random((side, side)) < 0.05, fresh, truth[-1]))
    for frame in truth:
        frame[rng.random((side, side)) < 0.02] = IGNORE
    labels = [
        np.where(
            rng.random((side, side)) < 0.08, rng.integers(0, classes, (side, side)), frame % classes
        ).astype(np.uint8)
        for frame in truth
    ]
    return truth, labels


def consistency_by_formula(truth: list[Maps], labels: list[Maps], n: int, ignore: int) -> float:
    """Eq. 4 of TV3S, set by set."""
    ratios = []
    for start in range(len(truth) - n + 1):
        masks: list[set[object]] = [
            {(p, int(c)) for p, c in np.ndenumerate(frame) if c != ignore}
            for frame in truth[start : start + n]
        ]
        found: list[set[object]] = [
            {(p, int(c)) for p, c in np.ndenumerate(frame)} for frame in labels[start : start + n]
        ]
        common = set.intersection(*masks)
        if common:
            ratios.append(len(common & set.intersection(*found)) / len(common))
    return 100 * float(np.mean(ratios)) if ratios else float("nan")


def test_values_worked_out_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 1, 2, 9]], np.uint8)
    labels = np.array([[0, 0, 1, 1], [1, 0, 2, 0]], np.uint8)
    counts = confusion(truth, labels, 4, ignore=9)
    assert counts.tolist() == [[2, 1, 0, 0, 0], [1, 2, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_allclose(iou(counts), [50, 50, 100, np.nan])
    assert miou(counts) == pytest.approx(200 / 3)
    assert wiou(counts) == pytest.approx((3 * 50 + 3 * 50 + 1 * 100) / 7)
    assert accuracy(counts) == pytest.approx(500 / 7)


@given(
    arrays.arrays(np.uint8, (7, 8), elements=st.sampled_from([0, 1, 2, 3, 4, IGNORE])),
    arrays.arrays(np.uint8, (7, 8), elements=st.integers(0, 4)),
)
@settings(max_examples=60, deadline=None)
def test_iou_agrees_with_torchmetrics(truth: Maps, labels: Maps) -> None:
    counts = confusion(truth, labels, 5, IGNORE)
    if not counts.any():
        return
    pair = torch.from_numpy(labels)[None].long(), torch.from_numpy(truth)[None].long()
    macro = MulticlassJaccardIndex(5, average="macro", ignore_index=IGNORE)(*pair)
    weighted = MulticlassJaccardIndex(5, average="weighted", ignore_index=IGNORE)(*pair)
    each = MulticlassJaccardIndex(5, average="none", ignore_index=IGNORE, zero_division=0)(*pair)
    right = MulticlassAccuracy(5, average="micro", ignore_index=IGNORE)(*pair)
    assert miou(counts) == pytest.approx(100 * float(macro), abs=1e-4)
    assert wiou(counts) == pytest.approx(100 * float(weighted), abs=1e-4)
    assert accuracy(counts) == pytest.approx(100 * float(right), abs=1e-4)
    np.testing.assert_allclose(np.nan_to_num(iou(counts)), 100 * each.numpy(), atol=1e-4)


def test_an_ignored_class_id_is_no_class() -> None:
    truth, labels = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8)
    scores = Scores(2, ignore=0)
    scores.update(truth, labels)
    assert scores.result().miou == 100
    assert scores.result().to_json()["iou"] == {"0": None, "1": 100}


def test_an_ignored_id_that_is_predicted_is_wrong() -> None:
    truth = np.array([[0, 0, 0, 0, 1, 1, IGNORE, IGNORE]], np.uint8)
    labels = np.array([[0, 0, 0, IGNORE, 1, IGNORE, IGNORE, 0]], np.uint8)
    counts = confusion(truth, labels, 2, IGNORE)
    assert counts.tolist() == [[3, 0, 1], [0, 1, 1]]
    np.testing.assert_allclose(iou(counts), [75, 50])
    assert miou(counts, IGNORE) == pytest.approx(62.5)
    assert wiou(counts) == pytest.approx((4 * 75 + 2 * 50) / 6)
    assert accuracy(counts) == pytest.approx(400 / 6)
    scores = Scores(2, IGNORE)
    scores.update(truth, labels)
    report = scores.result()
    assert np.array_equal(scores.counts, counts)
    assert report.iou == {"0": 75, "1": 50} and report.accuracy == pytest.approx(400 / 6)
    # Without an id to ignore, and beside it, an id that is no class is a mistake still.
    for wrong, ignore in ((IGNORE, None), (7, IGNORE)):
        with pytest.raises(OptionError, match=f"labels have id {wrong}, but classes are 0 to 1"):
            confusion(truth % 2, np.full_like(labels, wrong), 2, ignore)


@given(st.integers(0, 10_000), st.integers(1, 14), st.sampled_from([1, 2, 3, 5, 8]))
@settings(max_examples=40, deadline=None)
def test_consistency_is_the_formula(seed: int, frames: int, n: int) -> None:
    truth, labels = random_video(seed, frames, side=5)
    running = Consistency([n, 2 * n], IGNORE)
    for pair in zip(truth, labels, strict=True):
        running.update(*pair)
    expected = [consistency_by_formula(truth, labels, window, IGNORE) for window in (n, 2 * n)]
    np.testing.assert_allclose(running.result(), expected)


def test_consistency_by_hand() -> None:
    """Two pixels, three frames: the left one changes in the last, the right one is once predicted wrongly."""
    running = Consistency([1, 2, 3])
    for truth, labels in (([0, 1], [0, 1]), ([0, 1], [0, 0]), ([2, 1], [2, 1])):
        running.update(np.array([truth], np.uint8), np.array([labels], np.uint8))
    # Windows of 1: 1, 1/2, 1. Of 2: the left of both pixels, then none of the right alone. Of 3: never.
    np.testing.assert_allclose(running.result(), [100 * 5 / 6, 25, 0])


def test_a_constant_wrong_prediction_is_not_consistent() -> None:
    running = Consistency([2])
    for _ in range(4):
        running.update(np.zeros((3, 3), np.uint8), np.ones((3, 3), np.uint8))
    assert running.result() == [0]


def test_consistency_of_a_long_video_saturates_correctly() -> None:
    running = Consistency([255])
    still = np.zeros((2, 2), np.uint8)
    for index in range(600):
        running.update(still, still + np.uint8(index == 300))
    windows = 600 - 255 + 1
    assert running.result() == [pytest.approx(100 * (windows - 255) / windows)]


def test_consistency_without_anything_constant_is_unknown() -> None:
    running = Consistency([2, 8])
    for value in range(4):
        running.update(np.full((2, 2), value, np.uint8), np.full((2, 2), value, np.uint8))
    assert np.isnan(running.result()).all()


def test_scores_of_two_videos() -> None:
    clips = [random_video(seed, 20) for seed in (1, 2)]
    scores = Scores(4, IGNORE)
    for clip in clips:
        for index, (truth, labels) in enumerate(zip(*clip, strict=True)):
            scores.update(truth, labels, frames_since_key=index % 5)
        scores.begin()
    report = scores.result(["a", "b", "c", "d"])
    assert report.frames == 40
    for value, n in ((report.mvc8, 8), (report.mvc16, 16)):
        each = [consistency_by_formula(truth, labels, n, IGNORE) for truth, labels in clips]
        assert value == pytest.approx(np.mean(each))
    whole = confusion(
        np.stack([t for clip in clips for t in clip[0]]),
        np.stack([p for clip in clips for p in clip[1]]),
        4,
        IGNORE,
    )
    assert np.array_equal(scores.counts, whole)
    assert report.miou == pytest.approx(miou(whole)) and report.wiou == pytest.approx(wiou(whole))
    assert list(report.iou) == ["a", "b", "c", "d"]
    third = [(clip[0][i], clip[1][i]) for clip in clips for i in range(3, 20, 5)]
    expected = miou(confusion(np.stack([t for t, _ in third]), np.stack([p for _, p in third]), 4, IGNORE))
    assert len(report.miou_by_distance) == 5
    assert report.miou_by_distance[3] == pytest.approx(expected)


def test_a_report_is_json_even_when_empty() -> None:
    nothing = json.loads(json.dumps(Scores(2).result().to_json(), allow_nan=False))
    assert nothing["frames"] == 0 and nothing["miou"] is None and nothing["mvc8"] is None
    assert nothing["miou_by_distance"] == [] and nothing["iou"] == {"0": None, "1": None}
    scores = Scores(2, ignore=5)
    scores.update(np.full((2, 2), 5, np.uint8), np.zeros((2, 2), np.uint8), frames_since_key=2)
    assert math.isnan(scores.result().miou)
    assert scores.result().to_json()["miou_by_distance"] == [None, None, None]


def test_far_gaps_share_the_last_distance() -> None:
    scores = Scores(2)
    ones = np.ones((2, 2), np.uint8)
    for gap in (0, FURTHEST + 1, 10 * FURTHEST):
        scores.update(ones, ones, gap)
    assert len(scores.result().miou_by_distance) == FURTHEST + 1


@pytest.mark.parametrize(
    ("truth", "labels", "message"),
    [
        (
            np.zeros((4, 6), np.uint8),
            np.zeros((4, 5), np.uint8),
            "labels are 4x5 but the ground truth is 4x6",
        ),
        (
            np.zeros((4, 6), np.uint8),
            np.full((4, 6), 3, np.uint8),
            "labels have id 3, but classes are 0 to 2",
        ),
        (np.full((4, 6), 11, np.uint8), np.zeros((4, 6), np.uint8), "the ground truth has id 11"),
        (np.full((4, 6), -1, np.int32), np.zeros((4, 6), np.uint8), "the ground truth has id -1"),
        (np.zeros((4, 6), np.float32), np.zeros((4, 6), np.uint8), "got float32"),
        (np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 3), np.uint8), "4x6x3"),
    ],
)
def test_a_refused_frame_counts_nothing(truth: Maps, labels: Maps, message: str) -> None:
    scores = Scores(3)
    with pytest.raises(OptionError, match=message) as refusal:
        scores.update(truth, labels)
    assert "\n" not in str(refusal.value)
    assert scores.frames == 0 and not scores.counts.any()


def test_a_change_of_size_is_another_video() -> None:
    scores = Scores(2)
    small, large = np.zeros((2, 2), np.uint8), np.zeros((4, 4), np.uint8)
    scores.update(small, small)
    with pytest.raises(OptionError, match="begin another video"):
        scores.update(large, large)
    assert scores.frames == 1 and scores.counts.sum() == 4
    scores.begin()
    scores.update(large, large)
    assert scores.frames == 2


def test_wrong_options() -> None:
    for wrong in (lambda: Scores(0), lambda: Consistency([300]), lambda: Scores(3).result(["only one"])):
        with pytest.raises(OptionError):
            wrong()
    with pytest.raises(OptionError, match="interval"):
        averaged_flops(1, 1, 0)


def test_averaged_flops_by_hand() -> None:
    assert averaged_flops(300, 60, 12) == pytest.approx(80)
    assert averaged_flops(5, 0, 1) == 5


COSTS = np.array([10.0, 21, 39, 80, 160, 309])
MIOUS = np.array([60.0, 64, 66.5, 68, 69.2, 69.8])


@given(
    st.lists(st.floats(0.3, 0.9), min_size=6, max_size=6),
    st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6),
)
@settings(max_examples=30, deadline=None)
def test_bd_agrees_with_bjontegaard(savings: list[float], shifts: list[float]) -> None:
    cost, quality = COSTS * savings, np.sort(MIOUS + shifts)
    if min(np.diff(quality)) < 0.05 or min(np.diff(cost)) <= 0:
        return
    arguments = (COSTS, MIOUS, cost, quality)
    options = {"method": "cubic", "require_matching_points": False, "min_overlap": 0}
    assert bd_flops(*arguments) == pytest.approx(
        bjontegaard.bd_rate(*arguments, **options), rel=1e-5, abs=1e-6
    )
    assert bd_miou(*arguments) == pytest.approx(
        bjontegaard.bd_psnr(*arguments, **options), rel=1e-5, abs=1e-6
    )


def test_bd_by_hand() -> None:
    assert bd_flops(COSTS, MIOUS, COSTS / 2, MIOUS) == pytest.approx(-50)
    assert bd_miou(COSTS, MIOUS, COSTS, MIOUS + 1.5) == pytest.approx(1.5)
    assert bd_flops(COSTS, MIOUS, COSTS[::-1] / 4, MIOUS[::-1]) == pytest.approx(-75)


@pytest.mark.parametrize(
    ("cost", "quality", "message"),
    [
        (COSTS[:3], MIOUS[:3], "4 or more"),
        (COSTS, MIOUS[:5], "4 or more"),
        (COSTS - 10, MIOUS, "positive"),
        (COSTS, MIOUS + 30, "share no range"),
        (COSTS, np.where(MIOUS > 69, np.nan, MIOUS), "finite"),
    ],
)
def test_bd_refuses(cost: NDArray[np.float64], quality: NDArray[np.float64], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        bd_flops(COSTS, MIOUS, cost, quality)
