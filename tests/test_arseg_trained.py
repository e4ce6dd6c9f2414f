"""AR-Seg trained on CamVid's stills (examples/train_arseg.py), on real video: does it gain what it is for?"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the converter's half is not installed")

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.tools.evaluate import EvaluationReport, evaluate

WEIGHTS = Path(__file__).parent / "data" / "arseg_camvid"
OPTIONS = {"variant": "camvid-bise18", "high": WEIGHTS / "high.pth"}


@pytest.fixture(scope="module")
def evaluated(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, EvaluationReport]:
    """What `evaluate` finds with the high branch on every frame, and with key frames at I-frames."""
    if not WEIGHTS.is_dir():
        pytest.skip("tests/data is not here: it is no part of the package")
    path = tmp_path_factory.mktemp("trained") / "camvid.vss"
    convert(Conversion(WEIGHTS / "low.pth", family="arseg", size=(360, 480), options=OPTIONS), path)
    video, truth = data / "video" / "0016E5_h264_p_refs1_g12.mp4", data / "camvid" / "valannot"
    found = {
        policy: evaluate(load(path), video, truth, policy=policy, ignore=11)
        for policy in ("interval:1", "gop:12")
    }
    found["both"] = evaluate(load(path), video, truth, policy="gop:12", ignore=11, both_ways=True)
    return found


def test_it_keeps_what_the_high_branch_sees(evaluated: dict[str, EvaluationReport]) -> None:
    every, scheduled = evaluated["interval:1"], evaluated["gop:12"]
    # 1.2 when these weights were made.
    assert scheduled.miou >= every.miou - 1.5
    assert scheduled.gmac_per_frame <= 0.4 * every.gmac_per_frame
    assert scheduled.keyframes == 9 and every.keyframes == 101


def test_it_does_not_fade_with_the_distance(evaluated: dict[str, EvaluationReport]) -> None:
    by_distance = evaluated["gop:12"].miou_by_distance
    assert len(by_distance) == 12
    # Eight frames at every distance: one distance alone moves by two points.
    assert sum(by_distance[9:12]) / 3 >= sum(by_distance[1:4]) / 3 - 1.0


def test_features_of_both_sides_gain_and_the_network_runs_once(
    evaluated: dict[str, EvaluationReport],
) -> None:
    forward, both = evaluated["gop:12"], evaluated["both"]
    # 0.6 when it was built. Far from the earlier key frame, the later one is worth most.
    assert both.miou >= forward.miou + 0.4 and both.mvc8 >= forward.mvc8
    assert both.miou_by_distance[11] >= forward.miou_by_distance[11] + 1.0
    # Carrying a feature has no convolutions.
    assert both.gmac_per_frame == pytest.approx(forward.gmac_per_frame)
