"""What an app may use: the names of ``edge_vss``, all of them and no others."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edge_vss

ERRORS = (
    *("BundleError", "EdgeVssError", "EngineError", "MissingExtra", "ModelError", "OptionError"),
    *("SinkError", "SourceError", "StateFileError"),
)
VALUES = (
    *(
        "Cause",
        "ClassSet",
        "Colour",
        "ComposedMotion",
        "Confidence",
        "Conversion",
        "Decision",
        "Feed",
        "Frame",
        "FrameStamp",
        "FrameVectors",
        "GroundTruth",
        "HeadSpec",
        "Manifest",
    ),
    *("Measured", "MotionField", "MotionVectors", "Opening", "Packet", "Picture", "Policy"),
    *("PolicyDescription", "Prediction", "Staleness", "StartReason", "StreamInfo", "Track"),
)
POLICIES = ("Adaptive", "Continuous", "Gop", "Interval")
RUNNING = (
    "Fleet",
    "Segmenter",
    "Session",
    "Sink",
    "SinkContext",
    "Source",
    "State",
    "VectorFile",
    "VectorStream",
)
REPORTS = (
    "EvaluationReport",
    "LabelReport",
    "ProfileReport",
    "RunReport",
    "ScoreReport",
    "Scores",
    "SpeedReport",
    "StreamReport",
    "Timeliness",
)
FUNCTIONS = (
    *("both_ways", "compose_motion", "convert", "evaluate", "find_classes", "label", "load", "load_vectors"),
    *("open_labels", "open_sink", "open_source", "overlay", "profile", "save_vectors", "vectors"),
    *("read_manifest", "run"),
)
PUBLIC = sorted((*ERRORS, *VALUES, *POLICIES, *RUNNING, *REPORTS, *FUNCTIONS, "__version__"))


def test_the_public_names_are_these() -> None:
    assert dir(edge_vss) == PUBLIC == list(edge_vss.__all__)


def test_a_type_checker_sees_what_is_loaded_when_asked_for() -> None:
    tree = ast.parse(Path(edge_vss.__file__).read_text())
    checking = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: ((node.module or "").removeprefix("edge_vss."), alias.name)
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == edge_vss._HOMES
    assert {*seen, *ERRORS, "__version__"} == set(PUBLIC)


def test_converting_without_torch_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\nimport edge_vss\n"
        "try: edge_vss.convert\nexcept edge_vss.MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == (
        'edge_vss.convert needs torch, which is not installed: pip install "edge-vss[convert]"\n'
    ), done.stderr


@pytest.mark.parametrize("name", ["embed", "camera", "dashcam", "robot"])
def test_an_example_of_an_app_uses_nothing_else(name: str) -> None:
    path = Path(__file__).resolve().parent.parent / "examples" / f"{name}.py"
    tree = ast.parse(path.read_text())
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert {item for item in imported if item.partition(".")[0] == "edge_vss"} == {"edge_vss"}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vss"
    }
    assert used and used <= set(PUBLIC)


def test_an_app_in_a_few_lines(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    segmenter = edge_vss.load(tiny_bundle)
    with edge_vss.open_source(tiny_video) as source:
        context = edge_vss.SinkContext.of(segmenter.manifest, source.info)
        sink = edge_vss.open_sink("labels", tmp_path / "labels", context)
        report = edge_vss.run(source, segmenter.session(edge_vss.Gop()), [sink], limit=4)
    assert report.frames == len(edge_vss.GroundTruth(tmp_path / "labels")) == 4
    ground_truth = tiny_video.parent / "truth"
    found = edge_vss.evaluate(segmenter, tiny_video, ground_truth, limit=4)
    assert isinstance(found, edge_vss.EvaluationReport) and found.frames == 4
    assert edge_vss.read_manifest(tiny_bundle) == segmenter.manifest


def test_an_overlay_leaves_the_picture_as_it_is() -> None:
    image, labels = np.full((4, 6, 3), 100, np.uint8), np.zeros((4, 6), np.uint8)
    labels[:, 3:] = 1
    shown = edge_vss.overlay(image, labels, ((200, 0, 0),))
    assert (image == 100).all() and shown.shape == image.shape
    assert shown[0, 0].tolist() == [150, 50, 50]
    assert shown[0, 5].tolist() == [50, 50, 50]
