"""Labels from both sides where the network sees every frame: what is carried is chosen, and it runs once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, Manifest, TensorSpec
from edge_vss.runtimes._runner import fusing
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.tracing.two_sides import chosen, lead_at
from edge_vss.video import Size, Window
from tests.helpers import toys
from tests.test_both_ways import entering
from tests.test_session import SIZE, expected, frames

GRID = (12, 16)
FEATURE = (1, *GRID, 1)


def manifest() -> Manifest:
    """As AR-Seg's: the key frame's feature is carried, and a graph makes labels of it and the picture."""
    toy = toys.manifest(SIZE, GRID)
    image, motion, labels = (
        TensorSpec("image", (1, *SIZE, 3), "uint8"),
        TensorSpec("motion", (1, 2, *GRID), "float32"),
        TensorSpec("labels", (1, *SIZE), "uint8"),
    )
    feature, warped = (TensorSpec(name, FEATURE, "float32") for name in ("feature", "warped"))
    return replace(
        toy,
        graphs=(
            GraphSpec("key", "key.onnx", "", (image,), (labels, feature), 0.0),
            GraphSpec("state", "state.onnx", "", (feature, motion), (warped,), 0.0),
            GraphSpec("nonkey", "nonkey.onnx", "", (image, warped), (labels,), 0.0),
        ),
        state=(replace(toy.state[0], name="feature", shape=FEATURE),),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("state", "nonkey")},
    )


def segmenter(calls: Counter[str]) -> Segmenter:
    """Bright is class 1, on a grid of four pixels. In between, only the feature counts."""
    carry = toys.segmenter(SIZE, GRID).graphs["state"]

    def shown(feature: NDArray[np.float32]) -> NDArray[np.uint8]:
        return (feature[..., 0] > 127).astype(np.uint8).repeat(4, 1).repeat(4, 2)

    def key(tensors: Any) -> dict[str, NDArray[Any]]:
        calls["key"] += 1
        feature = tensors["image"].mean(3).reshape(1, 12, 4, 16, 4).mean((2, 4), dtype=np.float32)[..., None]
        return {"labels": shown(feature), "feature": feature}

    def state(tensors: Any) -> dict[str, NDArray[Any]]:
        calls["state"] += 1
        y, x = np.indices(GRID)
        dx, dy = np.rint(tensors["motion"][0]).astype(int)
        return {"warped": tensors["feature"][:, np.clip(y + dy, 0, 11), np.clip(x + dx, 0, 15)]}

    def nonkey(tensors: Any) -> dict[str, NDArray[Any]]:
        calls["nonkey"] += 1
        assert tensors["image"].shape == (1, *SIZE, 3)
        return {"labels": shown(tensors["warped"])}

    assert carry is not None
    return Segmenter(manifest(), {"key": key, "state": state, "nonkey": nonkey}, "toy")


def test_what_comes_into_view_is_carried_from_the_later_side_and_the_network_runs_once() -> None:
    video, calls = entering(9, step=2), Counter[str]()
    session = segmenter(calls).session("interval:8")
    assert session.fuses and session.twice == ("state",)
    both = list(session.between(video, both_ways=True))
    assert calls == {"key": 2, "state": 14, "nonkey": 7}
    forward = segmenter(Counter()).session("interval:8")
    assert not [forward.step(frame).labels for frame in video][7].any()
    for frame, prediction in zip(video, both, strict=True):
        wrong = (prediction.labels != expected(-16 + 2 * frame.index)).mean()
        assert wrong <= 8 / 64, frame.index
    assert both[7].labels.any()
    trust = both[7].confidence
    assert trust is not None and (trust.side[:, :1] == 1).all() and (trust.age[:, :1] == 1).all()


def test_what_a_frame_in_between_takes_is_counted_once() -> None:
    found = list(segmenter(Counter()).session("interval:3").between(frames(4), both_ways=True))
    for prediction in found[1:3]:
        stages = {"decode", "motion", "image", "state", "nonkey", "choose", "post"}
        assert set(prediction.seconds) == stages and prediction.seconds["decode"] == 0.25
        assert 0.5 < prediction.seconds["motion"] < 1


def test_the_end_of_a_video_is_labelled_from_one_side() -> None:
    calls = Counter[str]()
    both = list(segmenter(calls).session("interval:5").between(frames(8, step=1), both_ways=True))
    plain = segmenter(Counter()).session("interval:5")
    alone = [plain.step(frame).labels for frame in frames(8, step=1)]
    assert calls == {"key": 2, "state": 4 * 2 + 2, "nonkey": 6}
    assert all(np.array_equal(both[index].labels, alone[index]) for index in (0, 5, 6, 7))


def renamed(manifest: Manifest, role: str, **inputs: TensorSpec) -> Manifest:
    """With another graph of that role, which reads these too."""
    graphs = tuple(
        replace(graph, inputs=(*graph.inputs, *inputs.values())) if graph.role == role else graph
        for graph in manifest.graphs
    )
    return replace(manifest, graphs=graphs)


def test_only_what_is_carried_alone_can_be_chosen() -> None:
    toy = manifest()
    found = fusing(toy)
    assert found is not None and (found.carry, found.rest, found.axes) == (
        "state",
        ("nonkey",),
        {"warped": 1},
    )
    feature, image = toy.graph("state").inputs[0], toy.graph("key").inputs[0]
    # The network reads the key frame's own feature too, or the carrying looks at the picture.
    assert fusing(renamed(toy, "nonkey", feature=feature)) is None
    assert fusing(renamed(toy, "state", image=image)) is None
    # Not a position for each of the motion's.
    assert toy.motion is not None
    assert fusing(replace(toy, motion=replace(toy.motion, grid=(6, 8)))) is None
    assert fusing(toys.manifest()) is None
    assert fusing(replace(toy, state=(replace(toy.state[0], next="warped"),))) is None


@pytest.mark.parametrize("axis", [1, 2])
def test_each_position_has_all_values_of_one_side(axis: int) -> None:
    shape = (1, 3, 4, 5) if axis == 1 else (1, 5, 3, 4)
    one, other = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    lead = np.full((3, 4), -1, np.float32)
    lead[1, 2] = 1
    found = chosen(one, other, lead, axis)
    assert found.dtype == np.float32 and found.sum() == 5
    there = found[0, 1, 2] if axis == 1 else found[0, :, 1, 2]
    assert there.all()


@pytest.mark.parametrize(
    ("grid", "sampling", "window", "wanted"),
    [
        ((6, 8), "centres", None, [-1, -1, -1, -1, 1, 1, 1, 1]),
        ((6, 9), "corners", None, [-1, -1, -1, -1, None, 1, 1, 1, 1]),
        ((96, 128), "centres", None, [*[-1] * 62, *[None] * 4, *[1] * 62]),
        ((6, 4), "centres", Window(0, 32, 48, 32), [1, 1, 1, 1]),
        ((6, 4), "centres", Window(0, -64, 48, 128), [-1, -1, -1, 1]),
    ],
)
def test_the_lead_is_read_where_the_grid_lies(
    grid: Size, sampling: str, window: Window | None, wanted: list[int | None]
) -> None:
    """The later side is better in the right half of the frame."""
    lead = np.full((24, 32), -10, np.float32)
    lead[:, 16:] = 10
    found = lead_at(lead, SIZE, grid, sampling, window)
    assert found.shape == grid
    for column, sign in enumerate(wanted):
        assert sign is None or (np.sign(found[:, column]) == sign).all(), column
