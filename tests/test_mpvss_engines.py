"""Family mpvss on every target and engine: twelve frames, each side with a state of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="the segmentor's modules come from transformers")

from edge_vss import bundle
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.targets import TARGETS
from edge_vss.converters.verify import STEPS
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from tests.helpers.mpvss import flow_file, folder
from tests.helpers.videos import encode, pan

pytestmark = pytest.mark.timeout(1200)  # a conversion takes minutes on a busy machine

SIZE = (64, 96)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Target → its bundle, made once. `convert` compares it with torch over twelve frames."""
    place = tmp_path_factory.mktemp("mpvss")
    net, flow = folder(place / "net"), flow_file(place / "flow.pth")

    def make(target: str) -> Path:
        if not TARGETS.find(target).description.installed:
            pytest.skip(f"nothing writes {target} here")
        path = place / f"{target}.vss"
        if not path.exists():
            convert(Conversion(net, family="mpvss", size=SIZE, target=target, options={"flow": flow}), path)
        return path

    return make


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_a_rollout_equals_torchs(made: Callable[[str], Path], target: str) -> None:
    parity = bundle.read(made(target)).parity
    assert parity["steps"] == list(STEPS) and len(STEPS) == 12
    assert parity["rollout"]["labels_equal"] >= 0.999
    assert parity["rollout"]["max_abs"].keys() >= {"masks", "classes", "queries", "flow"}


@pytest.mark.parametrize(
    ("engine", "target"),
    [("numpy", "onnx"), ("openvino", "onnx"), ("openvino", "openvino"), ("tflite", "tflite")],
)
def test_engines_label_a_video_alike(
    tmp_path: Path, made: Callable[[str], Path], engine: str, target: str
) -> None:
    if engine == "openvino" and find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    clip = encode(tmp_path / "v.mp4", pan(7, SIZE))

    def labels(path: Path, name: str) -> np.ndarray:
        session = load(path, engine=name).session()
        with open_source(clip) as source:
            return np.stack([session.step(frame).labels for frame in source])

    wanted = labels(made("onnx"), "onnxruntime")
    assert (labels(made(target), engine) == wanted).mean() >= 0.999
    assert len(np.unique(wanted)) > 1, "pictures of one class compare nothing"
