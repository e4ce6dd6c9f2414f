"""A small MPVSS trained on CamVid's stills (examples/train_mpvss.py), on real video: what is kept of what the
segmentor sees on every frame?"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the segmentor's modules come from transformers")

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.tools.evaluate import EvaluationReport, evaluate

WEIGHTS = Path(__file__).parent / "data" / "mpvss_camvid"
MOST_BYTES = 4_000_000
CONVERSIONS = {
    "mpvss": {"family": "mpvss", "options": {"flow": WEIGHTS / "flow.pth", "align": "exact"}},
    "masks": {"options": {"carry": "masks"}},
    "scores": {"options": {"carry": "scores"}},
}


@pytest.fixture(scope="module")
def evaluated(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, EvaluationReport]:
    """What `evaluate` finds with the segmentor on every frame, and on every fifth in two ways."""
    if not WEIGHTS.is_dir():
        pytest.skip("tests/data is not here: it is no part of the package")
    place, found = tmp_path_factory.mktemp("trained"), {}
    video, truth = data / "video" / "0016E5_h264_p_refs1_g250.mp4", data / "camvid" / "valannot"
    for name, how in CONVERSIONS.items():
        path = place / f"{name}.vss"
        convert(Conversion(WEIGHTS / "segmentor", size=(360, 480), **how), path)  # type: ignore[arg-type]
        found[name] = evaluate(load(path), video, truth, policy="interval:5", ignore=11)
        for how_far, both_ways in (("forward", False), ("both", True)):
            found[f"{name} {how_far}"] = evaluate(
                load(path), video, truth, policy="interval:12", ignore=11, both_ways=both_ways
            )
        if name == "mpvss":
            found["every"] = evaluate(load(path), video, truth, policy="interval:1", ignore=11)
    return found


def test_the_files_are_small() -> None:
    if not WEIGHTS.is_dir():
        pytest.skip("tests/data is not here: it is no part of the package")
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= MOST_BYTES


def test_it_keeps_what_the_segmentor_sees(evaluated: dict[str, EvaluationReport]) -> None:
    # 1.4 when these weights were made.
    assert evaluated["mpvss"].miou >= evaluated["every"].miou - 1.5
    assert evaluated["mpvss"].keyframes == 21 and evaluated["every"].keyframes == 101
    assert evaluated["mpvss"].gmac_per_frame < 0.5 * evaluated["every"].gmac_per_frame


def test_vectors_carry_masks_without_training(evaluated: dict[str, EvaluationReport]) -> None:
    # 0.4 when these weights were made.
    assert evaluated["masks"].miou >= evaluated["every"].miou - 1.0


@pytest.mark.parametrize(("name", "gain"), [("mpvss", 1.0), ("masks", 1.0), ("scores", 1.0)])
def test_both_ways_gains(evaluated: dict[str, EvaluationReport], name: str, gain: float) -> None:
    """Over 12 frames: masks that the network moves itself, and masks and scores that the vectors move."""
    forward, both = evaluated[f"{name} forward"], evaluated[f"{name} both"]
    # 1.3 to 2.0 when these weights were made.
    assert both.miou >= forward.miou + gain and both.mvc8 > forward.mvc8
    assert both.keyframes == forward.keyframes == 9
