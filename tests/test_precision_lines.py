"""What `convert` and `inspect` say of fewer bits."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from edge_vss import bundle
from edge_vss.cli._precision import show_precision
from edge_vss.errors import BundleError
from tests.helpers.toys import manifest

FITTED = {"video": "drive.mp4", "frames": 24, "measured": 27}


def said(capsys: pytest.CaptureFixture[str], **precision: Any) -> list[str]:
    show_precision(replace(manifest(), precision=precision))
    return capsys.readouterr().err.splitlines()


def test_fp32_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, weights="fp32") == []


def test_int8_says_what_it_loses_and_where_that_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(
        capsys,
        weights="int8",
        bytes={"fp32": 4_000_000, "int8": 1_000_000},
        layers=63,
        float_layers=["key/first", "key/head.0"],
        calibration=FITTED,
        against_fp32={"labels_equal": 0.9712, "miou": 90.0},
        against_ground_truth={"fp32_miou": 63.04, "int8_miou": None},
    )
    assert lines == [
        "int8: 97.12% of labels as in fp32, on 27 frames of drive.mp4 (second and fourth quarter); "
        "it was fitted to 24 others (first and third)",
        "mIoU against the ground truth: 63.0 % in fp32, - in int8",
        "2 of 63 layers stayed float: key/first, key/head.0",
        "size of the graphs: 1 MB, in fp32 4 MB",
    ]


@pytest.mark.parametrize(
    ("weights", "kept", "advice"),
    [
        ("int8", [], "--keep-float auto, or --precision fp16"),
        ("int8", ["key/first"], "a --calibrate video more like your own, or --precision fp16"),
        ("fp16", [], "--precision fp32"),
    ],
)
def test_much_loss_is_a_warning(
    capsys: pytest.CaptureFixture[str], weights: str, kept: list[str], advice: str
) -> None:
    lost = {"labels_equal": 0.851}
    lines = said(capsys, weights=weights, against_fp32=lost, float_layers=kept)
    assert lines[-1] == f"warning: {weights} changes 14.9% of the labels: try {advice}"


def test_files_that_grew_are_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = said(capsys, weights="int8", bytes={"fp32": 20_000, "int8": 25_000})
    assert line.startswith("warning: int8 made the graphs larger: 0.025 MB, in fp32 0.02 MB")


def test_bundles_of_before_are_not_said_to_be_measured_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    old = {"video": "drive.mp4", "frames": 48}
    (line,) = said(capsys, weights="int8", against_fp32={"labels_equal": 0.99}, calibration=old)
    assert line.endswith("the 48 frames of drive.mp4 that it was fitted to")


@pytest.mark.parametrize(
    ("precision", "place"),
    [
        ({"weights": "int8", "against_fp32": {"labels_equal": "much"}}, "labels_equal"),
        ({"weights": "int8", "bytes": {"fp32": 3}}, "precision.bytes.int8"),
        ({"weights": "int8", "bytes": [3]}, "precision.bytes"),
        ({"weights": "int8", "calibration": {"video": 3, "frames": 1}}, "precision.calibration.video"),
        ({"weights": "int8", "against_ground_truth": {"fp32_miou": "x"}}, "fp32_miou"),
        ({"weights": "int8", "layers": "x"}, "precision.layers"),
        ({"weights": "int8", "layers": 2, "float_layers": [3]}, "precision.float_layers"),
    ],
)
def test_a_manifest_that_would_be_shown_wrongly_is_refused(precision: dict[str, Any], place: str) -> None:
    text = {"format": bundle.FORMAT, **asdict(replace(manifest(), precision=precision))}
    text["graphs"] = [{**graph, "sha256": "0" * 64} for graph in text["graphs"]]
    with pytest.raises(BundleError, match=place):
        bundle.parse(json.loads(json.dumps(text)))
