"""Standard operations: this program's own way gives every byte that the graph gives, on every engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_vss import bundle, load, open_source
from edge_vss.bundle import GraphSpec, Manifest, TensorSpec
from edge_vss.errors import BundleError
from edge_vss.runtimes.engines import Tensor
from edge_vss.runtimes.operations import OwnWay, only_shown, own_way
from edge_vss.runtimes.operations.warp_labels import NAME, WarpLabels, defined, points_between
from edge_vss.runtimes.segmenter import OWN_WAY, Segmenter
from edge_vss.video import Size
from tests.helpers import toys
from tests.helpers.videos import pan
from tests.helpers.warps import labels_of, motions, spec, without_operations

SIZES: list[tuple[Size, Size]] = [
    ((48, 64), (6, 8)), ((64, 48), (16, 12)), ((50, 70), (7, 9)), ((35, 61), (5, 8)), ((96, 32), (48, 16)),
    ((40, 56), (40, 56)), ((33, 45), (45, 60)), ((16, 2048), (2, 256)), ((9, 9), (1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("size", "grid"), SIZES)
def test_every_byte_is_the_defined_one(size: Size, grid: Size) -> None:
    made = own_way(spec(size, grid))
    assert made is not None
    labels = labels_of(size)
    for name, motion in motions(size, grid).items():
        found = made({"key0": labels, "motion": motion})["labels0"]
        assert (found[0] == defined(labels[0], motion[0])).all(), name


@pytest.mark.parametrize(("size", "grid"), SIZES)
def test_the_graph_in_torch_gives_the_same(size: Size, grid: Size) -> None:
    torch = pytest.importorskip("torch")
    from edge_vss.converters.ops.warp import warp_labels

    labels = labels_of(size)
    for name, motion in motions(size, grid).items():
        found = warp_labels(torch.from_numpy(labels), torch.from_numpy(motion)).numpy()
        assert (found[0] == defined(labels[0], motion[0])).all(), name


@settings(max_examples=60)
@given(
    st.integers(1, 70), st.integers(1, 70), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1),
    st.sampled_from([0.01, 1.0, 30.0, 1e4]), st.booleans(),
)  # fmt: skip
def test_any_size_grid_and_motion(
    height: int, width: int, rows: int, columns: int, seed: int, reach: float, ties: bool
) -> None:
    size, grid = (height, width), (rows, columns)
    rng = np.random.default_rng(seed)
    motion = rng.normal(0, reach, (1, 2, *grid)).astype(np.float32)
    if ties:
        motion = (np.rint(motion * 16) / 16).astype(np.float32)
    labels = labels_of(size, seed)
    found = WarpLabels(spec(size, grid))({"key0": labels, "motion": motion})["labels0"]
    assert (found[0] == defined(labels[0], motion[0])).all()


def test_the_first_point_and_its_weight() -> None:
    first, weight = points_between(4, 32)
    assert first.tolist() == [0] * 12 + [1] * 8 + [2] * 8 + [3] * 4
    assert weight[:6].tolist() == [0, 0, 0, 0, 1 / 16, 3 / 16]
    # Weights are rounded to sixteenths where the grid does not fit.
    assert set(points_between(9, 70)[1] * 16 % 1) == {0}


@pytest.mark.parametrize("shown", [(24, 32), (20, 30), (47, 64), (1, 1)])
def test_a_smaller_frame_gets_what_a_resize_would_leave(shown: Size) -> None:
    for size, grid in (((48, 64), (6, 8)), ((50, 70), (7, 9))):
        made = own_way(spec(size, grid, maps=2))
        assert made is not None
        tensors: dict[str, Tensor] = {"key0": labels_of(size), "key1": labels_of(size, 5)}
        for motion in motions(size, grid).values():
            whole = made({**tensors, "motion": motion})
            few = made.at({**tensors, "motion": motion}, shown)
            for name, full in whole.items():
                resized = cv2.resize(full[0], shown[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
                assert (few[name][0] == resized).all()


def test_maps_that_are_too_large_for_it_are_left_to_the_engine() -> None:
    assert own_way(spec((8, 2056), (1, 257))) is None
    assert own_way(replace(spec((8, 8), (1, 1)), operation="warp-labels@2")) is None
    assert own_way(replace(spec((8, 8), (1, 1)), operation="")) is None


def test_results_stay_as_they_are() -> None:
    made = own_way(spec((48, 64), (6, 8)))
    assert made is not None
    tensors: dict[str, Tensor] = {"key0": labels_of((48, 64)), "motion": motions((48, 64), (6, 8))["noise"]}
    first = made(tensors)["labels0"]
    kept = first.copy()
    for _ in range(8):
        made({**tensors, "motion": motions((48, 64), (6, 8))["halves"]})
    assert (first == kept).all()


def step_labels(segmenter: Segmenter, frames: list[Any]) -> list[NDArray[np.uint8]]:
    session = segmenter.session("interval:4")
    return [session.step(frame).labels for frame in frames]


@pytest.mark.parametrize("shape", [(96, 128), (48, 64), (120, 200)])
def test_a_session_shows_the_same_with_and_without(tiny_bundle: Path, tmp_path: Path, shape: Size) -> None:
    assert bundle.read(tiny_bundle).graph("state").operation == NAME
    plain = without_operations(tiny_bundle, tmp_path / "plain.vss")
    with open_source(
        [np.asarray(cv2.resize(picture, shape[::-1]), np.uint8) for picture in pan(9)]
    ) as source:
        frames = list(source)
    own, engine = load(tiny_bundle, "onnxruntime"), load(plain, "onnxruntime")
    assert isinstance(own.graphs["state"], OwnWay) and own.taken["state"].way.engine == OWN_WAY
    assert not isinstance(engine.graphs["state"], OwnWay) and own.engine == engine.engine == "onnxruntime"
    for mine, theirs in zip(step_labels(own, frames), step_labels(engine, frames), strict=True):
        assert (mine == theirs).all()


def test_only_maps_that_nothing_reads_are_made_at_the_frames_size(tiny_bundle: Path) -> None:
    manifest = bundle.read(tiny_bundle)
    assert only_shown(manifest) == {"state"}
    carried = replace(manifest.state[0], next="labels")
    assert only_shown(replace(manifest, state=(carried,))) == frozenset()
    assert only_shown(toys.manifest()) == {"state"}


def changed(manifest: Manifest, change: Callable[[GraphSpec], GraphSpec]) -> Any:
    graphs = tuple(change(graph) if graph.role == "state" else graph for graph in manifest.graphs)
    return {"format": bundle.FORMAT, **json.loads(json.dumps(replace(manifest, graphs=graphs).to_json()))}


def test_a_graph_that_cannot_be_the_operation_is_refused(tiny_bundle: Path) -> None:
    manifest = bundle.read(tiny_bundle)
    assert bundle.parse(changed(manifest, lambda graph: graph)) == manifest
    wrong: list[Callable[[GraphSpec], GraphSpec]] = [
        lambda graph: replace(graph, inputs=graph.inputs[::-1]),
        lambda graph: replace(graph, inputs=graph.inputs[:1]),
        lambda graph: replace(graph, outputs=(*graph.outputs, TensorSpec("more", (1, 2), "float32"))),
    ]
    for change in wrong:
        with pytest.raises(BundleError, match="said to be warp-labels@1"):
            bundle.parse(changed(manifest, change))
    with pytest.raises(BundleError, match="said to be warp-labels@1"):
        bundle.parse(changed(toys.manifest(), lambda graph: replace(graph, operation=NAME)))
    # One that is not known is left to the engine.
    assert bundle.parse(changed(manifest, lambda graph: replace(graph, operation="dream@9")))
