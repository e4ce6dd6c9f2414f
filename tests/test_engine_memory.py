"""What engines do with memory: state stays where it is, and what a call gave stays as it was."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vss import bundle
from edge_vss.bundle import Manifest
from edge_vss.runtimes.engines import Tensor, as_array
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from tests.benchmarks.copies import step_costs
from tests.helpers.engine_choice import ENGINES, Made, compiled, inputs

WITH_MEMORY = [("onnxruntime", "lmanet"), ("openvino", "tv3s"), ("tflite", "lmanet")]


@pytest.mark.parametrize(("engine", "network"), WITH_MEMORY)
def test_state_is_not_copied_between_steps(made: Made, engine: str, network: str) -> None:
    if find_spec("ai_edge_litert") is not None:
        pytest.importorskip("ml_dtypes", reason="LiteRT's buffers, whose copies are counted, want it")
    segmenter = load(made(engine, network), engine)
    manifest = segmenter.manifest
    assert manifest.motion is not None
    # A picture and motion go in, labels and checks are read: that is all, of what takes memory.
    fed = math.prod((*manifest.frame_size, 3)) + 2 * 4 * math.prod(manifest.motion.grid)
    read = math.prod(manifest.frame_size)
    copied, allocated = step_costs(segmenter, "key")
    state = sum(tensor.nbytes for tensor in manifest.state)
    assert copied <= (2 * fed + read if engine == "tflite" else 0)
    assert state > 2 * fed + read, "the network has too little state to tell"
    assert allocated < read + 50_000


@pytest.mark.parametrize("engine", ENGINES)
def test_what_calls_gave_stays_as_it_is(made: Made, engine: str) -> None:
    segmenter = load(made(engine, "scores"), engine.partition(" ")[0])
    fed = inputs(segmenter.manifest)
    call = segmenter.graphs["key"]
    kept: list[tuple[Tensor, np.ndarray]] = []
    for shift in range(12):
        given = call({"image": np.roll(fed["image"], 5 * shift, 2)})
        kept += [(tensor, as_array(tensor).copy()) for tensor in given.values()]
        # Some go, so that their memory is used again, and some stay.
        del kept[:: 5 if shift % 2 else 7]
    assert len(kept) > 10
    for tensor, before in kept:
        assert np.array_equal(as_array(tensor), before)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_view_keeps_what_it_shows(made: Made, engine: str) -> None:
    folder = made(engine, "scores")
    manifest = bundle.read(folder)
    call, fed = compiled(engine, folder, manifest.graph("key")), inputs(manifest)
    rows = [call({"image": np.roll(fed["image"], shift, 2)})["labels"][0, 3:9] for shift in range(9)]
    expected = [
        call({"image": np.roll(fed["image"], shift, 2)})["labels"][0, 3:9].copy() for shift in range(9)
    ]
    for row, wanted in zip(rows, expected, strict=True):
        assert np.array_equal(row, wanted)


def test_memory_is_used_again_when_nobody_holds_it(labels_bundle: tuple[Path, Manifest]) -> None:
    folder, manifest = labels_bundle
    call, fed = compiled("onnxruntime", folder, manifest.graph("key")), inputs(manifest)
    places = {call(fed)["labels"].ctypes.data for _ in range(20)}
    assert len(places) == 1
    held = [call(fed)["labels"] for _ in range(20)]
    assert len({labels.ctypes.data for labels in held}) == 20


@pytest.mark.parametrize("network", ["scores", "lmanet"])
def test_outputs_may_stay_on_a_device(made: Made, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The CPU's own memory stands for an accelerator's: ONNX Runtime handles both the same way.
    from edge_vss.runtimes.engines import onnxruntime

    path = made("onnxruntime", network)
    frames = list(open_source(list(np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8))))
    usual = load(path, "onnxruntime").session()
    expected = [usual.step(frame).labels for frame in frames]
    monkeypatch.setitem(onnxruntime.DEVICES, "cpu", "cpu")
    session = load(path, "onnxruntime").session()
    for frame, labels in zip(frames, expected, strict=True):
        assert np.array_equal(session.step(frame).labels, labels)
    assert not any(isinstance(tensor, np.ndarray) for tensor in session.state.tensors.values())
    for name, array in usual.state.items():
        assert np.array_equal(session.state[name], array)


def test_graphs_of_one_tflite_file_run_at_the_same_time(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key graph waits inside its call until the state graph has run."""
    # tflite-runtime, the older package, has no calls by name to wait inside of.
    CompiledModel = pytest.importorskip("ai_edge_litert.compiled_model").CompiledModel
    segmenter = load(made("tflite", "scores"), "tflite")
    fed, done, inside = inputs(segmenter.manifest), threading.Event(), threading.Event()
    run = CompiledModel.run_by_name

    def waiting(self: Any, role: str, *buffers: Any) -> None:
        if role == "key":
            inside.set()
            assert done.wait(60)
        run(self, role, *buffers)

    monkeypatch.setattr(CompiledModel, "run_by_name", waiting)
    with ThreadPoolExecutor(1) as pool:
        key = pool.submit(segmenter.graphs["key"], fed)
        assert inside.wait(60)
        segmenter.graphs["state"](fed)
        done.set()
        key.result()
