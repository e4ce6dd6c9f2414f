from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from edge_vss.converters.networks.streetnet import load, streetnet
from edge_vss.demo.sample import CLASSES, MEAN, SIZE, STD, WEIGHTS
from edge_vss.demo.scene.encode import write
from edge_vss.demo.scene.streets import scene
from edge_vss.metrics import Scores

UNSEEN = 7
FLOOR = 75


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return load(str(WEIGHTS), len(CLASSES))


def predict(network: torch.nn.Module, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.inference_mode():
        logits = functional.interpolate(
            network(x), size=image.shape[:2], mode="bilinear", align_corners=False
        )
    return logits.argmax(1)[0].numpy().astype(np.uint8)


@pytest.mark.parametrize(("classes", "width"), [(9, 1.0), (11, 1.5), (19, 0.5)])
def test_logits_are_a_quarter_of_the_input(classes: int, width: float) -> None:
    logits = streetnet(classes, width).eval()(torch.zeros(1, 3, 64, 96))
    assert logits.shape == (1, classes, 16, 24)


def test_odd_sizes_work() -> None:
    assert streetnet().eval()(torch.zeros(1, 3, 90, 122)).shape == (1, 9, 23, 31)


def test_cost_is_as_documented() -> None:
    network = streetnet().eval()
    assert sum(p.numel() for p in network.parameters()) <= 250_000
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, *SIZE))
    assert counter.get_total_flops() / 2e9 == pytest.approx(1.5, abs=0.1)


def test_it_exports() -> None:
    program = torch.export.export(streetnet().eval(), (torch.zeros(1, 3, 64, 96),))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    plain = ("conv2d", "batch_norm", "relu", "add", "upsample_bilinear2d")
    assert all(any(name in target for name in plain) for target in targets), targets


def test_weights_are_tensors_alone() -> None:
    state = torch.load(WEIGHTS, weights_only=True)
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in state.values())
    assert set(state) <= set(streetnet().state_dict())


def test_it_has_learnt_drives_it_never_saw(network: torch.nn.Module) -> None:
    scores = Scores(len(CLASSES))
    for image, labels in scene(UNSEEN, frames=6, every=50):
        scores.update(labels, predict(network, image))
    report = scores.result(CLASSES)
    assert report.miou is not None and report.miou > FLOOR, report
    assert all(value is not None and value > 40 for value in report.iou.values()), report


def test_it_survives_compression(network: torch.nn.Module, tmp_path: Path) -> None:
    write(tmp_path / "clip.mp4", frames=12, seed=UNSEEN, labels=tmp_path)
    scores = Scores(len(CLASSES))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % 4 == 3:
                truth = cv2.imread(str(tmp_path / f"{index:06d}.png"), cv2.IMREAD_GRAYSCALE)
                assert truth is not None
                scores.update(
                    truth.astype(np.uint8),
                    predict(network, frame.to_ndarray(format="rgb24").astype(np.uint8)),
                )
    report = scores.result(CLASSES)
    assert report.miou is not None and report.miou > FLOOR - 6, report
